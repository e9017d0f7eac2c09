package pubsubtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

func ExampleRun() {
	// In a driver's own tests this is the body of TestConformance.
	_ = func(t *testing.T) {
		pubsubtest.Run(t, pubsubtest.Harness{
			Driver: func(t testing.TB) driver.Driver {
				b, err := memory.New(memory.Config{})
				if err != nil {
					t.Fatal(err)
				}
				return b
			},
			Disconnect: func(_ testing.TB, d driver.Driver) { d.(*memory.Broker).Disconnect(nil) },
		})
	}
	fmt.Println(pubsubtest.Cases()[0].Why)
	// Output: ID, key, headers and body arrive as they were published, or consumers act on something else.
}

func ExampleHandle() {
	handler := func(_ context.Context, d *pubsub.Delivery) error {
		if len(d.Body) == 0 {
			return pubsub.Permanent(errors.New("no order"))
		}
		return nil
	}
	r := pubsubtest.Handle(context.Background(), handler, &pubsub.Delivery{})
	fmt.Println(r.Verdict, r.Err)
	// Output: permanent permanent: no order
}

func ExampleRecorder() {
	var orders pubsubtest.Recorder
	place := func(ctx context.Context, p pubsub.Publisher) error {
		return p.Publish(ctx, &pubsub.Message{Key: "ada", Body: []byte("7")})
	}
	fmt.Println(place(context.Background(), &orders))
	for _, m := range orders.Messages() {
		fmt.Printf("%s: %s\n", m.Key, m.Body)
	}
	// Output:
	// <nil>
	// ada: 7
}

func ExampleTracker() {
	ctx, stop := context.WithCancel(context.Background())
	var tracker pubsubtest.Tracker
	client, _ := pubsub.Open(ctx, "memory://tracker", pubsub.Observe(&tracker))
	orders, _ := client.Publisher(ctx, "orders")
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent())
	_ = orders.Publish(ctx, &pubsub.Message{}, &pubsub.Message{}, &pubsub.Message{})

	var billed atomic.Int32
	go func() {
		defer stop()
		_ = tracker.Wait(ctx, "orders", "billing")
	}()
	_ = client.Serve(ctx, pubsub.Handle(billing, func(context.Context, *pubsub.Delivery) error {
		billed.Add(1)
		return nil
	}))
	fmt.Println(billed.Load())
	// Output: 3
}
