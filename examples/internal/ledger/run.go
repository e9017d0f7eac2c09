package ledger

import (
	"context"
	"crypto/rand"

	"github.com/waybill-go/waybill/pubsub"
)

const runHeader = "example-run"

// ThisRun makes a client's handlers see what this run of a program published, and nothing
// that an earlier one left behind on the broker: that is settled unseen.
func ThisRun() []pubsub.ClientOption {
	run := rand.Text()
	mark := pubsub.PublishMiddleware(func(next pubsub.PublishFunc) pubsub.PublishFunc {
		return func(ctx context.Context, m *pubsub.Message, done func(error)) {
			m.SetHeader(runHeader, run)
			next(ctx, m, done)
		}
	})
	keep := pubsub.Middleware(func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			if d.Headers[runHeader] != run {
				return nil
			}
			return next(ctx, d)
		}
	})
	return []pubsub.ClientOption{pubsub.PublisherDefaults(mark), pubsub.SubscriberDefaults(keep)}
}
