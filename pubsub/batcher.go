package pubsub

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
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
	topic  *Topic
	limit  Limit
	batch  driver.Batch
	window int  // of messages with the driver; zero: no limit
	keyed  bool // a Send has one key
	perKey int  // messages of a key that may be out of its line; zero: there are no lines

	calls  sync.Pool   // of *call
	blamed atomic.Bool // the driver tells fates twice

	wake driver.Wake        // to the courier: something changed
	stop context.CancelFunc // ends the courier; nil until it began
	done chan struct{}      // closed when the courier has ended

	mu          sync.Mutex
	incarnation driver.Topic
	seq         uint64
	messages    int // taken and not finished
	bytes       int
	waiters     []*waiter
	entering    []*waiter   // that have got room, and have not joined the queue yet
	queue       []*outgoing // to be sent
	back        []*outgoing // came back, to be sent again once nothing is with the driver
	stale       int         // finished messages that are still in a list
	inflight    int         // with the driver
	sending     bool        // the courier has a batch in hand
	lines       map[string]*line
	gaps        gaps
	queueBytes  int           // of queue
	last        error         // why the last message came back, while that lasts
	progress    bool          // something was stored or refused since the last trouble
	closed      bool          // takes nothing more
	quit        bool          // sends nothing more
	drained     chan struct{} // closed when closed and nothing is left
	ended       chan struct{} // closed when close has returned
	patrol      patrol

	// PublishAsync's outcomes that are noted and not told, and a token whenever that
	// comes to none.
	untold  atomic.Int64
	allTold driver.Wake
}

// waiter is a publisher that waits for room.
type waiter struct {
	*outgoing
	admitted bool
	failed   bool // an earlier message of its key did, meanwhile
	ready    chan struct{}
}

// The defaults of PublishLimit.
const (
	publishLimitMessages = 10_000
	keyedLimitMessages   = 50_000 // where a Send has one key: its size is what waits of that
	publishLimitBytes    = 64 << 20
)

func newBatcher(t *Topic, opened driver.Topic, batch driver.Batch) *batcher {
	b := &batcher{
		topic: t, batch: batch, window: t.caps.SendWindow, incarnation: opened,
		wake:    driver.NewWake(),
		drained: make(chan struct{}),
		ended:   make(chan struct{}),
		allTold: driver.NewWake(),
	}
	if b.window > 0 && (batch.Messages == 0 || batch.Messages > b.window) {
		b.batch.Messages = b.window
	}
	messages := publishLimitMessages
	switch {
	case !t.config.Ordered:
	case t.caps.KeyPerSend:
		messages = keyedLimitMessages
		b.keyed, b.perKey = true, 1
		b.batch.Linger = 0 // what comes while a key's Send is under way is company enough
	default:
		b.perKey = t.caps.SendsPerKey
	}
	b.limit = t.config.limit.or(messages, publishLimitBytes)
	if b.perKey > 0 {
		b.lines = map[string]*line{}
	}
	return b
}

// nested is how many outcomes may be on their way to be told where a message is sent in its
// publisher's goroutine. That one may be telling an outcome, of a Send that called back at
// once, and so on: the stack has an end.
const nested = 64

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
	if err := b.reserve(ctx, o); err != nil {
		b.mu.Unlock()
		return err
	}
	b.seq++
	o.seq = b.seq
	if direct && b.untold.Load() < nested && len(b.queue) == 0 && len(b.back) == 0 && !b.sending && b.room(1) {
		b.depart(o)
		o.direct = true
		incarnation := b.incarnation
		b.mu.Unlock()
		b.send(ctx, incarnation, o)
		return nil
	}
	o.own()
	b.enqueue(o)
	b.start()
	due := b.due()
	b.mu.Unlock()
	if due {
		b.wake.Poke()
	}
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
func (b *batcher) reserve(ctx context.Context, o *outgoing) error {
	if b.closed {
		return errTopicClosed
	}
	if ctx.Err() != nil {
		return b.canceled(ctx)
	}
	if o.together != nil && o.together.failed[o.message[0].Key] {
		return ErrKeyFailed
	}
	if len(b.waiters) == 0 && b.fits(o.size) {
		b.messages++
		b.bytes += o.size
		return nil
	}
	w := &waiter{outgoing: o, ready: make(chan struct{})}
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
	if i := slices.Index(b.entering, w); i >= 0 {
		b.entering = slices.Delete(b.entering, i, i+1)
	}
	switch {
	case !w.admitted:
		return errTopicClosed
	case b.quit: // just now, and nobody would send it
		b.leave(o.size)
		return errTopicClosed
	case w.failed:
		b.leave(o.size)
		return ErrKeyFailed
	}
	return nil
}

