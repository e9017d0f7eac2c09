package pubsub

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// batcher takes a topic's messages, in order, and sends them in batches, several
// at a time, until each has its outcome.
//
// Two ways lead to the driver. Where Send never blocks and nothing waits, submit
// calls it in the publisher's own goroutine. Everything else goes through queue,
// which one goroutine, run, empties; it also brings what the driver gave back
// to order and opens the topic again after a loss (see courier.go).
type batcher struct {
	topic *Topic
	limit Limit
	batch driver.Batch

	wake chan struct{} // to run: something changed; holds one token
	stop context.CancelFunc
	done chan struct{} // closed when run has ended; nil until it began

	mu       sync.Mutex
	seq      uint64
	messages int // taken and not finished
	bytes    int
	waiters  []*waiter
	queue    []*outgoing // in order of seq, to be sent
	back     []*outgoing // came back, to be sent again once nothing is with the driver
	inflight int         // with the driver
	sending  bool        // run has a batch in hand
	keys     map[string]int
	failed   map[string]uint64 // keys whose message failed: what is older than this fails too
	closed   bool
	drained  chan struct{} // closed when closed and nothing is left
	last     error         // why the last message came back

	incarnation driver.Topic
}

// waiter is a publisher that waits for room.
type waiter struct {
	size     int
	admitted bool
	ready    chan struct{}
}

// The defaults of PublishLimit.
const (
	publishLimitMessages = 10_000
	publishLimitBytes    = 64 << 20
)

func newBatcher(t *Topic, opened driver.Topic, batch driver.Batch) *batcher {
	b := &batcher{topic: t, limit: t.config.limit, batch: batch, incarnation: opened, wake: make(chan struct{}, 1)}
	b.limit = b.limit.or(publishLimitMessages, publishLimitBytes)
	if b.keyed() {
		b.keys = map[string]int{}
	}
	return b
}

// keyed says whether messages of one key must wait for one another.
func (b *batcher) keyed() bool { return b.topic.config.Ordered && b.topic.caps.SendsPerKey > 0 }

// submit takes a message in; from then on its outcome comes through its finish.
// It waits for room, within ctx.
func (b *batcher) submit(ctx context.Context, o *outgoing) error {
	o.batcher, o.ctx = b, ctx
	o.size = (*Message)(&o.message[0]).Size()
	if len(b.topic.client.config.hooks.publish) > 0 {
		o.started = time.Now()
	}
	direct := b.topic.caps.SendNeverBlocks && !b.keyed()
	if !direct {
		o.own()
	}
	b.mu.Lock()
	if err := b.reserve(ctx, o.size); err != nil {
		b.mu.Unlock()
		return err
	}
	b.seq++
	o.seq = b.seq
	if direct && len(b.queue) == 0 && len(b.back) == 0 && !b.sending {
		o.place = sent
		b.inflight++
		incarnation := b.incarnation
		b.mu.Unlock()
		b.send(ctx, incarnation, o)
		return nil
	}
	o.own()
	b.enqueue(o)
	b.start()
	b.mu.Unlock()
	b.poke()
	return nil
}

// send is the direct way.
func (b *batcher) send(ctx context.Context, incarnation driver.Topic, o *outgoing) {
	if o.fate == nil {
		o.fate = o.settled
	}
	sync := o.call != nil
	incarnation.Send(ctx, o.message[:], o.fate)
	if sync {
		return // Publish waits, and what it abandons is not sent again
	}
	b.mu.Lock()
	if o.place != finished {
		o.own() // it may come back when its publisher has gone on
	}
	b.mu.Unlock()
}

// reserve waits for room and takes it. It is called and returns with the lock held.
func (b *batcher) reserve(ctx context.Context, size int) error {
	if b.closed {
		return ErrClosed
	}
	if len(b.waiters) == 0 && b.fits(size) {
		b.messages++
		b.bytes += size
		return nil
	}
	w := &waiter{size: size, ready: make(chan struct{})}
	b.waiters = append(b.waiters, w)
	b.mu.Unlock()
	select {
	case <-w.ready:
		b.mu.Lock()
	case <-ctx.Done():
		b.mu.Lock()
		if i := slices.Index(b.waiters, w); i >= 0 {
			b.waiters = slices.Delete(b.waiters, i, i+1)
			b.admit()
			return b.canceled(ctx)
		}
	}
	if !w.admitted {
		return ErrClosed
	}
	return nil
}

