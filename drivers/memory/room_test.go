package memory_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
)

// TestNoPublisherIsForgotten has a publisher find a full backlog again and again, just
// when the last message of it is settled: nobody else would make room for it later.
func TestNoPublisherIsForgotten(t *testing.T) {
	t.Parallel()
	broker, err := memory.New(memory.Config{BacklogMessages: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	client, err := pubsub.New(ctx, broker, pubsub.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := client.Publisher(ctx, "tasks", pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := client.Subscriber(ctx, "tasks", pubsub.Queue(), pubsub.DropPermanent())
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- client.Serve(serving, pubsub.Handle(tasks, func(context.Context, *pubsub.Delivery) error { return nil }))
	}()
	for n := range 50_000 {
		if err := topic.Publish(ctx, &pubsub.Message{}); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
