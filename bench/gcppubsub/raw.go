package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// raw is Google's client by hand.
type raw struct {
	line
	fast      bool
	client    *pubsub.Client
	publisher *pubsub.Publisher
	cancel    context.CancelFunc
	done      chan error
}

// outstanding is how many messages may be under way each way: fewer make it slower, as it
// acknowledges ten times a second, and makes requests of what waits.
const outstanding = 100_000

// connection is how Google's clients reach the fake.
func (l line) connection() []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(l.broker.address), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

func openRaw(fast bool) func(context.Context, line) (actor, error) {
	return func(ctx context.Context, l line) (actor, error) {
		if err := l.broker.make(l.topicName(), l.subscriptionName()); err != nil {
			return nil, err
		}
		client, err := pubsub.NewClient(ctx, project, l.connection()...)
		if err != nil {
			return nil, err
		}
		r := &raw{line: l, fast: fast, client: client, publisher: client.Publisher(l.topic)}
		r.publisher.EnableMessageOrdering = l.ordered
		if fast {
			r.publisher.PublishSettings.CountThreshold = 1000
			r.publisher.PublishSettings.DelayThreshold = 10 * time.Millisecond
		}
		return r, nil
	}
}

// publish publishes from one goroutine, with what is outstanding bounded by a window.
func (r *raw) publish(ctx context.Context, n int) error {
	body := make([]byte, bodySize)
	names := keyNames()
	results := make(chan *pubsub.PublishResult, outstanding)
	var failed error
	var wait sync.WaitGroup
	wait.Go(func() {
		for result := range results {
			if _, err := result.Get(ctx); err != nil {
				failed = err
			}
		}
	})
	for i := range n {
		m := &pubsub.Message{Data: body}
		if r.ordered {
			m.OrderingKey = names[i%keys]
		}
		results <- r.publisher.Publish(ctx, m)
	}
	close(results)
	wait.Wait()
	return failed
}

func keyNames() []string {
	list := make([]string, keys)
	for i := range list {
		list[i] = "key-" + strconv.Itoa(i)
	}
	return list
}

func (r *raw) consume(ctx context.Context) error {
	s := r.client.Subscriber(r.subscription)
	if r.fast {
		s.ReceiveSettings.MaxOutstandingMessages = outstanding
		s.ReceiveSettings.NumGoroutines = 4
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.done = make(chan error, 1)
	go func() {
		r.done <- s.Receive(ctx, func(_ context.Context, m *pubsub.Message) { m.Ack() })
	}()
	return nil
}

func (r *raw) close(context.Context) error {
	if r.done != nil {
		r.cancel()
		if err := <-r.done; err != nil {
			return err
		}
	}
	r.publisher.Stop()
	return r.client.Close()
}
