package ledger

import (
	"context"
	"crypto/rand"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
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

// Play serves the routes while play runs, and closes the client. A service serves until
// it is told to stop; an example until it has seen what it is about.
func Play(ctx context.Context, client *config.Client, routes []pubsub.Route, play func(context.Context) error) error {
	serving, stop := context.WithCancel(ctx)
	group, playing := errgroup.WithContext(ctx)
	group.Go(func() error { return client.Serve(serving, routes...) })
	group.Go(func() error {
		defer stop()
		return play(playing)
	})
	return group.Wait()
}
