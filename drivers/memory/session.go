package memory

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// session is one member's reading of a group. The group's lock guards it.
type session struct {
	conn    *conn
	group   *group
	request driver.SubscribeRequest
	lease   time.Duration
	wake    driver.Wake

	err      error
	quiesced bool
	said     bool // that it is quiesced
	queued   bool // among the group's waiters
	messages int  // credit
	bytes    int
	lanes    queue    // that it has some of and that have more for it
	expired  []uint64 // tags to tell
	accepted []commitment
	taken    []taken // of one Receive
}

// taken is what a Receive notes of an entry under the lock, to describe it without.
type taken struct {
	*stored
	entry    *entry
	tag      uint64
	attempts int
	deadline moment
}

// commitment is a delivery that was accepted as handled, until the commit.
type commitment struct {
	*entry
	tag uint64
}

// One Receive gives at most this many, so that members that have credit share.
const mostReceived = 256

func newSession(c *conn, r driver.SubscribeRequest, g *group) *session {
	s := &session{conn: c, group: g, request: r, wake: driver.NewWake()}
	if s.lease = c.broker.caps.Lease; r.Lease > 0 {
		s.lease = r.Lease
	}
	return s
}

func (s *session) deadLetter() *driver.DeadLetter { return s.request.DeadLetter }

func (s *session) Credit(messages, bytes int) {
	s.group.mu.Lock()
	starved := s.messages <= 0 || s.bytes <= 0
	s.messages += messages
	s.bytes += bytes
	s.group.unlock()
	if starved {
		s.wake.Poke()
	}
}