// leave gives the room of a message to the next.
func (b *batcher) leave(size int) {
	b.messages--
	b.bytes -= size
	b.admit()
	if b.closed && b.messages == 0 {
		close(b.drained)
	}
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
		if b.binds(w.message[0].Key) {
			b.entering = append(b.entering, w)
		}
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
// is watched at once; else only when it waits for long.
func (b *batcher) enqueue(o *outgoing) {
	o.place = queued
	if b.lineUp(o) {
		b.line(o)
	}
	if len(b.back) > 0 || b.last != nil {
		b.watch(o)
	} else {
		b.walk(o)
	}
}

// line puts a message at the end of the queue.
func (b *batcher) line(o *outgoing) {
	b.queue = append(b.queue, o)
	b.queueBytes += o.size
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
	b.wake.Poke()
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
	why := context.Cause(ctx)
	if b.last != nil {
		why = fmt.Errorf("%w (%s)", why, b.last.Error())
	}
	return unconfirmed(why)
}

// lapse ends the waiting of all whose contexts have ended: a Publish through middleware
// does not know its own.
func (b *batcher) lapse() {
	b.mu.Lock()
	var ended, over []*outgoing
	for o := range b.waiting() {
		if o.ctx.Err() != nil {
			ended = append(ended, o)
		}
	}
	for _, o := range ended {
		if o.place == queued { // else with an earlier one of its key
			over = append(over, o)
			over = append(over, b.fail(o, b.canceled(o.ctx))...)
		}
	}
	b.sweep()
	b.mu.Unlock()
	b.wake.Poke()
	b.finish(over...)
}

// complete is the outcome of a message that went through middleware. It may come
// after the Publish that waited for it has gone, and more than once from a
// middleware that is wrong.
func (b *batcher) complete(o *outgoing, key string, err error) {
	b.mu.Lock()
	again := o.place == finished
	if !again {
		o.conclude(err)
		if err != nil && b.binds(key) {
			o.call.fail(key)
		}
	}
	b.mu.Unlock()
	if !again {
		o.finish()
	}
}

// told acts on a fate. It is called with the lock, and gives it back.
func (b *batcher) told(o *outgoing, f driver.Fate, err error) {
	over, followers := b.settle(o, f, err)
	due := b.due()
	b.mu.Unlock()
	if over {
		b.finish(o)
	}
	b.finish(followers...)
	if due {
		b.wake.Poke()
	}
}

// blame tells of a driver that told a fate twice, or that of no message: once, for it may do
// so all the time. What it refers to is perhaps another Publish's by then, so from now on
// nothing is used again.
func (b *batcher) blame() {
	if !b.blamed.Swap(true) {
		b.topic.client.config.logger.Error("waybill: the driver told a message's fate more than once, or that of no message: "+
			"this is a fault of the driver, and what it confirms cannot be relied on", "broker", b.topic.caps.Broker, "topic", b.topic.name)
	}
}

// due says whether there is something for the courier to do. What came back is older
// than what is queued: nothing passes it.
func (b *batcher) due() bool {
	if len(b.back) > 0 {
		return b.inflight == 0
	}
	return len(b.queue) > 0 && b.room(len(b.queue))
}

// room says whether n more messages may be with the driver, or so many that sending
// them is worth a batch: half the window at most.
func (b *batcher) room(n int) bool {
	return b.window == 0 || b.window-b.inflight >= min(n, b.batch.Messages, (b.window+1)/2)
}

// settle acts on a fate: the message is over, with others of its key perhaps, or
// it is to be sent again.
func (b *batcher) settle(o *outgoing, f driver.Fate, err error) (over bool, followers []*outgoing) {
	b.inflight--
	defer b.gaps.arrive(o)
	if f != driver.Stored && err == nil {
		err = errNoReason // nil is a success further on
	}
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
	return true, followers
}

// depart says that a message is with the driver, until settle.
func (b *batcher) depart(o *outgoing) {
	o.place = sent
	b.inflight++
	b.gaps.depart(o)
}

// resends says whether a message that was perhaps not stored is sent again.
func (b *batcher) resends(o *outgoing, f driver.Fate) bool {
	return !o.abandoned && !b.quit && !b.bound(o) && (f != driver.Unknown || b.topic.caps.ResendUnknown)
}

// bound says whether an earlier message of the same key failed while this one was
// with the driver.
func (b *batcher) bound(o *outgoing) bool {
	return b.gaps.hold(o)
}

// errNoReason is the error of a driver that gives none.
var errNoReason error = driver.Errorf(CodeInternal, "the driver gives no reason")

// unsent is the error of a message that was not sent before Close gave up, with what had
// kept it from that, if anything had.
func unsent(cause error) error {
	return &driver.Error{Code: CodeClosed, Text: "not sent before the publisher was closed", Err: cause}
}

// giveUp is the error of a message that is not sent again.
func (b *batcher) giveUp(o *outgoing, err error) error {
	switch {
	case o.doubtful:
		return err // fail says that it is doubtful
	case b.bound(o):
		return ErrKeyFailed
	case b.quit:
		return unsent(err)
	default:
		return driver.Wrap(CodeCanceled, "not sent", err)
	}
}

// binds says whether a message that fails takes along what comes behind it on its key.
func (b *batcher) binds(key string) bool {
	return key != "" && b.topic.config.Ordered && !b.topic.config.continueFailed
}

// spoil fails the later messages of a key in a Publish of several, of which one was
// refused before it was submitted.
func (b *batcher) spoil(c *call, key string) {
	if !b.binds(key) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c.fail(key)
}

// fail ends a message for good, and those that wait behind it on its key.
func (b *batcher) fail(o *outgoing, err error) (followers []*outgoing) {
	if o.doubtful {
		err = unconfirmed(err)
	}
	key := o.message[0].Key
	if !b.binds(key) {
		b.conclude(o, err)
		return nil
	}
	if o.together != nil {
		o.together.fail(key)
	}
	for _, list := range [][]*waiter{b.waiters, b.entering} {
		for _, w := range list {
			w.failed = w.failed || w.message[0].Key == key
		}
	}
	b.conclude(o, err)
	if b.inflight > 0 {
		b.gaps.add(key, gap{o.seq, b.seq})
	}
	for f := range b.waiting() {
		if f.seq > o.seq && f.message[0].Key == key {
			followers = append(followers, f)
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
	if o.call == nil {
		b.untold.Add(1)
	}
	b.leaveLine(o)
	b.leave(o.size)
}

// finish tells outcomes. It is called without the lock.
func (b *batcher) finish(over ...*outgoing) {
	for _, o := range over {
		if len(b.topic.client.config.hooks.publish) > 0 {
			b.topic.observe(o)
		}
		async := o.call == nil // else its Publish may use o again from here
		o.finish()
		if async && b.untold.Add(-1) == 0 {
			b.allTold.Poke()
		}
	}
}

// awaitTold waits within ctx until the outcomes that are noted have been told.
func (b *batcher) awaitTold(ctx context.Context) {
	for b.untold.Load() > 0 {
		select {
		case <-b.allTold:
		case <-ctx.Done():
			return
		}
	}
}

// sweep frees the lists of finished messages when they are the larger part.
func (b *batcher) sweep() {
	if b.stale < 64 || b.stale < b.messages {
		return
	}
	over := func(o *outgoing) bool { return o.place == finished }
	b.queue = slices.DeleteFunc(b.queue, over)
	b.queueBytes = 0
	for _, o := range b.queue {
		b.queueBytes += o.size
	}
	b.back = slices.DeleteFunc(b.back, over)
	for _, l := range b.lines {
		l.waiting = slices.DeleteFunc(l.waiting, over)
	}
	b.stale = 0
}

// close takes nothing more, waits within ctx until all is sent and confirmed,
// and ends the topic. A second one waits for the first.
func (b *batcher) close(ctx context.Context) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return await(ctx, b.ended)
	}
	defer close(b.ended)
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
	b.patrol.stop()
	over := b.failQueued(unsent(b.last))
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
	err := incarnation.Close(ctx)
	b.awaitTold(ctx)
	return err
}

// waiting goes through what waits to be sent.
func (b *batcher) waiting() iter.Seq[*outgoing] {
	return func(yield func(*outgoing) bool) {
		each := func(list []*outgoing) bool {
			for _, o := range list {
				if o.place == queued && !yield(o) {
					return false
				}
			}
			return true
		}
		if !each(b.back) || !each(b.queue) {
			return
		}
		for _, l := range b.lines {
			if !each(l.waiting) {
				return
			}
		}
	}
}

// failQueued ends everything that waits to be sent.
func (b *batcher) failQueued(err error) (over []*outgoing) {
	over = slices.Collect(b.waiting())
	for _, o := range over {
		if o.doubtful {
			b.conclude(o, unconfirmed(err))
		} else {
			b.conclude(o, err)
		}
	}
	b.queue, b.back, b.stale, b.queueBytes = nil, nil, 0, 0
	if b.lines != nil {
		clear(b.lines)
	}
	return over
}
