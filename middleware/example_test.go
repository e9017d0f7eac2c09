package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
)

// receive runs one message through a subscription with the given options, until
// handler has been called n times.
func receive(n int, handler pubsub.Handler, options ...pubsub.SubscriberOption) {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "memory://example")
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, _ := client.Publisher(ctx, "orders")
	billing, err := client.Subscriber(ctx, "orders", append(options, pubsub.Group("billing"))...)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = orders.Publish(ctx, &pubsub.Message{ID: "order-7", Body: []byte("7")})

	serving, stop := context.WithCancel(ctx)
	calls := 0
	err = client.Serve(serving, pubsub.Handle(billing, func(ctx context.Context, d *pubsub.Delivery) error {
		if calls++; calls == n {
			defer stop()
		}
		return handler(ctx, d)
	}))
	if err != nil {
		fmt.Println(err)
	}
}

func ExampleRecover() {
	see := func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			err := next(ctx, d)
			fmt.Println("seen outside:", err)
			return pubsub.Drop(err)
		}
	}
	receive(1, func(context.Context, *pubsub.Delivery) error {
		panic("no such customer")
	}, pubsub.Use(see, middleware.Recover()), pubsub.DropPermanent())
	// Output: seen outside: panic: no such customer
}

func ExampleLogging() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == "time" || a.Key == "took" {
				return slog.Attr{} // differs from run to run
			}
			return a
		},
	}))
	receive(1, func(context.Context, *pubsub.Delivery) error {
		return nil
	}, middleware.Logging(logger), pubsub.DropPermanent())
	// Output: level=DEBUG msg="message handled" topic=orders group=billing id=order-7 attempt=1 verdict=done
}

func ExampleTimeout() {
	receive(1, func(ctx context.Context, _ *pubsub.Delivery) error {
		<-ctx.Done()
		fmt.Println(context.Cause(ctx))
		return nil
	}, middleware.Timeout(10*time.Millisecond), pubsub.DropPermanent())
	// Output: handler timed out
}

func ExampleRetry() {
	calls := 0
	receive(3, func(_ context.Context, d *pubsub.Delivery) error {
		if calls++; calls < 3 {
			return errors.New("database is busy")
		}
		fmt.Printf("call %d of attempt %d: done\n", calls, d.Attempt)
		return nil
	}, middleware.Retry(middleware.RetryPolicy{Backoff: pubsub.Backoff{Min: time.Millisecond}}), pubsub.DropPermanent())
	// Output: call 3 of attempt 1: done
}

func ExampleDeadLetter() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://dead-letters")
	dead, _ := client.Publisher(ctx, "orders-dead", pubsub.Queue())

	receive(1, func(context.Context, *pubsub.Delivery) error {
		return pubsub.Permanent(errors.New("no such customer"))
	}, middleware.DeadLetter(dead, middleware.DeadLetterPolicy{MaxAttempts: 5}))

	letters, _ := client.Subscriber(ctx, "orders-dead", pubsub.Queue(), pubsub.DropPermanent())
	reading, stop := context.WithCancel(ctx)
	_ = client.Serve(reading, pubsub.Handle(letters, func(_ context.Context, d *pubsub.Delivery) error {
		defer stop()
		fmt.Println(d.ID, "from", d.Headers[middleware.HeaderTopic], "because", d.Headers[middleware.HeaderReason])
		return nil
	}))
	// Output: order-7 from orders because no such customer
}

func ExampleValidate() {
	receive(1, func(context.Context, *pubsub.Delivery) error {
		fmt.Println("handled, for it has an ID")
		return nil
	}, middleware.Validate(func(_ context.Context, d *pubsub.Delivery) error {
		if d.ID == "" {
			return errors.New("an order needs an ID")
		}
		return nil
	}), pubsub.DropPermanent())
	// Output: handled, for it has an ID
}

func ExampleValidatePublish() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://validate-publish")
	defer func() { _ = client.Close(ctx) }()
	orders, _ := client.Publisher(ctx, "orders", middleware.ValidatePublish(func(_ context.Context, m *pubsub.Message) error {
		if m.Key == "" {
			return errors.New("an order needs a customer as its key")
		}
		return nil
	}))
	fmt.Println(orders.Publish(ctx, &pubsub.Message{}))
	// Output: publish orders: message is not valid: an order needs a customer as its key
}

func ExampleCorrelationID() {
	receive(1, func(ctx context.Context, _ *pubsub.Delivery) error {
		fmt.Println(middleware.CorrelationIDOf(ctx))
		return nil
	}, middleware.CorrelationID(), pubsub.DropPermanent())
	// Output: order-7
}

func ExamplePublishCorrelationID() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://publish-correlation")
	orders, _ := client.Publisher(ctx, "orders", middleware.PublishCorrelationID())
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent())
	_ = orders.Publish(middleware.WithCorrelationID(ctx, "request-1"), &pubsub.Message{})

	serving, stop := context.WithCancel(ctx)
	_ = client.Serve(serving, pubsub.Handle(billing, func(_ context.Context, d *pubsub.Delivery) error {
		defer stop()
		fmt.Println(d.Headers[middleware.HeaderCorrelationID])
		return nil
	}))
	// Output: request-1
}

func ExampleWithCorrelationID() {
	fmt.Println(middleware.CorrelationIDOf(middleware.WithCorrelationID(context.Background(), "request-1")))
	// Output: request-1
}

func ExampleCorrelationIDOf() {
	fmt.Printf("%q\n", middleware.CorrelationIDOf(context.Background()))
	// Output: ""
}

func ExampleDeduplicate() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, _ := pubsub.Open(ctx, "memory://deduplicate")
	orders, _ := client.Publisher(ctx, "orders")
	store := middleware.NewDeduplicationStore(0)
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent(), pubsub.Concurrency(1),
		middleware.Deduplicate(store, middleware.DeduplicatePolicy{}))
	for _, id := range []string{"order-7", "order-7", "order-8"} {
		_ = orders.Publish(ctx, &pubsub.Message{ID: id})
	}
	_ = client.Serve(ctx, pubsub.Handle(billing, func(_ context.Context, d *pubsub.Delivery) error {
		fmt.Println(d.ID)
		if d.ID == "order-8" {
			stop()
		}
		return nil
	}))
	// Output:
	// order-7
	// order-8
}

func ExampleNewDeduplicationStore() {
	ctx := context.Background()
	store := middleware.NewDeduplicationStore(1000)
	first, _ := store.Claim(ctx, "order-7", "a worker", time.Minute)
	second, _ := store.Claim(ctx, "order-7", "another", time.Minute)
	_ = store.Mark(ctx, "order-7", time.Hour)
	third, _ := store.Claim(ctx, "order-7", "another", time.Minute)
	fmt.Println(first, second, third)
	// Output: taken busy handled
}
