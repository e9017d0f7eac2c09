package driver

import (
	"context"
	"sync"
)

// Calls are goroutines that may outlive those who began them, and which a Conn waits for
// when it closes. NewCalls makes one that is bound to a Life; the zero value is bound to
// none. Its methods may be called concurrently.
type Calls struct {
	life *Life

	mu       sync.Mutex
	underway int
	none     chan struct{} // closed when none is; nil unless somebody waits for that
}

// NewCalls makes Calls of which Within begins none once life has ended.
func NewCalls(life *Life) *Calls { return &Calls{life: life} }

// Go runs a function, also when the Life has ended.
func (c *Calls) Go(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin(f)
}

// begin is called with the lock.
func (c *Calls) begin(f func()) {
	c.underway++
	go func() {
		defer c.end()
		f()
	}()
}

func (c *Calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underway--; c.underway == 0 && c.none != nil {
		close(c.none)
		c.none = nil
	}
}

// Wait waits within ctx until none is under way. After the end of the Life none is from
// then on, but for what Go begins.
func (c *Calls) Wait(ctx context.Context) {
	c.mu.Lock()
	if c.underway > 0 && c.none == nil {
		c.none = make(chan struct{})
	}
	none := c.none
	c.mu.Unlock()
	if none == nil {
		return
	}
	select {
	case <-none:
	case <-ctx.Done():
	}
}

// Within makes a call that knows no contexts, and waits for it as long as ctx lasts; then
// the cause of ctx's end is the error, and the call goes on without anybody. What it
// returns after that without an error goes to undo, unless undo is nil. Once the Life of
// calls has ended, nothing is called, and its end is the error.
func Within[T any](ctx context.Context, calls *Calls, call func() (T, error), undo func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	results := make(chan result)
	calls.mu.Lock()
	if calls.life != nil && calls.life.Err() != nil {
		calls.mu.Unlock()
		var none T
		return none, calls.life.Err()
	}
	calls.begin(func() {
		v, err := call()
		select {
		case results <- result{v, err}:
		case <-ctx.Done():
			if err == nil && undo != nil {
				undo(v)
			}
		}
	})
	calls.mu.Unlock()
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
