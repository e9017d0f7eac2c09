package config_test

import (
	"context"
	"fmt"
	"log"

	_ "github.com/waybill-go/waybill/drivers/memory" // registers memory://
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// file is a configuration, which a program would have beside it.
const file = `
brokers:
  main:
    url: memory://${SHOP_BROKER:-example}
topics:
  orders: {ordered: true}
  orders-dead: {kind: queue}
subscriptions:
  billing:
    topic: orders
    group: billing
    max-attempts: 5
    dead-letter: {topic: orders-dead}
`

func ExampleLoad() {
	cfg, err := config.Load("testdata/shop.yaml")
	if err != nil {
		log.Fatal(err) // every fault, with line and column
	}
	fmt.Println(cfg.Topics(), cfg.Subscriptions())
	// Output: [orders orders-dead images] [billing audit live resize]
}

func ExampleParse() {
	_, err := config.Parse("shop.yaml", []byte("brokers:\n  main:\n    ulr: memory://shop\n"))
	fmt.Println(err)
	// Output: shop.yaml:3:5: brokers.main.ulr: unknown key; did you mean "url"?
}

func ExampleConfig_Client() {
	ctx, cancel := context.WithCancel(context.Background())
	cfg, err := config.Parse("shop.yaml", []byte(file))
	if err != nil {
		log.Fatal(err)
	}
	client, err := cfg.Client(ctx)
	if err != nil {
		log.Fatal(err)
	}
	billing, err := client.Subscriber(ctx, "billing")
	if err != nil {
		log.Fatal(err)
	}
	orders, err := client.Publisher(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	if err := orders.Publish(ctx, &pubsub.Message{Key: "ada", Body: []byte("order 7")}); err != nil {
		log.Fatal(err)
	}
	err = client.Serve(ctx, pubsub.Handle(billing, func(_ context.Context, d *pubsub.Delivery) error {
		fmt.Printf("%s: %s\n", d.Key, d.Body)
		cancel()
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	// Output: ada: order 7
}

func ExampleConfig_Plan() {
	ctx := context.Background()
	cfg, err := config.Parse("shop.yaml", []byte(`
brokers: {main: {url: "memory://example?like=sqs"}}
topics: {orders: {ordered: true}}
`))
	if err != nil {
		log.Fatal(err)
	}
	plan, err := cfg.Plan(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Brokers[0].Topics[0].Action)
	fmt.Println(plan.Err())
	// Output:
	// fail
	// shop.yaml:3:19: topics.orders.ordered: needs "order by key", which memory, like SQS does not offer; leave it out, or choose another broker
}

func ExampleConfig_Apply() {
	ctx := context.Background()
	cfg, err := config.Parse("shop.yaml", []byte(file))
	if err != nil {
		log.Fatal(err)
	}
	plan, err := cfg.Apply(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range plan.Brokers[0].Subscriptions {
		fmt.Println(s.Action, s.Name)
	}
	// Output: declare billing
}
