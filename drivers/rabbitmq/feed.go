package rabbitmq

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A feed is one queue that a session reads, on a channel of its own. Tags on a channel
// count from one; a feed knows which of them are not settled, and the channel dies
// with it, so that a tag can never mean another message.
type feed struct {
	session   *session
	queue     string
	claim     uint64
	exclusive bool // a partition: one consumer at a time
	ch        *amqp.Channel
	closed    chan *amqp.Error
	cancelled chan string

	mu     sync.Mutex
	tags   []string // of consumers
	low    uint64   // tags up to this are settled
	next   uint64   // the tag of the next delivery
	states []state  // of the tags from low+1 on
	acks   []uint64 // settled, and not yet acknowledged
}

// state is what became of a delivery.
type state struct {
	leaving bool   // its settlement is being written: no acknowledgement may cover it yet
	settled bool   // and written
	kept    uint16 // attempts that failed here
}

// consume starts a consumer and pumps what it brings. When ctx ends first, that goes on by
// itself: the client knows no contexts.
func (f *feed) consume(ctx context.Context, prefetch int) error {
	s := f.session
	begun := make(chan error, 1)
	s.mu.Lock()
	if err := s.Err(); err != nil || s.draining.Load() {
		s.mu.Unlock()
		return err
	}
	s.pumps.Go(func() {
		deliveries, err := f.begin(prefetch)
		begun <- err
		if err == nil {
			f.pump(deliveries)
		}
	})
	s.mu.Unlock()
	select {
	case err := <-begun:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin has the broker deliver. Where intake ended meanwhile, that ends again: what it
// brings goes back, and would come again at once.
func (f *feed) begin(prefetch int) (<-chan amqp.Delivery, error) {
	if err := f.ch.Qos(prefetch, 0, false); err != nil {
		return nil, err
	}
	tag := "waybill-" + strings.ToLower(rand.Text())
	deliveries, err := f.ch.Consume(f.queue, tag, false, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.tags = append(f.tags, tag)
	f.mu.Unlock()
	if !f.exclusive && f.session.draining.Load() {
		_ = f.ch.Cancel(tag, false) // perhaps a second time
	}
	return deliveries, nil
}

// watch ends the session when the channel closes, or the broker cancels a consumer.
func (f *feed) watch() {
	s := f.session
	select {
	case e := <-f.closed:
		err := errClosed
		if e != nil {
			err = classify("rabbitmq: channel of queue \""+f.queue+"\" lost", e)
		}
		s.End(err)
	case _, open := <-f.cancelled:
		err := errClosed
		if open {
			err = driver.Errorf(driver.CodeUnavailable,
				`rabbitmq: the broker cancelled the consumer of queue "%s": it was deleted, or cannot be reached`, f.queue)
		}
		s.End(err)
	case <-s.Done():
	}
}

// The client's messages are kept several at a time, for Raw.
const chunkSize = 32

// pump takes deliveries from the client, so that it never waits for us.
func (f *feed) pump(deliveries <-chan amqp.Delivery) {
	s := f.session
	var seats []amqp.Delivery
	var piece []byte
	for raw := range deliveries {
		if len(seats) == 0 {
			seats = make([]amqp.Delivery, chunkSize)
		}
		seats[0] = raw
		d := driver.Delivery{}
		failed := describe(&seats[0], &d)
		d.Tag, d.Token, d.Claim, d.Raw = raw.DeliveryTag, f, f.claim, &seats[0]
		seats = seats[1:]
		d.Body, piece = own(raw.Body, piece)
		f.arrive(raw.DeliveryTag)
		if p := s.request.DeadLetter; p != nil && p.MaxAttempts > 0 && failed >= p.MaxAttempts {
			f.bury(raw.DeliveryTag) // it crashed its handlers
			continue
		}
		if !s.Put(d) && !f.exclusive {
			f.giveBack(raw.DeliveryTag)
		}
	}
}

const pieceSize = 16 << 10

// own copies a body: the client's stays as it was published, for a copy to be delayed.
// Small ones share a piece.
func own(body, piece []byte) (mine, rest []byte) {
	n := len(body)
	if n == 0 {
		return nil, piece
	}
	if n > cap(piece)-len(piece) {
		if n > pieceSize/4 {
			return append(make([]byte, 0, n), body...), piece
		}
		piece = make([]byte, 0, pieceSize)
	}
	from := len(piece)
	piece = append(piece, body...)
	return piece[from : from+n : from+n], piece
}

// arrive notes a delivery.
func (f *feed) arrive(tag uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.next <= tag {
		f.states = append(f.states, state{})
		f.next++
	}
}

// find returns the state of a tag that is not settled, nor about to be; else nil. It is
// called with the lock.
func (f *feed) find(tag uint64) *state {
	if tag <= f.low || tag >= f.next {
		return nil
	}
	if st := &f.states[tag-f.low-1]; !st.settled && !st.leaving {
		return st
	}
	return nil
}

// holds says whether a tag is not settled, nor about to be.
func (f *feed) holds(tag uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find(tag) != nil
}

// advance forgets what is settled from the lowest tag on, and says up to which.
func (f *feed) advance() uint64 {
	n := 0
	for n < len(f.states) && f.states[n].settled {
		n++
	}
	f.low += uint64(n)
	if f.states = f.states[n:]; len(f.states) == 0 {
		f.states = f.states[:0:0]
	}
	return f.low
}

// leave settles a tag by what write sends, unless it is settled already; false then. An
// acknowledgement of several covers the tag only after write has returned.
func (f *feed) leave(tag uint64, write func() error) (bool, error) {
	f.mu.Lock()
	st := f.find(tag)
	if st == nil {
		f.mu.Unlock()
		return false, nil
	}
	st.leaving = true
	f.mu.Unlock()
	err := write()
	f.mu.Lock()
	defer f.mu.Unlock()
	if tag > f.low { // else all went back meanwhile
		f.states[tag-f.low-1].settled = true
		f.advance()
	}
	return true, err
}

// giveBack returns a delivery that did not start.
func (f *feed) giveBack(tag uint64) {
	_, _ = f.leave(tag, func() error { return f.ch.Nack(tag, false, true) })
}

// bury has the broker dead-letter a delivery.
func (f *feed) bury(tag uint64) {
	_, _ = f.leave(tag, func() error { return f.ch.Reject(tag, false) })
}

// cancel ends the consumers; what they have stays.
func (f *feed) cancel(ctx context.Context) {
	f.mu.Lock()
	tags := f.tags
	f.tags = nil
	f.mu.Unlock()
	for _, tag := range tags {
		_ = f.session.conn.call(ctx, func() error { return f.ch.Cancel(tag, false) })
	}
}

// close gives back what is not settled, oldest first, and closes the channel. The
// channel of a partition does that in one step, so that no other member reads between.
func (f *feed) close(ctx context.Context) {
	if !f.exclusive {
		f.returnAll()
	}
	_ = f.session.conn.call(ctx, f.ch.Close)
}

func (f *feed) returnAll() {
	f.mu.Lock()
	low, states := f.low, f.states
	f.low, f.states = f.next-1, nil
	f.mu.Unlock()
	f.session.conn.incoming.socket.hold()
	defer f.session.conn.incoming.socket.release()
	for i := range states {
		tag := low + uint64(i) + 1
		switch {
		case states[i].settled, states[i].leaving:
		case states[i].kept > 0:
			_ = f.ch.Reject(tag, true) // counts on every version
		default:
			_ = f.ch.Nack(tag, false, true) // does not from 4.3 on
		}
	}
}
