package pubsub

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// An outgoing is one message on its way to the broker. The batcher's mutex guards
// it from submit to finish.
type outgoing struct {
	message [1]driver.Message // an array: Send takes it as a batch of one
	batcher *batcher
	seq     uint64 // its place in the order of submission
	size    int
	copied  bool // body and headers are the batcher's own
	outer   bool // done is PublishAsync's, and hears of the topic's name
	slotted bool // holds a slot of its key's line
	direct  bool // was sent alone, and has no fate yet
	place   place
	shift   uint8 // of gaps, while it is with the driver
	company int   // how many messages the Send had that it was in
	most    int   // how many the next may have; zero: no limit
	returns int   // how often it came back while others were stored

	doubtful  bool // a fate was Unknown: perhaps stored
	abandoned bool // nobody waits any more: not to be sent again

	ctx     context.Context //nolint:containedctx // bounds the waiting of this message alone
	unwatch func() bool
	started time.Time // set for hooks alone

	fate func(int, driver.Fate, error) // o.told, bound once
	done func(error)                   // PublishAsync's
	call *call                         // Publish's
	// together is the Publish of several that it is one of, also where middleware is
	// between them: a key that failed takes along what comes after in the same call.
	together *call
	err      error // the outcome
}

// place is where an outgoing is.
type place uint8

const (
	outside  place = iota // not submitted yet
	queued                // waits to be sent, perhaps again
	sent                  // is with the driver
	finished              // has its outcome
)

// own copies what the caller may change once Publish has returned.
func (o *outgoing) own() {
	if o.copied {
		return
	}
	o.copied = true
	m := &o.message[0]
	m.Headers = maps.Clone(m.Headers)
	switch n := len(m.Body); {
	case m.Body == nil:
	case n == 0 || n > shortBody:
		m.Body = append(make([]byte, 0, n), m.Body...)
	default:
		r := reams.Get().(*ream)
		m.Body = r.copy(m.Body)
		reams.Put(r)
	}
}

// A ream is room for messages to come, several in one allocation.
type ream struct {
	outgoings []outgoing
	bodies    []byte
}

// A message that waits for long keeps the room that it shares. So that is small.
const (
	reamOutgoings = 8
	reamBodies    = 4 << 10
	shortBody     = 1 << 10
)

var reams = sync.Pool{New: func() any { return new(ream) }}

// newOutgoing makes an outgoing.
func newOutgoing() *outgoing {
	r := reams.Get().(*ream)
	if len(r.outgoings) == 0 {
		r.outgoings = make([]outgoing, reamOutgoings)
	}
	o := &r.outgoings[0]
	r.outgoings = r.outgoings[1:]
	reams.Put(r)
	return o
}

// copy copies a short body. None can grow into the next.
func (r *ream) copy(body []byte) []byte {
	if cap(r.bodies)-len(r.bodies) < len(body) {
		r.bodies = make([]byte, 0, reamBodies)
	}
	at := len(r.bodies)
	r.bodies = append(r.bodies, body...)
	return r.bodies[at:len(r.bodies):len(r.bodies)]
}

// told is called by the driver, once, for a message that was sent alone.
func (o *outgoing) told(i int, f driver.Fate, err error) {
	b := o.batcher
	b.mu.Lock()
	if !o.direct || i != 0 {
		b.mu.Unlock()
		b.blame()
		return
	}
	o.direct = false
	b.told(o, f, err)
}

// conclude notes the outcome; finish tells it afterwards, without the lock.
func (o *outgoing) conclude(err error) {
	o.place, o.err = finished, err
	if o.unwatch != nil {
		o.unwatch()
		o.unwatch = nil
	}
}

// finish tells the outcome to whoever waits for it. It runs users' code.
func (o *outgoing) finish() {
	switch {
	case o.done == nil:
	case o.outer:
		o.done(fail("publish", o.batcher.topic.name, o.err))
	default:
		o.done(o.err)
	}
	if o.call != nil {
		o.call.arrive()
	}
}

// reject finishes what was never submitted.
func (o *outgoing) reject(err error) {
	o.conclude(err)
	o.finish()
}

// A call is one Publish that waits for its messages.
type call struct {
	left  atomic.Int32 // messages without an outcome, and awaited while it waits
	ready chan struct{}
	one   outgoing // the message, where it is a single one

	failed map[string]bool // keys of several; the batcher's mutex guards it
}

// fail notes the key of a message that failed for good.
func (c *call) fail(key string) {
	if c.failed == nil {
		c.failed = map[string]bool{}
	}
	c.failed[key] = true
}

// togetherKey is the key of a together in the context of a Publish through middleware.
type togetherKey struct{}

type together struct {
	batcher *batcher
	call    *call
}

// awaited is more than any call has messages.
const awaited = 1 << 30

// takeCall returns a call for one message. They are kept by topic: a channel must
// not leave its bubble of testing/synctest.
func (b *batcher) takeCall() *call {
	if c, ok := b.calls.Get().(*call); ok && !b.blamed.Load() {
		return c
	}
	c := newCall()
	c.one.call, c.one.batcher, c.one.fate = c, b, c.one.told
	return c
}

func newCall() *call { return &call{ready: make(chan struct{}, 1)} }

func (c *call) expect(n int) {
	c.left.Store(int32(n)) //nolint:gosec // as many as a slice has
}

// arrive is called once a message.
func (c *call) arrive() {
	if c.left.Add(-1) == awaited {
		c.ready <- struct{}{}
	}
}

// await waits for all outcomes; false when ctx ended first.
func (c *call) await(ctx context.Context) bool {
	if c.left.Load() == 0 || c.left.Add(awaited) == awaited {
		return true
	}
	select {
	case <-c.ready:
		return true
	case <-ctx.Done():
		return false
	}
}

// recycle keeps a call that nothing refers to any more for the next Publish.
func (b *batcher) recycle(c *call) {
	o := &c.one
	*o = outgoing{call: c, fate: o.fate, batcher: b}
	b.calls.Put(c)
}
