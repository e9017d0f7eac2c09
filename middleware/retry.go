package middleware

import (
	"context"
	"maps"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

// RetryPolicy is how Retry tries again. Its zero value is useful.
type RetryPolicy struct {
	// Attempts is how often the handler is called at most, the first time included;
	// default 3, less than 1 is the default.
	Attempts int
	// Backoff is how long it waits in between; zero fields are Backoff's defaults.
	Backoff pubsub.Backoff
}

// Retry calls a handler again, in place, while the message's lease is kept. It is
// for failures that pass in seconds, such as a deadlock or a dropped connection:
// the message keeps its place, and its handler's worker is busy meanwhile. What
// lasts longer is better left to the subscription, which frees the worker.
//
// It tries again on plain errors alone: Permanent, Drop and RetryAfter pass at once.
// It stops when the context ends, or the subscription begins to drain, and returns
// the last error. Delivery.Attempt counts deliveries, not calls in place.
func Retry(policy RetryPolicy) pubsub.Middleware {
	if policy.Attempts < 1 {
		policy.Attempts = 3
	}
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			headers := maps.Clone(d.Headers)
			for try := 1; ; try++ {
				err := next(ctx, d)
				verdict, after := pubsub.VerdictOf(err)
				if verdict != pubsub.VerdictRetry || after >= 0 || try >= policy.Attempts || !pause(ctx, policy.Backoff.Delay(try)) {
					return err
				}
				// What the failed try added is not part of the message.
				d.Headers = maps.Clone(headers)
			}
		}
	}
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
