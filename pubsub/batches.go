package pubsub

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
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
	since time.Time // when the first that waits began to
	run   []*batch  // with their handlers
}

// batch is one call of the handler.
type batch struct {
	*batches
	flights []*flight
	ctx     context.Context //nolint:containedctx // of the handler
	cancel  context.CancelCauseFunc
	left    int // not lost

	entered  []int   // those that middleware let through, by index
	verdicts []error // of the handler, by index
	errs     []error // of the middleware around each, by index
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
			r.mu.Lock()
			r.started--
			b.finish(run, slices.Repeat([]ruling{r.rule(run.flights[0], errGoexit)}, len(run.flights)))
			r.wakeOne()
			r.unlock()
		}
	}()
	run.handle()
	returned = true
	took := time.Since(began)
	rulings := make([]ruling, len(run.flights))
	for i, f := range run.flights {
		if len(r.hooks.handle) > 0 {
			r.observe(f.delivery, run.errs[i], took)
		}
		rulings[i] = r.rule(f, run.errs[i])
	}

	r.mu.Lock()
	b.finish(run, rulings)
	return true
}

// finish ends a batch as its deliveries were ruled.
func (b *batches) finish(run *batch, rulings []ruling) {
	r := b.receiver
	r.active--
	b.run = slices.DeleteFunc(b.run, func(other *batch) bool { return other == run })
	for i, f := range run.flights {
		r.finish(f, rulings[i])
	}
}

// due says whether a batch can start: it is full, or its first has waited.
func (b *batches) due() bool {
	ready := &b.receiver.ready
	switch {
	case ready.peek() == nil:
		b.since = time.Time{}
		return false
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
		f.stage = running
		bytes += f.size
		run.flights = append(run.flights, f)
	}
	b.since = time.Time{}
	run.left = len(run.flights)
	run.ctx, run.cancel = context.WithCancelCause(context.WithValue(r.base, drainKey{}, (<-chan struct{})(r.drain)))
	b.run = append(b.run, run)
	return run
}

// lost is called when a delivery of a running batch was taken back.
func (b *batches) lost(f *flight, cause error) {
	for _, run := range b.run {
		if slices.Contains(run.flights, f) {
			if run.left--; run.left == 0 {
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
	b.errs = make([]error, len(b.flights))
	if len(b.receiver.config.middleware) == 0 {
		for i := range b.flights {
			b.entered = append(b.entered, i)
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
	b.errs[i] = protect(f.delivery, func(ctx context.Context, d *Delivery) error {
		if entered {
			return b.alone(ctx, d)
		}
		entered = true
		b.entered = append(b.entered, i)
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
		return nil, driver.Errorf(CodeFailed, fmt.Sprintf("batch handler returned %d verdicts for %d deliveries", len(verdicts), n))
	}
	return verdicts, nil
}
