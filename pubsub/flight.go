package pubsub

import (
	"maps"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A flight is a delivery between its intake and the end of its settlement. The
// receiver's mutex guards it, but for receipt and session, which are set once.
type flight struct {
	id        string           // of the message; the delivery's fields are the handler's
	attempt   int              // the present one
	delivery  *Delivery        // of the present attempt
	context   *deliveryContext // of the present attempt's handler
	receipt   driver.Receipt   // drivers read it while it is settled
	session   *session
	size      int
	since     time.Time // of its intake
	deadline  time.Time // of its lease; zero: none
	stage     stage
	lost      error       // why it was taken back
	postponed bool        // held, and its attempt does not count
	late      time.Time   // of its start, where it was held for too long before and has no lease
	tooSlow   bool        // held for too long: its lease is not extended any more
	tail      bool        // its Return belongs to the Retry before it
	pinned    bool        // a queue or a Keep may refer to it still: it is not used again
	lane      *lane       // its key's, on an ordered topic
	doubt     *doubt      // about its key, until it is settled
	recall    *recall     // the revocation that is under way for it
	timer     *time.Timer // ends its hold

	next, prev *flight // in the session's list of all
	behind     *flight // in the queue it waits in
}

// stage is where a flight is.
type stage uint8

const (
	waiting  stage = iota // in a queue, not started
	running               // with its handler
	held                  // failed, waits here for its next attempt
	settling              // its settlement is on its way
	gone                  // settled or taken back
)

// start gives a flight to its handler. One that was held for too long already, and whom no
// lease takes away, begins anew: else nobody would tell a handler that hangs.
func (f *flight) start() {
	f.stage = running
	if f.tooSlow && f.deadline.IsZero() {
		f.tooSlow, f.late = false, time.Now()
	}
}

// begun is since when its handling counts.
func (f *flight) begun() time.Time {
	if f.late.IsZero() {
		return f.since
	}
	return f.late
}

// again makes a flight ready for its next attempt, with a delivery and a context
// of its own: the last attempt's handler may have kept its own.
func (f *flight) again() {
	d := *f.delivery
	d.Headers = maps.Clone(d.Headers)
	if !f.postponed {
		f.attempt++
	}
	d.ID, d.Attempt = f.id, f.attempt
	d.values, d.reached = nil, false
	f.delivery = &d
	f.context = &deliveryContext{base: f.context.base, drain: f.context.drain}
	f.stage = waiting
}

// A seat is what the handler of a first attempt gets, in one piece.
type seat struct {
	delivery Delivery
	context  deliveryContext
}

// queue is a list of flights, first in, first out. It may hold flights that have
// left their stage since; they are passed over.
type queue struct {
	first, last *flight
	count       int // those that still wait
	bytes       int
}

func (q *queue) push(f *flight) {
	if q.last == nil {
		q.first = f
	} else {
		q.last.behind = f
	}
	q.last = f
	q.count++
	q.bytes += f.size
}

// peek returns the first that still waits, or nil.
func (q *queue) peek() *flight {
	for q.first != nil && q.first.stage != waiting {
		q.shift()
	}
	return q.first
}

// pop takes the first that still waits, or nil.
func (q *queue) pop() *flight {
	f := q.peek()
	if f != nil {
		q.shift()
		q.leave(f)
	}
	return f
}

// leave counts one less. Those that are left when none waits are let go, for nobody
// may come to pass over them.
func (q *queue) leave(f *flight) {
	q.count--
	q.bytes -= f.size
	if q.count == 0 {
		q.first, q.last = nil, nil
	}
}

func (q *queue) shift() {
	f := q.first
	if q.first = f.behind; q.first == nil {
		q.last = nil
	}
	f.behind = nil
}
