package gocloud_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

const patience = time.Minute

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client opens a client that is closed at the end.
func client(t testing.TB, address string) *pubsub.Client {
	t.Helper()
	c, err := pubsub.Open(t.Context(), address, pubsub.Logger(slog.New(slog.DiscardHandler)))
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

// receive runs a Receive to the test's end, and shows what it was given.
func receive(t testing.TB, s *pubsub.Subscription, verdict pubsub.Handler) <-chan *pubsub.Delivery {
	t.Helper()
	seen := make(chan *pubsub.Delivery, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		err := s.Receive(ctx, func(ctx context.Context, d *pubsub.Delivery) error {
			seen <- d
			return verdict(ctx, d)
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
