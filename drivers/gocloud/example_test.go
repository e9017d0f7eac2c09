package gocloud_test

import (
	"context"
	"crypto/rand"
	"fmt"

	cloud "gocloud.dev/pubsub"
	_ "gocloud.dev/pubsub/mempubsub" // registers mem://, as azuresb would azuresb://

	"github.com/waybill-go/waybill/drivers/gocloud"
	_ "github.com/waybill-go/waybill/drivers/memory" // registers memory://
	"github.com/waybill-go/waybill/pubsub"
)

// A broker that Waybill has no driver for, by gocloud.dev's URLs.
func Example() {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "gocloud://?topic=mem://{topic}&group=mem://{topic}",
		pubsub.PublisherDefaults(pubsub.Topology(pubsub.Assume)),
		pubsub.SubscriberDefaults(pubsub.Topology(pubsub.Assume), pubsub.DropPermanent()))
	if err != nil {
		fmt.Println(err)
		return
	}
	topic := "orders-" + rand.Text() // mem:// opens none again that was shut down
	orders, _ := client.Publisher(ctx, topic)
	billing, _ := client.Subscriber(ctx, topic, pubsub.Group("billing"))
	fmt.Println(orders.Publish(ctx, &pubsub.Message{Key: "ada", Body: []byte("order 7")}))
	ctx, stop := context.WithCancel(ctx)
	err = client.Serve(ctx, pubsub.Handle(billing, func(_ context.Context, d *pubsub.Delivery) error {
		fmt.Printf("%s: %s, attempt %d\n", d.Key, d.Body, d.Attempt)
		stop()
		return nil
	}))
	fmt.Println(err)
	// Output:
	// <nil>
	// ada: order 7, attempt 1
	// <nil>
}

// A program that is written for gocloud.dev, on Waybill: its URLs change, and no more.
func ExampleURLOpener() {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "memory://example")
	if err != nil {
		fmt.Println(err)
		return
	}
	opener := &gocloud.URLOpener{Client: client}
	mux := new(cloud.URLMux) // or cloud.DefaultURLMux()
	mux.RegisterTopic(gocloud.Scheme, opener)
	mux.RegisterSubscription(gocloud.Scheme, opener)

	topic, _ := mux.OpenTopic(ctx, "waybill://orders")
	subscription, err := mux.OpenSubscription(ctx, "waybill://orders?group=billing")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(topic.Send(ctx, &cloud.Message{Body: []byte("order 7"), Metadata: map[string]string{"tenant": "a"}}))
	m, _ := subscription.Receive(ctx)
	fmt.Println(string(m.Body), m.Metadata["tenant"])
	m.Ack()
	fmt.Println(subscription.Shutdown(ctx), topic.Shutdown(ctx), client.Close(ctx))
	// Output:
	// <nil>
	// order 7 a
	// <nil> <nil> <nil>
}
