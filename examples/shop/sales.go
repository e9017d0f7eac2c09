package main

import (
	"context"
	"time"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// Order is an event, order_created: every service that cares gets each one.
type Order struct {
	Number   int
	Customer string
	Cents    int
}

// Image is a task, to scale the picture of what was ordered: one worker takes each.
type Image struct {
	Order int
}

var customers = []string{"ada", "bob", "cleo", "dora", "emil"}

// sell places the orders, and asks for their pictures.
func sell(ctx context.Context, client *config.Client, orders int) error {
	topic, err := client.Publisher(ctx, "orders")
	if err != nil {
		return err
	}
	created := pubsub.TypedPublisher[Order]{
		Publisher: topic, Codec: codec.JSON[Order](),
		Key: func(o Order) string { return o.Customer }, // whose orders keep their order
	}
	queue, err := client.Publisher(ctx, "images")
	if err != nil {
		return err
	}
	tasks := pubsub.TypedPublisher[Image]{Publisher: queue, Codec: codec.JSON[Image]()}
	next := time.NewTicker(2 * time.Millisecond)
	defer next.Stop()
	for i := range orders {
		select {
		case <-next.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		o := Order{Number: i + 1, Customer: customers[i%len(customers)], Cents: 100 + 7*i}
		if err := created.Publish(ctx, o); err != nil {
			return err
		}
		if err := tasks.Publish(ctx, Image{Order: o.Number}); err != nil {
			return err
		}
	}
	return nil
}
