package kafka

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

// A note is what the metadata of a commit says beyond its offset: which of the
// messages from there on are done, and how often the others were tried.
type note struct {
	base   int64 // the committed offset; a note is only good beside it
	head   int64 // from here on nothing was given to a handler
	open   bool  // its owner had not left when it wrote this
	undone []undone
}

// undone is a message between base and head that is not done.
type undone struct {
	offset   int64
	attempts int // that failed
}

// A note is written as notePrefix, then base64 of a checksum and varints: base, open,
// head after base, and for each undone message its distance from the one before,
// doubled, plus one where its attempts follow.
const (
	notePrefix   = "waybill1:"
	noteChecksum = 4
	noteHeader   = noteChecksum + 2*binary.MaxVarintLen64 + 1
)

var checksums = crc32.MakeTable(crc32.Castagnoli)

// encode writes the note in at most limit bytes. What does not fit is left out:
// attempts first, which makes counts too low, then all, which repeats messages.
func (n *note) encode(limit int) string {
	if s := n.write(true); len(s) <= limit {
		return s
	}
	if s := n.write(false); len(s) <= limit {
		return s
	}
	return ""
}

func (n *note) write(attempts bool) string {
	b := make([]byte, noteChecksum, noteHeader+4*len(n.undone))
	b = binary.AppendUvarint(b, uint64(n.base)) //nolint:gosec // offsets are not negative
	open := byte(0)
	if n.open {
		open = 1
	}
	b = append(b, open)
	b = binary.AppendUvarint(b, uint64(n.head-n.base)) //nolint:gosec // head is not before base
	last := n.base
	for _, u := range n.undone {
		distance := uint64(u.offset-last) << 1 //nolint:gosec // in order
		last = u.offset
		if attempts && u.attempts > 0 {
			b = binary.AppendUvarint(b, distance|1)
			b = binary.AppendUvarint(b, uint64(u.attempts))
		} else {
			b = binary.AppendUvarint(b, distance)
		}
	}
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[noteChecksum:], checksums))
	return notePrefix + base64.RawURLEncoding.EncodeToString(b)
}

// capacity is how many bytes of undone messages fit into metadata of a size.
func capacity(metadata int) int {
	return (metadata-len(notePrefix))*3/4 - noteHeader
}

// cost is how many bytes an undone message takes that follows another at last.
func cost(offset, last int64) int {
	n := 1
	for d := uint64(offset-last) << 1; d >= 0x80; d >>= 7 { //nolint:gosec // in order
		n++
	}
	return n
}

var errNote = errors.New("metadata of the commit is damaged")

// readNote reads metadata back. It is false where the metadata is not ours.
func readNote(metadata string) (n note, ours bool, err error) {
	text, ours := strings.CutPrefix(metadata, notePrefix)
	if !ours {
		return n, false, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < noteChecksum || binary.BigEndian.Uint32(b) != crc32.Checksum(b[noteChecksum:], checksums) {
		return n, true, errNote
	}
	b = b[noteChecksum:]
	next := func() int64 {
		v, size := binary.Uvarint(b)
		if size <= 0 || v > 1<<62 {
			err = errNote
			b = nil
			return 0
		}
		b = b[size:]
		return int64(v)
	}
	n.base = next()
	n.open = next() == 1
	n.head = n.base + next()
	for last := n.base; len(b) > 0; {
		distance := next()
		last += distance >> 1
		u := undone{offset: last}
		if distance&1 == 1 {
			u.attempts = int(next())
		}
		if last < n.base || last >= n.head {
			err = errNote
		}
		n.undone = append(n.undone, u)
	}
	return n, true, err
}
