package pubsub

import "time"

// grace is how long an error that looks final is waited out once the broker had
// been reached: a failover answers "not found" and "denied" for a while.
const grace = time.Minute

// trouble is errors in a row that waiting may not heal. The zero value is none.
type trouble struct{ since time.Time }

// lasts adds an error, and says whether it will not heal and such have lasted for the grace.
func (t *trouble) lasts(err error) bool {
	switch {
	case CodeOf(err).Heals():
		t.since = time.Time{}
		return false
	case t.since.IsZero():
		t.since = time.Now()
	}
	return time.Since(t.since) > grace
}
