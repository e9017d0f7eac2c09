package deadletter

import (
	"hash/maphash"
)

var seed = maphash.MakeSeed()

// fingerprint tells letters apart within a process.
func fingerprint(l *Letter) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range []string{l.ID, l.Key, l.Source, l.Group, l.Reason, l.Died.String(), l.PublishTime.String(), string(l.Body)} {
		_, _ = h.WriteString(part) // never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}
