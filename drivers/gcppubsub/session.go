package gcppubsub

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// session is a driver.Session: what a stream gives (stream.go), until it is settled
// (settle.go).
type session struct {
	*driver.Shelf
	conn    *conn
	plan    plan
	tally   *tally
	grow    driver.Wake   // to the stream: it must be opened, anew perhaps
	room    driver.Wake   // to the stream: less waits here
	ended   chan struct{} // closed when the stream is over
	stop    context.CancelFunc
	closing sync.Once

	mu       sync.Mutex
	quiesced bool
	exact    bool                // the subscription is exactly-once
	finish   func() error        // ends the open stream gracefully; nil: none is open
	tag      uint64              // of the last delivery
	held     map[string]*holding // by message id
	given    int                 // of them
	queues   map[string]*queue   // by key, on an ordered subscription
	flight   driver.Batch        // credit, and what was given and is not settled
	window   driver.Batch        // the most of it
	parked   int                 // retried with a delay since the stream was opened: Google counts them
}

// A holding is a message that is leased to this session. A redelivery renews it.
type holding struct {
	id, ack  string
	key      string
	letter   *pubsubpb.PubsubMessage // its copy, where it may be dead-lettered from here
	attempts int                     // as Google counts
	size     int
	tag      uint64
	order    uint64 // its place in its key's queue
	deadline time.Time
	given    bool
	leaving  bool // it is on its way back: when it comes again, it is another delivery
	void     bool
}

const handover = 500 * time.Millisecond

func newSession(c *conn, p plan) *session {
	s := &session{
		Shelf: driver.NewShelf(&c.Life, nil), conn: c, plan: p, tally: c.tally(p.subscription), exact: p.setting.ExactlyOnce,
		grow: driver.NewWake(), room: driver.NewWake(), ended: make(chan struct{}),
		held: map[string]*holding{}, queues: map[string]*queue{},
	}
	ctx, stop := context.WithCancel(s.Context())
	s.stop = stop
	go s.stream(ctx)
	return s
}

// Credit grows the stream's window, beside what it does.
func (s *session) Credit(messages, bytes int) {
	s.mu.Lock()
	s.flight.Messages += messages
	s.flight.Bytes += bytes
	if s.flight.Messages > s.window.Messages && s.flight.Bytes > 0 {
		s.window = driver.Batch{Messages: s.flight.Messages, Bytes: max(s.window.Bytes, s.flight.Bytes)}
		s.grow.Poke()
	}
	s.mu.Unlock()
	s.Shelf.Credit(messages, bytes)
}

// take takes in what the stream gave at a time, and returns what goes back at once.
func (s *session) take(list []*pubsubpb.ReceivedMessage, from time.Time) (back []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	deadline := from.Add(s.plan.lease)
	deliveries := make([]driver.Delivery, 0, len(list))
	for _, m := range list {
		if m.Message == nil {
			continue
		}
		id, key := m.Message.MessageId, m.Message.OrderingKey
		if h := s.held[id]; h != nil {
			switch {
			case h.leaving:
			case !h.given:
				h.ack, h.attempts, h.deadline = m.AckId, int(m.DeliveryAttempt), deadline
				continue
			case now.Before(h.deadline):
				h.ack = m.AckId // the engine has it still: its lease is renewed
				continue
			default:
				s.lose(h)
				back = append(back, s.purge(h)...) // it comes behind this one
			}
			s.release(h)
		}
		s.tag++
		order, ok := s.place(id, key, now)
		if !ok {
			continue
		}
		h := &holding{id: id, ack: m.AckId, key: key, attempts: int(m.DeliveryAttempt), tag: s.tag, order: order, deadline: deadline}
		if s.plan.dead != "" {
			h.letter = proto.CloneOf(m.Message)
		}
		s.held[id] = h
		deliveries = append(deliveries, driver.Delivery{Receipt: driver.Receipt{Tag: h.tag, Token: h, Raw: m}})
		d := &deliveries[len(deliveries)-1]
		decode(m.Message, &d.Message)
		if at := m.Message.PublishTime; at != nil {
			d.PublishTime = at.AsTime()
		}
		h.size = d.Size()
	}
	s.Put(deliveries...) // or they go back with what is held
	return back
}

// lose tells that a given holding is lost.
func (s *session) lose(h *holding) {
	s.Revoke(driver.Revocation{Tags: []uint64{h.tag}, Cause: driver.ErrLeaseLost})
}