func (s *session) Receive(ctx context.Context, in *driver.Intake) error {
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.group.punctual()
		// The first time that there is nothing, publishers get a turn before this one
		// asks to be woken: a busy topic is read in batches, not in single messages.
		if done, err := s.fill(in, try > 0); done || err != nil {
			return err
		}
		if try == 0 {
			runtime.Gosched()
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
}

// fill gives what is there; false if that is nothing, and the session is to be woken
// if it wants to.
func (s *session) fill(in *driver.Intake, wait bool) (bool, error) {
	g := s.group
	g.mu.Lock()
	if s.err != nil {
		defer g.unlock()
		return false, s.err
	}
	if len(s.expired) > 0 {
		in.Revocations = append(in.Revocations, driver.Revocation{Tags: s.expired, Cause: driver.ErrLeaseLost})
		s.expired = nil
	}
	revoked := len(in.Revocations) > 0
	if s.quiesced {
		defer g.unlock()
		if revoked || s.said {
			return revoked, nil
		}
		s.said = true
		return false, driver.ErrQuiesced
	}
	g.collect()
	now := s.conn.broker.now()
	deadline := g.deadline(s.lease, now, now)
	s.taken = s.taken[:0]
	for most := s.share(); len(s.taken) < most && s.messages > 0 && s.bytes > 0; {
		e := g.next(s)
		if e == nil {
			break
		}
		g.deliver(e, s, now, deadline)
		s.messages--
		s.bytes -= e.size
		s.taken = append(s.taken, taken{e.stored, e, e.tag, e.attempts, deadline})
	}
	if len(s.taken) > 0 && deadline != 0 {
		g.arm(deadline)
	}
	if wait && len(s.taken) == 0 && !revoked && !s.queued && s.messages > 0 && s.bytes > 0 {
		s.queued = true
		g.waiters = append(g.waiters, s)
		g.waiting.Add(1)
		g.collect() // what came before a publisher could see that it waits
	}
	g.wake() // there may be more than this one took
	g.unlock()
	from := len(in.Deliveries)
	in.Deliveries = slices.Grow(in.Deliveries, len(s.taken))[:from+len(s.taken)]
	for i := range s.taken {
		s.describe(&in.Deliveries[from+i], &s.taken[i])
	}
	clear(s.taken)
	copyBodies(in.Deliveries[from:])
	return len(s.taken) > 0 || revoked, nil
}

// share is how many a session takes at once.
func (s *session) share() int {
	n := len(s.group.sessions)
	return min(mostReceived, s.group.kept()/n+1)
}

// describe fills in what the receiver gets; copyBodies completes it.
func (s *session) describe(d *driver.Delivery, e *taken) {
	d.Message, d.Attempt, d.PublishTime = e.message, e.attempts+1, s.conn.broker.time(e.published)
	d.Tag, d.Token = e.tag, e.entry
	d.Delay = 0
	if s.conn.broker.caps.Attempts == driver.None {
		d.Attempt = 1
	}
	if s.lease > 0 {
		d.Deadline = s.conn.broker.time(e.deadline)
	}
}

// Bodies of one Receive are copied into pieces of at most this size, to save
// allocations; a receiver that keeps one keeps its piece.
const pieceSize = 64 << 10

// copyBodies makes bodies and headers the receiver's own. What is stored is never
// written to, so no lock is needed.
func copyBodies(deliveries []driver.Delivery) {
	total := 0
	for i := range deliveries {
		total += len(deliveries[i].Body)
	}
	var piece []byte
	for i := range deliveries {
		d := &deliveries[i]
		d.Headers = maps.Clone(d.Headers)
		n := len(d.Body)
		if n == 0 {
			continue
		}
		if n > cap(piece)-len(piece) {
			piece = make([]byte, 0, max(n, min(total, pieceSize)))
		}
		from := len(piece)
		piece = append(piece, d.Body...)
		d.Body = piece[from : from+n : from+n]
		total -= n
	}
}

// valid finds the entry of a receipt, or nil if it is no longer this session's.
func (s *session) valid(r *driver.Receipt) *entry {
	e, ok := r.Token.(*entry)
	if !ok || e.place != out || e.session != s || e.tag != r.Tag || e.accepted || s.err != nil {
		return nil
	}
	return e
}

func (s *session) Settle(_ context.Context, batch []driver.Settlement) {
	g := s.group
	g.mu.Lock()
	// The receiver reads the same clock: what it settles because a lease has ended must
	// not overtake the timer that ends it.
	letters := g.overdue()
	freed := false
	for i := range batch {
		v := &batch[i]
		v.Outcome = s.conn.broker.settles()
		e := s.valid(v.Receipt)
		if e == nil {
			v.Outcome = driver.Lost
			continue
		}
		if l := s.settle(e, v); l != nil {
			letters = append(letters, l)
		}
		freed = freed || v.Verb == driver.Ack || v.Verb == driver.Dead
	}
	for range batch {
		if len(g.waiters) == 0 || g.ready.first == nil && g.open.first == nil {
			break
		}
		g.wake()
	}
	g.unlock()
	g.topic.send(letters)
	if freed && g.topic.waits.Load() {
		g.topic.admit()
	}
}

// Commit forgets what was accepted as handled and is the session's still.
func (s *session) Commit(context.Context) error {
	g := s.group
	g.mu.Lock()
	for _, c := range s.accepted {
		if c.place != out || c.entry.session != s || c.entry.tag != c.tag || s.err != nil {
			continue // it comes again
		}
		g.withdraw(c.entry)
		g.forget(c.entry)
		g.wake()
	}
	s.accepted = s.accepted[:0]
	g.unlock()
	if g.topic.waits.Load() {
		g.topic.admit()
	}
	return nil
}

// settle carries out one settlement of a valid receipt.
func (s *session) settle(e *entry, v *driver.Settlement) *letter {
	g, caps := s.group, &s.conn.broker.caps
	switch v.Verb {
	case driver.Ack:
		if caps.SettleCommits {
			e.accepted = true
			s.accepted = append(s.accepted, commitment{e, e.tag})
			break
		}
		g.withdraw(e)
		g.forget(e)
	case driver.Keep:
		e.attempts++
		if p := s.deadLetter(); p != nil && p.MaxAttempts > 0 && e.attempts >= p.MaxAttempts {
			v.Outcome = driver.Lost
			g.withdraw(e)
			return g.bury(e, p, v.Err)
		}
	case driver.Retry:
		if v.Delay > caps.RetryDelay || v.Delay < 0 || v.Delay > 0 && caps.BroadcastHolds && g.ephemeral {
			v.Outcome, v.OutcomeErr = driver.Failed, driver.Errorf(driver.CodeInvalid, "retry delay is beyond the broker's")
			return nil
		}
		g.withdraw(e)
		return g.comeBack(e, v.Delay, true, s.deadLetter())
	case driver.Return:
		g.withdraw(e)
		return g.comeBack(e, 0, caps.Attempts == driver.AtLeast, nil)
	case driver.Dead:
		p := s.deadLetter()
		if p == nil {
			v.Outcome, v.OutcomeErr = driver.Failed, driver.Errorf(driver.CodeInvalid, "the subscription has no native dead letter")
			return nil
		}
		e.attempts++
		g.withdraw(e)
		return g.bury(e, p, v.Err)
	default:
		v.Outcome, v.OutcomeErr = driver.Failed, driver.Errorf(driver.CodeInvalid, "unknown verb")
	}
	return nil
}

func (s *session) Extend(_ context.Context, batch []*driver.Receipt, d time.Duration) {
	g := s.group
	now := s.conn.broker.now()
	g.mu.Lock()
	defer g.unlock()
	for _, r := range batch {
		e := s.valid(r)
		if e == nil {
			r.Deadline = time.Time{}
			continue
		}
		if deadline := g.deadline(d, e.since, now); deadline != e.deadline {
			e.unlink()
			e.deadline = deadline
			g.out.lease(e)
		}
		r.Deadline = s.conn.broker.time(e.deadline)
	}
	if e := g.firstLeased(); e != nil {
		g.arm(e.deadline)
	}
}

func (s *session) Quiesce(context.Context) error {
	g := s.group
	g.mu.Lock()
	defer g.unlock()
	if s.err != nil {
		return s.err
	}
	s.quiesced = true
	s.wake.Poke()
	for l := s.lanes.first; l != nil; l = s.lanes.first {
		l.leave()
	}
	s.pass()
	return nil
}

// pass gives a session's turn to another: it takes nothing more.
func (s *session) pass() {
	g := s.group
	g.forgetWaiter(s)
	g.wake()
}

func (s *session) Close(ctx context.Context) error {
	_ = s.Commit(ctx)
	s.end(errClosed, true)
	s.conn.forgetSession(s)
	return nil
}

// end gives back what the session has.
func (s *session) end(err error, graceful bool) {
	g := s.group
	g.mu.Lock()
	if s.err != nil {
		g.unlock()
		return
	}
	s.err = err
	s.wake.Poke()
	g.unlock()
	attempts := s.conn.broker.caps.Attempts
	g.leave(s, !graceful && attempts != driver.AtMost || graceful && attempts == driver.AtLeast)
}
