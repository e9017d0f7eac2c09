package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

func ExampleNew() {
	ctx := context.Background()
	broker, _ := memory.New(memory.Config{Turn: memory.LikeKafka})
	client, _ := pubsub.New(ctx, broker)
	fmt.Println(client.Capabilities().RetryDelay, client.Capabilities().Attempts)
	fmt.Println(client.Close(ctx))
	// Output:
	// 0s at most
	// <nil>
}

func ExampleBroker_Disconnect() {
	ctx := context.Background()
	broker, _ := memory.New(memory.Config{})
	client, _ := pubsub.New(ctx, broker)
	orders, _ := client.Publisher(ctx, "orders")
	broker.Disconnect(errors.New("the cable was cut"))
	fmt.Println(orders.Publish(ctx, &pubsub.Message{})) // over a new connection
	fmt.Println(client.Close(ctx))
	// Output:
	// <nil>
	// <nil>
}

func ExampleBroker_Refuse() {
	ctx := context.Background()
	broker, _ := memory.New(memory.Config{})
	broker.Refuse(driver.Errorf(driver.CodeUnauthenticated, "bad password"))
	_, err := pubsub.New(ctx, broker)
	fmt.Println(pubsub.CodeOf(err), "-", err)
	// Output: unauthenticated - open: bad password
}

func ExampleNamed() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://named")
	_, open := memory.Named("named")
	_ = client.Close(ctx)
	_, still := memory.Named("named")
	fmt.Println(open, still)
	// Output: true false
}