// fits says whether a message has room. A large one goes alone.
func (b *batcher) fits(size int) bool {
	return b.messages == 0 || b.messages < b.limit.Messages && b.bytes+size <= b.limit.Bytes
}

// admit lets waiters in, first come, first served.
func (b *batcher) admit() {
	for len(b.waiters) > 0 && b.fits(b.waiters[0].size) {
		w := b.waiters[0]
		b.waiters[0] = nil
		b.waiters = b.waiters[1:]
		b.messages++
		b.bytes += w.size
		w.admitted = true
		close(w.ready)
	}
}

// canceled is the error of a message that ctx ended for before it was sent.
func (b *batcher) canceled(ctx context.Context) error {
	cause := context.Cause(ctx)
	text := "not sent"
	if b.last != nil {
		text += " (the broker: " + b.last.Error() + ")"
	}
	return driver.Wrap(CodeCanceled, text, cause)
}

// unconfirmed is the error of a message that is perhaps stored.
func unconfirmed(cause error) error {
	return &unconfirmedError{cause}
}

type unconfirmedError struct{ cause error }

func (e *unconfirmedError) Error() string {
	if e.cause == nil {
		return ErrUnconfirmed.Error()
	}
	return ErrUnconfirmed.Error() + ": " + e.cause.Error()
}

func (e *unconfirmedError) Unwrap() []error { return []error{ErrUnconfirmed, e.cause} }

func (e *unconfirmedError) ErrorCode() Code { return CodeUnconfirmed }

// enqueue puts a message to be sent in its place and watches its context while
// there is trouble; else it will be sent before that ends.
func (b *batcher) enqueue(o *outgoing) {
	o.place = queued
	b.queue = append(b.queue, o)
	if len(b.back) > 0 || b.last != nil {
		b.watch(o)
	}
}

// watch fails a message when its context ends while it waits.
func (b *batcher) watch(o *outgoing) {
	if o.call != nil || o.unwatch != nil || o.ctx.Done() == nil {
		return // a Publish watches its own
	}
	o.unwatch = context.AfterFunc(o.ctx, func() { _ = b.expire(o) })
}

// expire ends the waiting of a message whose context ended; its error is nil if it
// does not wait.
func (b *batcher) expire(o *outgoing) error {
	b.mu.Lock()
	if o.place != queued {
		b.mu.Unlock()
		return nil
	}
	err := b.canceled(o.ctx)
	if o.doubtful {
		err = unconfirmed(context.Cause(o.ctx))
	}
	b.queue = without(b.queue, o)
	b.back = without(b.back, o)
	over := b.fail(nil, o, err)
	b.mu.Unlock()
	b.poke()
	finishAll(over)
	return err
}

func without(list []*outgoing, o *outgoing) []*outgoing {
	if i := slices.Index(list, o); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// abandon is called by a Publish whose ctx ended. It returns the message's error.
func (b *batcher) abandon(ctx context.Context, o *outgoing) error {
	b.mu.Lock()
	switch o.place {
	case finished:
		defer b.mu.Unlock()
		return o.err
	case queued:
		o.ctx = ctx
		b.mu.Unlock()
		if err := b.expire(o); err != nil {
			return err
		}
		return b.abandon(ctx, o) // it was sent in between
	default:
		o.abandoned = true
		b.mu.Unlock()
		return unconfirmed(context.Cause(ctx))
	}
}

// complete is the outcome of a message that went through middleware. It may come
// after the Publish that waited for it has gone.
func (b *batcher) complete(o *outgoing, err error) {
	b.mu.Lock()
	again := o.place == finished
	if !again {
		o.conclude(err)
	}
	b.mu.Unlock()
	if !again {
		o.finish()
	}
}

// settled is the fate of a message that went to the driver alone.
func (o *outgoing) settled(_ int, f driver.Fate, err error) {
	b := o.batcher
	b.mu.Lock()
	over := b.settle(nil, o, f, err)
	pokes := len(b.back) > 0 || b.closed || len(b.queue) > 0
	b.mu.Unlock()
	if over == nil {
		o.done1(b)
	} else {
		finishAll(over)
	}
	if pokes {
		b.poke()
	}
}
