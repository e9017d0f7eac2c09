package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware/breaker"
	"github.com/waybill-go/waybill/pubsub"
)

func ExampleBreaker_Middleware() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, _ := pubsub.Open(ctx, "memory://breaker")
	bank := breaker.New(breaker.Settings{
		Timeout:     20 * time.Millisecond,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 2 },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			fmt.Println(from, "->", to)
		},
	})
	orders, _ := client.Publisher(ctx, "orders")
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent(), pubsub.Concurrency(1), bank.Middleware())
	for range 3 {
		_ = orders.Publish(ctx, &pubsub.Message{})
	}

	calls, handled := 0, 0
	_ = client.Serve(ctx, pubsub.Handle(billing, func(context.Context, *pubsub.Delivery) error {
		if calls++; calls <= 2 {
			return errors.New("the bank is down")
		}
		if handled++; handled == 3 {
			stop()
		}
		return nil
	}))
	fmt.Println(calls, "calls")
	// Output:
	// closed -> open
	// open -> half-open
	// half-open -> closed
	// 5 calls
}

func ExampleNew() {
	b := breaker.New(breaker.Settings{Name: "bank"})
	fmt.Println(b.State())
	// Output: closed
}

func ExampleBreaker_State() {
	b := breaker.New(breaker.Settings{ReadyToTrip: func(gobreaker.Counts) bool { return true }})
	handler := b.Middleware()(func(context.Context, *pubsub.Delivery) error { return errors.New("the bank is down") })
	_ = handler(context.Background(), &pubsub.Delivery{})
	fmt.Println(b.State())
	// Output: open
}
