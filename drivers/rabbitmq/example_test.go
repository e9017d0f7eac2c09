package rabbitmq_test

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-go/waybill/drivers/rabbitmq"
	"github.com/waybill-go/waybill/pubsub"
)

func ExampleNew() {
	d, err := rabbitmq.New(rabbitmq.Config{
		Addresses: []string{"rabbit-1:5672", "rabbit-2:5672"},
		Username:  "billing", Password: "from a vault",
		Heartbeat: 5 * time.Second,
	})
	if err != nil {
		panic(err)
	}
	client, err := pubsub.New(context.Background(), d)
	if err != nil {
		panic(err)
	}
	defer client.Close(context.Background())
}

func ExampleNew_refused() {
	_, err := rabbitmq.New(rabbitmq.Config{Partitions: 100})
	fmt.Println(err)
	// Output: rabbitmq: 100 partitions: want 1 to 64
}

func ExampleExchange() {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "rabbitmq://localhost:5672")
	if err != nil {
		panic(err)
	}
	legacy := pubsub.Settings(rabbitmq.Exchange{Name: "legacy.events", RoutingKey: "orders.created"})
	orders, err := client.Publisher(ctx, "orders", legacy)
	if err != nil {
		panic(err)
	}
	_ = orders.Publish(ctx, &pubsub.Message{Body: []byte("7")})
}
