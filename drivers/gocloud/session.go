package gocloud

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// session takes no more from its reader than it has credit for.
type session struct {
	*driver.Shelf
	conn    *conn
	from    *reader
	closing sync.Once

	mu   sync.Mutex
	tags uint64
	out  map[uint64]*receipt // not settled
}

// A receipt is the Token of a delivery.
type receipt struct {
	message *cloud.Message
	tag     uint64
	mark    string // with the place; "" if it is not ours
	before  int    // attempts before this delivery
	attempt int    // that runs, or ran last
}

func newSession(c *conn, from *reader) *session {
	fetch := func(context.Context) {
		from.fuel.Poke()
	}
	return &session{Shelf: driver.NewShelf(&c.Life, fetch), conn: c, from: from, out: map[uint64]*receipt{}}
}

// take queues a message to be given, if there is credit.
func (s *session) take(m *cloud.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Room() == 0 {
		return false
	}
	if !m.Nackable() && !s.conn.config.AtMostOnce {
		s.End(driver.Errorf(driver.CodeUnsupported,
			"gocloud: %s: messages cannot be given back (gocloud.dev's Nackable is false), so a crash may lose them; to "+
				"take it so, set Config.AtMostOnce, or at-most-once=true in the URL", s.from.place.String()))
		return true
	}
	in, mark := incoming(m, s.conn.config.KeyMetadata)
	r := &receipt{message: m}
	if mark != "" {
		r.mark = s.from.place.String() + " " + mark
		r.before = s.conn.counts.Of(r.mark)
	}
	s.queue(r, in)
	return true
}

// queue is called with the lock.
func (s *session) queue(r *receipt, m driver.Message) {
	s.tags++
	r.tag, r.attempt = s.tags, r.before+1
	s.out[r.tag] = r
	s.Put(driver.Delivery{
		Message: m, Attempt: r.attempt,
		Receipt: driver.Receipt{Tag: r.tag, Token: r, Raw: r.message},
	})
}

// Settle hands the verdicts to gocloud.dev, which sends them later and tells nothing.
func (s *session) Settle(_ context.Context, batch []driver.Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		st := &batch[i]
		r, ok := st.Token.(*receipt)
		if !ok || s.Err() != nil || s.out[r.tag] != r {
			st.Outcome = driver.Lost
			continue
		}
		st.Outcome = driver.Sent
		switch st.Verb {
		case driver.Keep:
			r.attempt++
			continue
		case driver.Ack:
			s.conn.counts.Set(r.mark, 0)
			r.message.Ack()
		case driver.Retry:
			s.retry(r)
		case driver.Return:
			st.Outcome, st.OutcomeErr = s.giveBack(r)
		default:
			st.Outcome, st.OutcomeErr = driver.Failed, driver.Errorf(driver.CodeUnsupported, "gocloud: gocloud.dev has no %s", st.Verb.String())
			continue
		}
		delete(s.out, r.tag)
	}
}

// retry gives a message back with its count; one that cannot go back is given here again.
func (s *session) retry(r *receipt) {
	if r.message.Nackable() {
		s.conn.counts.Set(r.mark, r.attempt)
		r.message.Nack()
		return
	}
	m, _ := incoming(r.message, s.conn.config.KeyMetadata)
	s.queue(&receipt{message: r.message, mark: r.mark, before: r.attempt}, m)
}

func (s *session) giveBack(r *receipt) (driver.Outcome, error) {
	if !r.message.Nackable() {
		return driver.Failed, driver.Errorf(driver.CodeUnsupported, "gocloud: this broker takes nothing back")
	}
	s.conn.counts.Set(r.mark, r.attempt-1)
	r.message.Nack()
	return driver.Sent, nil
}

// Extend is not called: gocloud.dev shows no leases.
func (s *session) Extend(context.Context, []*driver.Receipt, time.Duration) {}

func (s *session) Quiesce(ctx context.Context) error {
	s.from.leave(s)
	return s.Shelf.Quiesce(ctx)
}

// Close gives back what is not settled, unless the subscription failed: on some brokers a
// late settlement would be another message's.
func (s *session) Close(ctx context.Context) (err error) {
	s.closing.Do(func() { err = s.close(ctx) })
	return err
}

func (s *session) close(ctx context.Context) error {
	s.from.leave(s)
	s.Clear()
	failed := !errors.Is(s.Err(), s.conn.Err()) // where the connection was lost or closed they are one
	s.End(errClosed)
	s.mu.Lock()
	if !failed {
		for _, r := range slices.SortedFunc(maps.Values(s.out), func(a, b *receipt) int { return cmp.Compare(a.tag, b.tag) }) {
			_, _ = s.giveBack(r) // what cannot go back was taken at most once
		}
	}
	s.out = nil
	s.mu.Unlock()
	if s.from.own {
		return s.from.close(ctx)
	}
	return nil
}
