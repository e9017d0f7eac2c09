package gcppubsub_test

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-go/waybill/drivers/gcppubsub"
	"github.com/waybill-go/waybill/pubsub"
)

// A regional endpoint keeps messages of a key in order for publishers of all regions.
func ExampleNew() {
	ctx := context.Background()
	d, err := gcppubsub.New(gcppubsub.Config{Project: "my-project", Endpoint: "europe-west1-pubsub.googleapis.com:443"})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := pubsub.New(ctx, d)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.Close(ctx))
}

func ExampleName() {
	fmt.Println(gcppubsub.Name("orders.created"), gcppubsub.Name("orders/created"), gcppubsub.Name("q1"))
	// Output: orders.created orders%2Fcreated wb~q1
}

// A subscription with a name, a filter and a retention of its own.
func ExampleSubscription() {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "gcppubsub://my-project")
	if err != nil {
		fmt.Println(err)
		return
	}
	billing, err := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent(),
		pubsub.Settings(gcppubsub.Subscription{Name: "billing-eu", Filter: `attributes.region = "eu"`, Retention: 24 * time.Hour}))
	fmt.Println(billing, err)
	fmt.Println(client.Close(ctx))
}

// A topic under a name of the platform team's.
func ExampleTopic() {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "gcppubsub://my-project")
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := client.Publisher(ctx, "orders", pubsub.Settings(gcppubsub.Topic{Name: "shop-orders-v2"}))
	fmt.Println(orders, err)
	fmt.Println(client.Close(ctx))
}
