package pubsub

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// batcher takes a topic's messages, in order, and keeps each until it has its
// outcome.
//
// Two ways lead to the driver. Where Send never blocks and nothing waits, submit
// calls it in the publisher's own goroutine. Everything else goes through queue,
// which one goroutine empties (courier.go); it also sends again what came back,
// and opens the topic again after a loss.
//
// Outcomes are noted under the lock (conclude) and told without it (finish), for
// telling runs users' code.
type batcher struct {
	topic *Topic
	limit Limit
	batch driver.Batch

	calls sync.Pool // of *call

	wake chan struct{}      // to the courier: something changed; holds one token
	stop context.CancelFunc // ends the courier; nil until it began
	done chan struct{}      // closed when the courier has ended

	mu          sync.Mutex
	incarnation driver.Topic
	seq         uint64
	messages    int // taken and not finished
	bytes       int
	waiters     []*waiter
	queue       []*outgoing // to be sent
	back        []*outgoing // came back, to be sent again once nothing is with the driver
	stale       int         // finished messages that are still in a list
	inflight    int         // with the driver
	sending     bool        // the courier has a batch in hand
	lines       map[string]*line
	failed      map[string]uint64 // keys whose message failed: those up to this seq fail too
	last        error             // why the last message came back, while that lasts
	progress    bool              // something was stored or refused since the last trouble
	closed      bool              // takes nothing more
	quit        bool              // sends nothing more
	drained     chan struct{}     // closed when closed and nothing is left
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
	b := &batcher{
		topic: t, batch: batch, incarnation: opened,
		limit:   t.config.limit.or(publishLimitMessages, publishLimitBytes),
		wake:    make(chan struct{}, 1),
		drained: make(chan struct{}),
		failed:  map[string]uint64{},
	}
	if t.config.Ordered && t.caps.SendsPerKey > 0 {
		b.lines = map[string]*line{}
	}
	return b
}

