package rabbitmq_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/brokers"
)

const patience = time.Minute

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dial opens a channel of the raw client.
func dial(t testing.TB, b *brokers.Broker) *amqp.Channel {
	t.Helper()
	c, err := amqp.Dial("amqp" + b.URL[len("rabbitmq"):])
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	ch, err := c.Channel()
	must(t, err)
	return ch
}

// receive runs a Receive to the test's end, and shows what it was given.
func receive(t testing.TB, s *pubsub.Subscription, verdict pubsub.Handler) <-chan *pubsub.Delivery {
	t.Helper()
	seen := make(chan *pubsub.Delivery, 20_000)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		err := s.Receive(ctx, func(ctx context.Context, d *pubsub.Delivery) error {
			seen <- d
			if verdict != nil {
				return verdict(ctx, d)
			}
			return nil
		})
		if err != nil {
			t.Errorf("receive: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return seen
}

func next[T any](t testing.TB, seen <-chan T) T {
	t.Helper()
	select {
	case d := <-seen:
		return d
	case <-time.After(patience):
		t.Fatalf("nothing within %v", patience)
		panic("unreachable")
	}
}

func none[T any](t testing.TB, seen <-chan T, d time.Duration) {
	t.Helper()
	select {
	case v := <-seen:
		t.Errorf("unexpected: %v", v)
	case <-time.After(d):
	}
}

func publishMany(t testing.TB, p *pubsub.Topic, n int) {
	t.Helper()
	outcomes := make(chan error, n)
	for i := range n {
		p.PublishAsync(t.Context(), &pubsub.Message{Body: fmt.Append(nil, i)}, func(err error) { outcomes <- err })
	}
	for range n {
		must(t, next(t, outcomes))
	}
}

// client opens a client that is closed at the end.
func client(t testing.TB, b *brokers.Broker, parameters string) *pubsub.Client {
	t.Helper()
	c, err := pubsub.New(t.Context(), from(t, b.URL, parameters), pubsub.Logger(slog.New(slog.DiscardHandler)))
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	return c
}

func done(context.Context, *pubsub.Delivery) error { return nil }
