package gocloud

import (
	"context"
	"slices"
	"sync"

	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// reader receives from a subscription for the sessions that share it. It lives as long as
// the subscription, for a Receive of gocloud.dev's that is cut short leaves a goroutine and
// what it had fetched behind.
type reader struct {
	conn  *conn
	place place
	from  *cloud.Subscription
	own   bool // a broadcast's: it ends with its session
	stop  context.CancelFunc
	run   sync.WaitGroup
	fuel  driver.Wake    // a session has credit
	spare *cloud.Message // came when no session was there, and cannot go back

	mu       sync.Mutex
	err      error
	sessions []*session // that take messages, the next to be served first
}

func newReader(c *conn, p place, from *cloud.Subscription, own bool) *reader {
	r := &reader{conn: c, place: p, from: from, own: own, fuel: driver.NewWake()}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(c.Context())
	r.run.Go(func() {
		r.fail(r.receive(ctx))
	})
	return r
}

// receive gives messages out until the subscription fails or ctx ends.
func (r *reader) receive(ctx context.Context) error {
	for {
		select {
		case <-r.fuel:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for r.wanted() {
			m := r.spare // this goroutine's alone
			if r.spare = nil; m == nil {
				var err error
				if m, err = r.from.Receive(ctx); err != nil {
					return err
				}
			}
			r.give(m)
		}
	}
}

func (r *reader) wanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.sessions, func(s *session) bool { return s.Room() > 0 })
}

// give gives a message to the next session that has credit. If they have all gone in the
// meantime, the message goes back, or waits for the next.
func (r *reader) give(m *cloud.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.sessions {
		if s.take(m) {
			r.sessions = append(slices.Delete(r.sessions, i, i+1), s)
			return
		}
	}
	if m.Nackable() {
		m.Nack()
	} else {
		r.spare = m
	}
}

// join adds a session.
func (r *reader) join(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		s.End(r.err)
		return
	}
	r.sessions = append(r.sessions, s)
}

// leave removes a session: when it has returned, the session is given nothing more.
func (r *reader) leave(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := slices.Index(r.sessions, s); at >= 0 {
		r.sessions = slices.Delete(r.sessions, at, at+1)
	}
}

// fail ends the reader and its sessions. Those of a connection that was lost or closed have
// ended with it.
func (r *reader) fail(err error) {
	if lost := r.conn.Err(); lost != nil {
		err = lost
	} else {
		err = fail(r.place.String(), err)
		if discard(r.conn, r.conn.readers, r.place, r) {
			_ = r.from.Shutdown(r.conn.Context()) // it has failed already
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	for _, s := range r.sessions {
		s.End(err)
	}
	r.sessions = nil
}

// close ends the reader, and a subscription that is nobody else's.
func (r *reader) close(ctx context.Context) error {
	var err error
	if r.own {
		err = fail("close "+r.place.String(), r.from.Shutdown(ctx))
	}
	r.stop()
	r.run.Wait()
	return err
}
