package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	_ "github.com/waybill-go/waybill/drivers/memory" // registers memory://
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/deadletter"
)

// An operator looks at what failed, and brings it back when the fault is mended.
func Example() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://deadletter", pubsub.Logger(slog.New(slog.DiscardHandler)))
	defer func() { _ = client.Close(ctx) }()
	orders, _ := client.Publisher(ctx, "orders")
	dead, _ := client.Publisher(ctx, "dead", pubsub.Queue())
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), middleware.DeadLetter(dead, middleware.DeadLetterPolicy{}))
	_ = orders.Publish(ctx, &pubsub.Message{Key: "ada", Body: []byte("one")})

	serving, stop := context.WithCancel(ctx)
	_ = billing.Receive(serving, func(context.Context, *pubsub.Delivery) error {
		stop()
		return pubsub.Permanent(errors.New("no account"))
	})

	quick := pubsub.BrowsePolicy{Quiet: 10 * time.Millisecond}
	_ = deadletter.List(ctx, client, "dead", deadletter.Filter{}, quick, func(l deadletter.Letter) bool {
		fmt.Printf("%s failed in %s/%s: %s\n", l.Body, l.Source, l.Group, l.Reason)
		return true
	})
	report, err := deadletter.Redrive(ctx, client, "dead", deadletter.Policy{
		Filter:    deadletter.Filter{Reason: "no account"},
		Publisher: func(context.Context, string, string) (pubsub.Publisher, error) { return orders, nil },
		Quiet:     10 * time.Millisecond,
	})
	fmt.Println(report.Redriven, "redriven", err)

	serving, stop = context.WithCancel(ctx)
	_ = billing.Receive(serving, func(_ context.Context, d *pubsub.Delivery) error {
		fmt.Printf("%s, attempt %d\n", d.Body, d.Attempt)
		stop()
		return nil
	})
	// Output:
	// one failed in orders/billing: no account
	// 1 redriven <nil>
	// one, attempt 1
}
