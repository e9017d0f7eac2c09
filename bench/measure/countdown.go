package measure

import (
	"context"
	"sync/atomic"
)

// A Countdown waits for a number of messages.
type Countdown struct {
	left atomic.Int64
	done chan struct{}
}

// NewCountdown waits for n messages, at least one.
func NewCountdown(n int) *Countdown {
	c := &Countdown{done: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

// Done counts a message.
func (c *Countdown) Done() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// Wait waits within ctx until all were counted.
func (c *Countdown) Wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
