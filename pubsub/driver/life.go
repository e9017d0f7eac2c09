package driver

import "context"

// A Life is what a Conn, a Topic and a Session have in common: it ends once, and can say
// why. Embedded, it has the methods Done and Err of the contract. NewLife makes one. Its
// methods may be called concurrently.
type Life struct {
	ctx context.Context //nolint:containedctx // it is the life
	end context.CancelCauseFunc
}

// NewLife begins a life that ends with parent's, for the same reason, unless it ended
// before; nil is no parent.
func NewLife(parent *Life) Life {
	ctx := context.Background()
	if parent != nil {
		ctx = parent.ctx
	}
	ctx, end := context.WithCancelCause(ctx)
	return Life{ctx, end}
}

// Done is closed when it has ended.
func (l *Life) Done() <-chan struct{} { return l.ctx.Done() }

// Err says why it has ended; nil before.
func (l *Life) Err() error { return context.Cause(l.ctx) }

// Context ends with it, for the calls that a driver makes of its own accord.
func (l *Life) Context() context.Context { return l.ctx }

// End ends it, and all lives whose parent it is. The first reason stays.
func (l *Life) End(why error) { l.end(why) }
