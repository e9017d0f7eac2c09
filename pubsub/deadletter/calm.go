package deadletter

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

// calm tells when no more letters come.
type calm struct {
	quiet   time.Duration
	backlog bool // the broker tells one

	mu    sync.Mutex
	busy  bool // the handler runs
	since time.Time
}

const (
	defaultQuiet = 5 * time.Second
	// patience is how long letters are waited for that the broker has and does not give:
	// those of a reader that was killed come when their leases or its session end.
	patience = time.Minute
)

func newCalm(quiet time.Duration, caps *pubsub.Capabilities) *calm {
	c := &calm{quiet: quiet, backlog: caps.Backlog, since: time.Now()}
	if quiet == 0 {
		if c.quiet = defaultQuiet; !caps.Backlog {
			c.quiet += caps.Lease
		}
	}
	return c
}

// disturb begins a handler's run.
func (c *calm) disturb() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
}

// settle ends it.
func (c *calm) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.since = false, time.Now()
}

// lasts is for how long it is calm already.
func (c *calm) lasts() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy {
		return 0
	}
	return time.Since(c.since)
}

// await returns when it was calm for long enough, or ctx ends, with what is in flight then.
func (c *calm) await(ctx context.Context, subscription *pubsub.Subscription) pubsub.Flights {
	left := c.quiet
	for {
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return subscription.Flights()
		}
		lasts := c.lasts()
		switch {
		case lasts < c.quiet:
			left = c.quiet - lasts
		case lasts < patience && c.more(ctx, subscription):
			left = c.quiet
		case c.lasts() >= c.quiet: // still, after the broker was asked
			return subscription.Flights()
		}
	}
}

// more says whether the broker has letters that are not here.
func (c *calm) more(ctx context.Context, subscription *pubsub.Subscription) bool {
	if !c.backlog {
		return false
	}
	b, err := subscription.Backlog(ctx)
	return err == nil && b.Ready+max(b.Unsettled, 0) > int64(subscription.Flights().Messages)
}
