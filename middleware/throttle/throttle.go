// Package throttle keeps handlers to a rate, such as that of a service they call, with
// the limiters of golang.org/x/time/rate.
package throttle

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/waybill-go/waybill/pubsub"
)

// Policy is how handlers are kept to a rate. Its zero value keeps them to none.
type Policy struct {
	// Limiter gives a token to each message, before its handler is called. Several
	// subscriptions may share one, and it may be changed while they run; the limit holds
	// in this process. Nil: no limit.
	Limiter *rate.Limiter
	// Choose picks the limiter of a message, such as that of its tenant; nil, and where it
	// returns nil: Limiter.
	Choose func(*pubsub.Delivery) *rate.Limiter
	// Wait is how long a message waits in place for its token, which keeps a worker; default
	// a second, negative: not at all. A message that would wait for longer is postponed.
	Wait time.Duration
}

// longestLook is how long a message is postponed at most: the limiter may be changed.
const longestLook = time.Minute

// errThrottled is why a message is postponed.
var errThrottled = errors.New("the rate is used up")

// New makes a middleware that calls the handler at a rate. What must wait is in flight
// meanwhile, so that a subscription which gets more than its rate pauses its intake; no
// attempt is counted. A limiter that lets nothing pass is asked again each minute. List it
// outside of middleware.Timeout, whose time the waiting would use up, and inside of
// middleware.DeadLetter.
func New(policy Policy) pubsub.Middleware {
	if policy.Wait == 0 {
		policy.Wait = time.Second
	}
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			if limiter := policy.limiter(d); limiter != nil {
				if err := policy.pass(ctx, limiter); err != nil {
					return err
				}
			}
			return next(ctx, d)
		}
	}
}

func (p *Policy) limiter(d *pubsub.Delivery) *rate.Limiter {
	if p.Choose != nil {
		if limiter := p.Choose(d); limiter != nil {
			return limiter
		}
	}
	return p.Limiter
}

// pass takes a token, or says when to come again.
func (p *Policy) pass(ctx context.Context, limiter *rate.Limiter) error {
	token := limiter.Reserve()
	delay := token.Delay()
	switch {
	case !token.OK(): // its burst is zero
		return pubsub.Postpone(longestLook, errThrottled)
	case delay == 0:
		return nil
	case delay <= p.Wait && pause(ctx, delay):
		return nil
	}
	token.Cancel()
	return pubsub.Postpone(min(delay, longestLook), errThrottled)
}

// pause waits; false if there is no time left.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-pubsub.Draining(ctx):
		return false
	}
}