// submit takes a message in; from then on its outcome comes through its finish.
// It waits for room, within ctx.
func (b *batcher) submit(ctx context.Context, o *outgoing) error {
	o.batcher, o.ctx = b, ctx
	o.size = o.message[0].Size()
	if len(b.topic.client.config.hooks.publish) > 0 {
		o.started = time.Now()
	}
	direct := b.topic.caps.SendNeverBlocks && b.lines == nil
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
		o.fate = o.told
	}
	async := o.call == nil // else its Publish waits, and may have used o again
	incarnation.Send(ctx, o.message[:], o.fate)
	if !async {
		return
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
	if ctx.Err() != nil {
		return b.canceled(ctx)
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
	text := "not sent"
	if b.last != nil {
		text += " (" + b.last.Error() + ")"
	}
	return driver.Wrap(CodeCanceled, text, context.Cause(ctx))
}

// enqueue puts a message behind the others. While there is trouble its context
// is watched; else it will be sent before that matters.
func (b *batcher) enqueue(o *outgoing) {
	o.place = queued
	if b.lineUp(o) {
		b.queue = append(b.queue, o)
	}
	if len(b.back) > 0 || b.last != nil {
		b.watch(o)
	}
}

// watch fails a message when its context ends while it waits. A Publish watches
// its own.
func (b *batcher) watch(o *outgoing) {
	if o.call == nil && o.unwatch == nil && o.ctx.Done() != nil {
		o.unwatch = context.AfterFunc(o.ctx, func() { _ = b.expire(o.ctx, o) })
	}
}

// expire ends the waiting of a message whose context ended. Its error is nil if
// the message does not wait.
func (b *batcher) expire(ctx context.Context, o *outgoing) error {
	b.mu.Lock()
	if o.place != queued {
		b.mu.Unlock()
		return nil
	}
	followers := b.fail(o, b.canceled(ctx))
	err := o.err
	b.sweep()
	b.mu.Unlock()
	b.poke()
	b.finish(o)
	b.finish(followers...)
	return err
}

// abandon is called by a Publish whose ctx ended. It returns the message's error.
func (b *batcher) abandon(ctx context.Context, o *outgoing) error {
	if err := b.expire(ctx, o); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.place == finished {
		return o.err
	}
	o.abandoned = true
	return unconfirmed(context.Cause(ctx))
}

// complete is the outcome of a message that went through middleware. It may come
// after the Publish that waited for it has gone, and more than once from a
// middleware that is wrong.
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

// told is called by the driver, once a message.
func (b *batcher) told(o *outgoing, f driver.Fate, err error) {
	b.mu.Lock()
	if o.place != sent {
		b.mu.Unlock()
		return // a driver that tells a fate twice
	}
	over, followers := b.settle(o, f, err)
	waits := len(b.queue) > 0 || len(b.back) > 0
	b.mu.Unlock()
	if over {
		b.finish(o)
	}
	b.finish(followers...)
	if waits {
		b.poke()
	}
}

// settle acts on a fate: the message is over, with others of its key perhaps, or
// it is to be sent again.
func (b *batcher) settle(o *outgoing, f driver.Fate, err error) (over bool, followers []*outgoing) {
	b.inflight--
	switch f {
	case driver.Stored:
		b.last, b.progress = nil, true
		b.conclude(o, nil)
	case driver.Refused:
		b.progress = true
		followers = b.fail(o, driver.Wrap(CodeOf(err), "refused", err))
	default:
		b.last = err
		o.doubtful = o.doubtful || f == driver.Unknown
		if !b.resends(o, f) {
			followers = b.fail(o, b.giveUp(o, err))
			break
		}
		o.own()
		o.place = queued
		b.back = append(b.back, o)
		b.watch(o)
		b.start()
		return false, nil
	}
	if b.inflight == 0 {
		clear(b.failed)
	}
	return true, followers
}

// resends says whether a message that was perhaps not stored is sent again.
func (b *batcher) resends(o *outgoing, f driver.Fate) bool {
	return !o.abandoned && !b.quit && !b.bound(o) && (f != driver.Unknown || b.topic.caps.ResendUnknown)
}

// bound says whether an earlier message of the same key failed while this one was
// with the driver.
func (b *batcher) bound(o *outgoing) bool {
	return o.message[0].Key != "" && o.seq <= b.failed[o.message[0].Key]
}

// giveUp is the error of a message that is not sent again.
func (b *batcher) giveUp(o *outgoing, err error) error {
	switch {
	case o.doubtful:
		return err // fail says that it is doubtful
	case b.bound(o):
		return ErrKeyFailed
	case b.quit:
		return driver.Wrap(CodeClosed, "not sent before the publisher was closed", err)
	default:
		return driver.Wrap(CodeCanceled, "not sent", err)
	}
}

// fail ends a message for good, and those that wait behind it on its key.
func (b *batcher) fail(o *outgoing, err error) (followers []*outgoing) {
	if o.doubtful {
		err = unconfirmed(err)
	}
	b.conclude(o, err)
	key := o.message[0].Key
	if key == "" || !b.topic.config.Ordered || b.topic.config.continueFailed {
		return nil
	}
	if b.inflight > 0 {
		b.failed[key] = b.seq
	}
	lists := [][]*outgoing{b.back, b.queue}
	if l := b.lines[key]; l != nil {
		lists = append(lists, l.waiting)
	}
	for _, list := range lists {
		for _, f := range list {
			if f.place == queued && f.seq > o.seq && f.message[0].Key == key {
				followers = append(followers, f)
			}
		}
	}
	for _, f := range followers {
		if f.doubtful {
			b.conclude(f, unconfirmed(ErrKeyFailed))
		} else {
			b.conclude(f, ErrKeyFailed)
		}
	}
	return followers
}

// conclude notes an outcome and gives the message's room to the next.
func (b *batcher) conclude(o *outgoing, err error) {
	if o.place == queued {
		b.stale++
	}
	o.conclude(err)
	b.messages--
	b.bytes -= o.size
	b.leaveLine(o)
	b.admit()
	if b.closed && b.messages == 0 {
		close(b.drained)
	}
}

// finish tells outcomes. It is called without the lock.
func (b *batcher) finish(over ...*outgoing) {
	for _, o := range over {
		if len(b.topic.client.config.hooks.publish) > 0 {
			b.topic.observe(o)
		}
		o.finish()
	}
}

// sweep frees the lists of finished messages when they are the larger part.
func (b *batcher) sweep() {
	if b.stale < 64 || b.stale < b.messages {
		return
	}
	over := func(o *outgoing) bool { return o.place == finished }
	b.queue = slices.DeleteFunc(b.queue, over)
	b.back = slices.DeleteFunc(b.back, over)
	for _, l := range b.lines {
		l.waiting = slices.DeleteFunc(l.waiting, over)
	}
	b.stale = 0
}

// close takes nothing more, waits within ctx until all is sent and confirmed,
// and ends the topic.
func (b *batcher) close(ctx context.Context) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	for _, w := range b.waiters {
		close(w.ready)
	}
	b.waiters = nil
	if b.messages == 0 {
		close(b.drained)
	}
	b.mu.Unlock()

	select {
	case <-b.drained:
	case <-ctx.Done():
	}
	b.mu.Lock()
	b.quit = true
	over := b.failQueued(driver.Wrap(CodeClosed, "not sent before the publisher was closed", b.last))
	stop := b.stop
	b.mu.Unlock()
	b.finish(over...)
	if stop != nil {
		stop()
		<-b.done
	}
	b.mu.Lock()
	incarnation := b.incarnation // the courier may have opened another
	b.mu.Unlock()
	// What the driver still has gets its fate now: quit makes it the last.
	return incarnation.Close(ctx)
}

// failQueued ends everything that waits to be sent.
func (b *batcher) failQueued(err error) (over []*outgoing) {
	for _, list := range [][]*outgoing{b.back, b.queue} {
		for _, o := range list {
			if o.place == queued {
				over = append(over, o)
			}
		}
	}
	for _, l := range b.lines {
		for _, o := range l.waiting {
			if o.place == queued {
				over = append(over, o)
			}
		}
	}
	for _, o := range over {
		if o.doubtful {
			b.conclude(o, unconfirmed(err))
		} else {
			b.conclude(o, err)
		}
	}
	b.queue, b.back, b.stale = nil, nil, 0
	if b.lines != nil {
		clear(b.lines)
	}
	return over
}
