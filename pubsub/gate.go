package pubsub

import (
	"context"
	"errors"
	"sync"
)

// A gate keeps Receive and messages of keys that go back to the broker apart. A Receive
// that is under way meanwhile could carry a later message of such a key, from before, and
// nothing would tell it from one that comes again. So the gate shuts: the Receive is
// interrupted, what it carries goes back too, and the next one begins when all has gone.
type gate struct {
	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // of the Receives, until it shuts
	cancel  context.CancelCauseFunc
	under   bool          // a Receive is under way, or what it gave is taken in
	left    chan struct{} // to be closed when it is not; nil: nobody waits for that
	opening chan struct{} // closed when the gate opens; nil: it is open
}

var errGate = errors.New("messages go back to the broker")

// enter waits until the gate is open, and returns the context for a Receive. After it
// leave is called, when what it gave is taken in.
func (g *gate) enter(ctx context.Context) (context.Context, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.opening != nil {
		opening := g.opening
		g.mu.Unlock()
		select {
		case <-opening:
		case <-ctx.Done():
		}
		g.mu.Lock()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	if g.ctx == nil || g.ctx.Err() != nil {
		g.ctx, g.cancel = context.WithCancelCause(ctx)
	}
	g.under = true
	return g.ctx, nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under = false
	if g.left != nil {
		close(g.left)
		g.left = nil
	}
}

// shut shuts the gate and waits, within ctx, until no Receive is under way.
func (g *gate) shut(ctx context.Context) {
	g.mu.Lock()
	g.opening = make(chan struct{})
	if !g.under {
		g.mu.Unlock()
		return
	}
	left := make(chan struct{})
	g.left = left
	g.cancel(errGate)
	g.mu.Unlock()
	select {
	case <-left:
	case <-ctx.Done():
	}
}

// open opens the gate, if it is shut.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opening != nil {
		close(g.opening)
		g.opening = nil
	}
}

// end frees the context.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancel != nil {
		g.cancel(nil)
	}
}
