package kafka

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// session is one member of a group, or a broadcast.
type session struct {
	driver.Life
	conn    *conn
	request driver.SubscribeRequest
	group   string // empty: a broadcast, which commits nothing
	wake    driver.Wake
	turn    chan struct{} // holds one token: whoever has it may commit
	delayed bool          // its messages are those whose delay is over

	mu          sync.Mutex
	leave       func(context.Context) error // nil until it has begun
	quiesced    bool
	said        bool // that it is quiesced
	closed      bool
	messages    int // credit
	bytes       int
	capacity    int // of a note, for undone messages
	metadata    int // bytes of it
	member      sarama.ConsumerGroupSession
	claims      map[uint64]*claim
	order       []*claim // the claims, for their turns
	next        int
	revocations []driver.Revocation
	tags        uint64
	seats       []entry // for entries to come
	chunk       []byte  // where the next records go
	keys        []byte  // of one Receive
	lengths     []int   // of these
}

func newSession(c *conn, r driver.SubscribeRequest) *session {
	s := &session{
		Life: driver.NewLife(nil), conn: c, request: r, group: c.groupOf(&r),
		wake: driver.NewWake(), turn: make(chan struct{}, 1),
		claims: map[uint64]*claim{},
	}
	s.turn <- struct{}{}
	if s.limit(c.config.MetadataBytes); s.group == "" {
		s.capacity = math.MaxInt // nothing is noted
	}
	return s
}

// groupOf is the consumer group of a subscription: a queue's has the queue's name.
// A broadcast has none.
func (c *conn) groupOf(r *driver.SubscribeRequest) string {
	switch {
	case r.Kind == driver.Queue:
		return c.config.GroupPrefix + r.Topic
	case r.Group == "":
		return ""
	default:
		return c.config.GroupPrefix + r.Group
	}
}

// limit says how much metadata a commit may have.
func (s *session) limit(metadata int) {
	s.metadata, s.capacity = metadata, capacity(metadata)
}

// begun says how a session is left. One that was closed meanwhile is left at once.
func (s *session) begun(ctx context.Context, leave func(context.Context) error) error {
	s.mu.Lock()
	s.leave = leave
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return errors.Join(errClosed, leave(ctx))
	}
	return nil
}

// adopt begins a claim.
func (s *session) adopt(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims[c.id] = c
	s.relist()
	if s.closed || s.Err() != nil {
		c.end()
	}
}

func (s *session) relist() {
	s.order = s.order[:0]
	for _, c := range s.claims {
		s.order = append(s.order, c)
	}
	slices.SortFunc(s.order, func(a, b *claim) int { return int(a.partition - b.partition) })
}

func (s *session) Credit(messages, bytes int) {
	s.mu.Lock()
	starved := s.messages <= 0 || s.bytes <= 0
	s.messages += messages
	s.bytes += bytes
	s.mu.Unlock()
	if starved {
		s.wake.Poke()
	}
}

func (s *session) Receive(ctx context.Context, in *driver.Intake) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		done, err := s.fill(in)
		if done || err != nil {
			return err
		}
		select {
		case <-s.wake:
		case <-s.Done():
		case <-ctx.Done():
		}
	}
}

// One Receive gives at most this many, and of one claim this many in a row.
const (
	mostReceived = 512
	turnReceived = 128
)

// fill gives what is there.
func (s *session) fill(in *driver.Intake) (done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in.Revocations = append(in.Revocations, s.revocations...)
	done = len(s.revocations) > 0
	s.revocations = nil
	switch {
	case s.Err() != nil:
		return true, s.Err()
	case s.quiesced && !done && !s.said:
		s.said = true
		return true, driver.ErrQuiesced
	case s.quiesced:
		return done, nil
	}
	given, begin := 0, len(in.Deliveries)
	s.keys, s.lengths = s.keys[:0], s.lengths[:0]
	for more := true; more && given < mostReceived; {
		more = false
		for i := range s.order {
			n := s.give(s.order[(s.next+i)%len(s.order)], in, min(turnReceived, mostReceived-given))
			given += n
			more = more || n > 0
		}
	}
	s.key(in.Deliveries[begin:])
	if given == mostReceived {
		s.wake.Poke()
	}
	s.next++ // another claim begins the next time
	return done || given > 0, nil
}

// give gives at most n messages of a claim.
func (s *session) give(c *claim, in *driver.Intake, most int) (n int) {
	enough := !c.low()
	for n < most && s.messages > 0 && s.bytes > 0 {
		e, p := c.next()
		if e == nil {
			break
		}
		s.tags++
		e.tag = s.tags
		c.out++
		in.Deliveries = append(in.Deliveries, driver.Delivery{})
		d := &in.Deliveries[len(in.Deliveries)-1]
		s.addKey(d, p.key)
		if s.chunk = e.deliver(d, p, s.chunk); s.delayed {
			undelay(d)
		}
		s.messages--
		s.bytes -= d.Size() + s.lengths[len(s.lengths)-1]
		n++
	}
	if enough && c.line != nil && c.low() {
		c.line.idle = idleFirst
		c.line.wake.Poke()
	}
	return n
}

// Entries are made several at a time.
const chunkEntries = 32

func (s *session) seat() *entry {
	if len(s.seats) == 0 {
		s.seats = make([]entry, chunkEntries)
	}
	e := &s.seats[0]
	s.seats = s.seats[1:]
	return e
}

// Keys up to this length are made into strings together.
const shortKey = 256

// addKey notes the key of a delivery, or sets it.
func (s *session) addKey(d *driver.Delivery, k []byte) {
	if len(k) > shortKey {
		d.Key, k = string(k), nil
	}
	s.keys = append(s.keys, k...)
	s.lengths = append(s.lengths, len(k))
}

// key gives deliveries the keys that were noted.
func (s *session) key(list []driver.Delivery) {
	all := string(s.keys)
	for i, n := range s.lengths {
		if n > 0 {
			list[i].Key, all = all[:n], all[n:]
		}
	}
}

func (s *session) Settle(_ context.Context, batch []driver.Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		v := &batch[i]
		v.Outcome, v.OutcomeErr = driver.Lost, nil
		if e, ok := v.Token.(*entry); ok && e.claim.session == s {
			e.claim.settle(e, v)
		}
	}
}

// Commit tells the broker what was settled.
func (s *session) Commit(ctx context.Context) error {
	return classify("kafka: commit of group "+s.group, s.commit(ctx))
}

// Extend is not called: deliveries have no lease.
func (s *session) Extend(context.Context, []*driver.Receipt, time.Duration) {}

func (s *session) Quiesce(context.Context) error {
	s.mu.Lock()
	s.quiesced = true
	s.mu.Unlock()
	s.wake.Poke()
	return nil
}

// die ends a session that failed.
func (s *session) die(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err() != nil || s.closed {
		return
	}
	s.End(err)
	for _, c := range s.claims {
		c.end()
		c.abandon()
	}
}

func (s *session) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	leave := s.leave
	dead, owner := s.Err() != nil, len(s.claims) > 0
	for _, c := range s.claims {
		c.end()
		c.version++ // says that its owner has left
	}
	s.mu.Unlock()
	s.conn.forget(s)
	if owner && !dead {
		if err := s.flush(ctx, s.conn.config.Grace); err != nil {
			s.conn.config.Logger.Warn("waybill: what was settled last may come again: its commit failed", "group", s.group, "error", err)
		}
	}
	s.mu.Lock()
	s.End(errClosed)
	for _, c := range s.claims {
		c.abandon()
	}
	s.mu.Unlock()
	if leave == nil {
		return nil // whoever begins it leaves it
	}
	return leave(ctx)
}