// release forgets a holding. It is called with the lock.
func (s *session) release(h *holding) {
	if h.void {
		return
	}
	h.void = true
	if h.given {
		s.given--
		s.flight.Messages--
		s.flight.Bytes -= h.size
	}
	if s.held[h.id] == h {
		delete(s.held, h.id)
	}
	s.leave(h)
}

func (s *session) Receive(ctx context.Context, in *driver.Intake) error {
	for {
		err := s.Shelf.Receive(ctx, in)
		s.admit(in)
		if err != nil || len(in.Deliveries)+len(in.Revocations) > 0 {
			return err
		}
	}
}

// admit keeps the deliveries that may be given, and completes them.
func (s *session) admit(in *driver.Intake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	all := in.Deliveries
	in.Deliveries = all[:0]
	for i := range all {
		d := &all[i]
		h := d.Token.(*holding)
		if !s.mayPass(h, now) {
			s.release(h)
			s.Shelf.Credit(1, h.size)
			continue
		}
		d.Attempt, d.Deadline = s.tally.attempt(h.id, h.attempts), h.deadline
		h.given = true
		s.given++
		if q := s.queues[h.key]; q != nil && h.deadline.Before(q.soon) {
			q.soon = h.deadline
		}
		in.Deliveries = append(in.Deliveries, *d)
	}
	clear(all[len(in.Deliveries):])
	s.room.Poke()
}

// valid finds the holding of a receipt, or nil if it is no longer good. It is called
// with the lock.
func (s *session) valid(r *driver.Receipt, now time.Time) *holding {
	h, ok := r.Token.(*holding)
	if !ok || h.void || h.tag != r.Tag || s.Err() != nil {
		return nil
	}
	if !now.Before(h.deadline) {
		s.release(h) // it is with somebody else by now, or soon
		s.barKey(h, now)
		return nil
	}
	return h
}

// Quiesce ends the stream, and takes what is on its way here.
func (s *session) Quiesce(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	first := !s.quiesced
	s.quiesced = true
	s.mu.Unlock()
	s.Clear()
	s.room.Poke()
	if first {
		s.end(ctx)
	}
	s.mu.Lock()
	// What has a key stays, behind what the engine has of it.
	back := s.drop(func(h *holding) bool { return !h.given && (h.key == "" || !s.plan.request.Ordered) })
	s.mu.Unlock()
	_ = s.giveBack(ctx, back) // else it comes again when its lease ends; what was given stays
	return nil
}

// drop forgets holdings, and returns their acknowledgement ids, in order. It is called with
// the lock.
func (s *session) drop(which func(*holding) bool) (back []string) {
	var list []*holding
	for _, h := range s.held {
		if which(h) {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b *holding) int { return cmp.Compare(a.order, b.order) })
	for _, h := range list {
		back = append(back, h.ack)
		s.release(h)
	}
	return back
}

// end ends the stream: gracefully, so that nothing is lost on the way until its lease
// ends, but not for long.
func (s *session) end(ctx context.Context) {
	s.mu.Lock()
	finish := s.finish
	s.mu.Unlock()
	if finish != nil && s.plan.request.Ordered && s.conn.config.Emulator != "" {
		// The emulator hands out what is new before what was returned: it must have handed
		// over all of a key before any of it goes back.
		settled := time.NewTimer(handover)
		select {
		case <-settled.C:
		case <-s.ended:
		case <-ctx.Done():
		}
		settled.Stop()
	}
	if finish != nil && finish() == nil {
		patience := time.NewTimer(time.Second)
		defer patience.Stop()
		select {
		case <-s.ended:
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	s.stop()
	<-s.ended
}

func (s *session) Close(ctx context.Context) (err error) {
	s.closing.Do(func() { err = s.close(ctx) })
	return err
}

func (s *session) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	alive := s.Err() == nil
	s.mu.Lock()
	s.quiesced = true
	s.mu.Unlock()
	s.Clear()
	if alive {
		s.end(ctx)
	}
	s.stop()
	<-s.ended
	s.mu.Lock()
	back := s.drop(func(h *holding) bool {
		if h.given {
			s.tally.returned.Add(h.id, 1)
		}
		return true
	})
	s.mu.Unlock()
	s.End(errClosed)
	switch {
	case !alive:
		return nil
	case s.plan.request.Broadcast():
		return s.conn.deleteTemporary(ctx, s.plan.subscription)
	default:
		return s.giveBack(ctx, back)
	}
}
