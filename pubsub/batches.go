package pubsub

import (
	"context"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// batches runs a BatchHandler in the place of a Handler.
type batches struct {
	receiver *receiver
	policy   BatchPolicy
	handler  BatchHandler

	// The receiver's mutex guards these.
	timer *time.Timer // wakes a worker when the first that waits has waited enough
	armed bool
	since time.Time // when the first that waits began to; zero: nobody has looked
	run   []*batch  // with their handlers
}

// batch is one call of the handler.
type batch struct {
	*batches
	flights []*flight
	ctx     context.Context //nolint:containedctx // of the handler
	cancel  context.CancelCauseFunc

	entered  []int             // those that middleware let through, by index
	contexts []context.Context // of those, from their middleware; nil without any
	derived  bool              // some are not the engine's own
	verdicts []error           // of the handler, by index
	errs     []error           // of the middleware around each, by index; until then errGoexit
}

// startNext runs one batch to its end; false if none is due.
func (b *batches) startNext() bool {
	r := b.receiver
	if !b.due() {
		return false
	}
	run := b.fill()
	r.active++
	r.wakeOne()
	r.unlock()

	began := time.Now()
	returned := false
	defer func() {
		if !returned { // runtime.Goexit
			b.finish(run, time.Since(began))
			r.started--
			r.wakeOne()
			r.unlock()
		}
	}()
	run.handle()
	returned = true
	b.finish(run, time.Since(began))
	return true
}

// finish rules on the deliveries of a batch, and ends it. It is called without the lock
// and returns with it.
func (b *batches) finish(run *batch, took time.Duration) {
	r := b.receiver
	rulings := make([]ruling, len(run.flights))
	for i, f := range run.flights {
		if len(r.hooks.handle) > 0 {
			r.observe(f.delivery, run.errs[i], took)
		}
		rulings[i] = r.rule(f, run.errs[i])
	}
	r.mu.Lock()
	r.active--
	b.run = slices.DeleteFunc(b.run, func(other *batch) bool { return other == run })
	for i, f := range run.flights {
		r.finish(f, rulings[i])
	}
}

// due says whether a batch can start: it is full, or its first has waited, or waits in vain:
// nothing more comes before something of this is settled.
func (b *batches) due() bool {
	r := b.receiver
	ready := &r.ready
	switch {
	case ready.peek() == nil:
		b.since = time.Time{}
		return false
	case r.full() && r.active == 0 && r.departing == 0:
		return true
	case b.policy.Wait == 0, ready.count >= b.policy.Messages, b.policy.Bytes > 0 && ready.bytes >= b.policy.Bytes:
		return true
	}
	now := time.Now()
	if b.since.IsZero() {
		b.since = now
	}
	left := b.policy.Wait - now.Sub(b.since)
	if left <= 0 {
		return true
	}
	if !b.armed {
		b.armed = true
		b.timer = time.AfterFunc(left, b.expire)
	}
	return false
}

// expire has a worker look again.
func (b *batches) expire() {
	r := b.receiver
	r.mu.Lock()
	b.armed = false
	r.wakeOne()
	r.unlock()
}

// fill takes a batch from what is ready.
func (b *batches) fill() *batch {
	r := b.receiver
	run := &batch{batches: b}
	bytes := 0
	for len(run.flights) < b.policy.Messages {
		f := r.ready.peek()
		if f == nil || len(run.flights) > 0 && b.policy.Bytes > 0 && bytes+f.size > b.policy.Bytes {
			break
		}
		r.ready.pop()
		f.start()
		bytes += f.size
		run.flights = append(run.flights, f)
	}
	b.since = time.Time{}
	if b.policy.Wait > 0 && r.ready.count > 0 {
		b.since = time.Now() // the rest waits while this one runs
	}
	run.ctx, run.cancel = context.WithCancelCause(context.WithValue(r.base, drainKey{}, (<-chan struct{})(r.drain)))
	b.run = append(b.run, run)
	return run
}

// lost is called when a delivery of a running batch was taken back, or was held for too
// long. With the last of them the handler's context ends.
func (b *batches) lost(f *flight, cause error) {
	for _, run := range b.run {
		if slices.Contains(run.flights, f) {
			if !slices.ContainsFunc(run.flights, func(f *flight) bool { return f.lost == nil && !f.tooSlow }) {
				run.cancel(cause)
			}
			return
		}
	}
}

// cancel ends the contexts of all batches that run.
func (b *batches) cancel(cause error) {
	for _, run := range b.run {
		run.cancel(cause)
	}
}

// stop ends the timer. It is called with the lock.
func (b *batches) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

// handle runs the handler, inside the middleware of each of its deliveries.
func (b *batch) handle() {
	defer b.cancel(nil)
	b.verdicts = make([]error, len(b.flights))
	b.errs = slices.Repeat([]error{errGoexit}, len(b.flights))
	if len(b.receiver.config.middleware) == 0 {
		for i, f := range b.flights {
			if b.receiver.passesOver(f.delivery) {
				b.errs[i] = nil
			} else {
				b.entered = append(b.entered, i)
			}
		}
		b.call()
		copy(b.errs, b.verdicts)
		return
	}
	b.enter(0)
}

// enter goes through the middleware of the i-th delivery and of those after it, one
// inside the other, with the handler at the core: each middleware sees its own
// verdict when the handler has returned. What does not go through leaves the
// others to go on without it. A middleware that tries again has the handler called
// with that delivery alone.
func (b *batch) enter(i int) {
	if i == len(b.flights) {
		b.call()
		return
	}
	f, entered := b.flights[i], false
	if b.receiver.passesOver(f.delivery) {
		b.errs[i] = nil
		b.enter(i + 1)
		return
	}
	b.errs[i] = protect(f.delivery, func(ctx context.Context, d *Delivery) error {
		if entered {
			return b.alone(ctx, d)
		}
		entered = true
		b.entered = append(b.entered, i)
		b.contexts = append(b.contexts, ctx)
		b.derived = b.derived || ctx != context.Context(f.context)
		b.enter(i + 1)
		return b.verdicts[i]
	}, f.context, b.receiver.config.middleware)
	if !entered {
		b.enter(i + 1)
	}
}

// protect runs middleware and turns its panic into an error.
func protect(d *Delivery, h Handler, ctx context.Context, middleware []Middleware) (err error) { //nolint:revive // ctx goes with middleware
	defer recoverTo(&err)
	return chain(middleware, h)(ctx, d)
}

func recoverTo(err *error) {
	if value := recover(); value != nil {
		*err = &PanicError{Value: value, Stack: debug.Stack()}
	}
}

// call hands those that went through to the handler.
func (b *batch) call() {
	if len(b.entered) == 0 {
		return
	}
	defer b.follow()()
	deliveries := make([]*Delivery, len(b.entered))
	for at, i := range b.entered {
		deliveries[at] = b.flights[i].delivery
	}
	verdicts, err := b.try(b.ctx, deliveries)
	for at, i := range b.entered {
		if err != nil {
			b.verdicts[i] = err
		} else if verdicts != nil {
			b.verdicts[i] = verdicts[at]
		}
	}
}

// follow has the handler's context end when middleware has ended those of all deliveries.
func (b *batch) follow() (stop func()) {
	if !b.derived {
		return func() {}
	}
	var left atomic.Int64
	left.Store(int64(len(b.contexts)))
	stops := make([]func() bool, len(b.contexts))
	for i, ctx := range b.contexts {
		stops[i] = context.AfterFunc(ctx, func() {
			if left.Add(-1) == 0 {
				b.cancel(context.Cause(ctx))
			}
		})
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// alone handles one delivery once more.
func (b *batch) alone(ctx context.Context, d *Delivery) error {
	verdicts, err := b.try(ctx, []*Delivery{d})
	if err != nil || verdicts == nil {
		return err
	}
	return verdicts[0]
}

func (b *batch) try(ctx context.Context, deliveries []*Delivery) (verdicts []error, err error) {
	defer recoverTo(&err)
	n := len(deliveries)
	verdicts = b.handler(ctx, deliveries)
	if verdicts != nil && len(verdicts) != n {
		return nil, driver.Errorf(CodeFailed, "batch handler returned %d verdicts for %d deliveries", len(verdicts), n)
	}
	return verdicts, nil
}
