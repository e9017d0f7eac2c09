package snssqs_test

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/pubsub"
)

// Credentials come from where Amazon's tools take them.
func ExampleNew() {
	d, err := snssqs.New(snssqs.Config{Region: "eu-west-1", Prefix: "staging-", Wait: 10 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := pubsub.New(context.Background(), d)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())
}

// What a topic or a group's queue is like.
func ExampleSettings() {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "snssqs://eu-west-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(ctx)
	billing, err := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.Ordered(),
		pubsub.NativeDeadLetter("orders-dead", 5),
		pubsub.Settings(snssqs.Settings{QueueName: "billing-orders.fifo", Retention: 14 * 24 * time.Hour, KMSKey: "alias/orders"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = billing.Receive(ctx, func(context.Context, *pubsub.Delivery) error { return nil })
	fmt.Println(err)
}
