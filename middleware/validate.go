package middleware

import (
	"context"
	"fmt"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Validate keeps messages that check refuses from the handler: they fail permanently, with
// check's error, since they would be refused again. An error of check that carries a verdict
// of its own, such as Drop or RetryAfter, keeps it. A nil check refuses nothing.
func Validate(check func(ctx context.Context, d *pubsub.Delivery) error) pubsub.Middleware {
	return func(next pubsub.Handler) pubsub.Handler {
		if check == nil {
			return next
		}
		return func(ctx context.Context, d *pubsub.Delivery) error {
			err := check(ctx, d)
			if err == nil {
				return next(ctx, d)
			}
			if verdict, delay := pubsub.VerdictOf(err); verdict != pubsub.VerdictRetry || delay >= 0 {
				return err
			}
			return pubsub.Permanent(fmt.Errorf("message is not valid: %w", err))
		}
	}
}

// ValidatePublish keeps messages that check refuses from the broker: publishing them fails
// with CodeInvalid, and check's error as the cause. A nil check refuses nothing.
func ValidatePublish(check func(ctx context.Context, m *pubsub.Message) error) pubsub.PublishMiddleware {
	return func(next pubsub.PublishFunc) pubsub.PublishFunc {
		if check == nil {
			return next
		}
		return func(ctx context.Context, m *pubsub.Message, done func(error)) {
			if err := check(ctx, m); err != nil {
				done(driver.Wrap(pubsub.CodeInvalid, "message is not valid", err))
				return
			}
			next(ctx, m, done)
		}
	}
}
