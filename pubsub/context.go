package pubsub

import (
	"context"
	"sync/atomic"
	"time"
)

// deliveryContext is a handler's context. Most handlers neither wait on it nor
// derive from it, so the cancellable context beneath is made when first asked for.
type deliveryContext struct {
	base  context.Context //nolint:containedctx // it is one
	drain <-chan struct{}
	inner atomic.Pointer[cancellable]
}

type cancellable struct {
	context.Context //nolint:containedctx // it is one
	cancel          context.CancelCauseFunc
}

// handled is the context of a delivery whose handler has returned.
var handled = func() *cancellable {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(nil)
	return &cancellable{ctx, cancel}
}()

func (c *deliveryContext) Deadline() (time.Time, bool) { return c.base.Deadline() }

func (c *deliveryContext) Done() <-chan struct{} { return c.make().Done() }

func (c *deliveryContext) Err() error {
	if inner := c.inner.Load(); inner != nil {
		return inner.Err()
	}
	return nil
}

func (c *deliveryContext) Value(key any) any {
	if key == (drainKey{}) {
		return c.drain
	}
	// The inner context is where the standard library finds the cause.
	if inner := c.inner.Load(); inner != nil && inner != handled {
		return inner.Value(key)
	}
	return c.base.Value(key)
}

func (c *deliveryContext) make() *cancellable {
	if inner := c.inner.Load(); inner != nil {
		return inner
	}
	ctx, cancel := context.WithCancelCause(c.base)
	inner := &cancellable{ctx, cancel}
	if !c.inner.CompareAndSwap(nil, inner) {
		cancel(nil)
		return c.inner.Load()
	}
	return inner
}

// cancel ends the context with a cause.
func (c *deliveryContext) cancel(cause error) { c.make().cancel(cause) }

// end releases the context when its handler has returned.
func (c *deliveryContext) end() {
	if !c.inner.CompareAndSwap(nil, handled) {
		c.inner.Load().cancel(nil)
	}
}

type drainKey struct{}

// Draining returns a channel that is closed when the subscription whose handler
// has ctx begins to shut down. A handler that waits, to try again in place for
// example, should stop waiting then. It is nil, and never ready, for other contexts.
func Draining(ctx context.Context) <-chan struct{} {
	drain, _ := ctx.Value(drainKey{}).(<-chan struct{})
	return drain
}
