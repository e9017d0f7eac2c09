package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

// ErrTimeout is the cause of a handler's context when Timeout ended it.
var ErrTimeout = errors.New("handler timed out")

// Timeout ends a handler's context after d, with ErrTimeout as its cause. It waits
// for the handler to return: one that ignores its context is not cut short, for its
// message would then be handled twice at a time. If the handler returns an error
// after that, the error says that time was up. A d of zero or less is no limit.
func Timeout(d time.Duration) pubsub.Middleware {
	return func(next pubsub.Handler) pubsub.Handler {
		if d <= 0 {
			return next
		}
		return func(ctx context.Context, delivery *pubsub.Delivery) error {
			ctx, cancel := context.WithTimeoutCause(ctx, d, ErrTimeout)
			defer cancel()
			err := next(ctx, delivery)
			if err == nil || !errors.Is(context.Cause(ctx), ErrTimeout) || errors.Is(err, ErrTimeout) {
				return err
			}
			return fmt.Errorf("%w after %v: %w", ErrTimeout, d, err)
		}
	}
}
