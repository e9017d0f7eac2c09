package throttle_test

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware/throttle"
	"github.com/waybill-go/waybill/pubsub"
)

func ExampleNew() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, _ := pubsub.Open(ctx, "memory://throttle")
	orders, _ := client.Publisher(ctx, "orders")
	bank := rate.NewLimiter(rate.Every(10*time.Millisecond), 1) // a hundred a second
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.Concurrency(1), pubsub.DropPermanent(),
		throttle.New(throttle.Policy{Limiter: bank}))
	for range 4 {
		_ = orders.Publish(ctx, &pubsub.Message{})
	}

	began, n := time.Now(), 0
	_ = client.Serve(ctx, pubsub.Handle(billing, func(context.Context, *pubsub.Delivery) error {
		if n++; n == 4 {
			stop()
		}
		return nil
	}))
	fmt.Println(n, "payments, in 30 ms or more:", time.Since(began) >= 30*time.Millisecond)
	// Output: 4 payments, in 30 ms or more: true
}
