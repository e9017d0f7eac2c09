package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
)

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, err := pubsub.Open(ctx, "memory://example")
	if err != nil {
		fmt.Println(err)
		return
	}
	billing, err := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent())
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := client.Publisher(ctx, "orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := orders.Publish(ctx, &pubsub.Message{Key: "ada", Body: []byte("order 7")}); err != nil {
		fmt.Println(err)
		return
	}
	err = client.Serve(ctx, pubsub.Handle(billing, func(_ context.Context, d *pubsub.Delivery) error {
		defer stop()
		fmt.Printf("%s: %s\n", d.Key, d.Body)
		return nil
	}))
	fmt.Println(err)
	// Output:
	// ada: order 7
	// <nil>
}

func ExampleOpen() {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "memory://example-open?lease=10s")
	fmt.Println(err)
	defer func() { _ = client.Close(ctx) }()

	_, err = pubsub.Open(ctx, "memory://example-open?laese=10s")
	fmt.Println(err)
	// Output:
	// <nil>
	// open: memory URL: unknown parameter "laese"; did you mean "lease"?
}

func ExampleNew() {
	ctx := context.Background()
	broker, _ := memory.New(memory.Config{Turn: memory.LikeSQS})
	client, _ := pubsub.New(ctx, broker)
	defer func() { _ = client.Close(ctx) }()
	_, err := client.Publisher(ctx, "orders", pubsub.Ordered())
	fmt.Println(pubsub.CodeOf(err))
	fmt.Println(err)
	// Output:
	// unsupported
	// open publisher orders: memory, like SQS cannot keep the order of a key; leave Ordered out, or choose another broker
}

func ExampleClient_Publisher() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://example-publisher")
	defer func() { _ = client.Close(ctx) }()
	tenant := func(next pubsub.PublishFunc) pubsub.PublishFunc {
		return func(ctx context.Context, m *pubsub.Message, done func(error)) {
			m.SetHeader("tenant", "a")
			next(ctx, m, done)
		}
	}
	orders, err := client.Publisher(ctx, "orders", pubsub.Ordered(), pubsub.PublishMiddleware(tenant))
	fmt.Println(orders.Name(), err)
	// Output: orders <nil>
}

func ExampleClient_Subscriber() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://example-subscriber")
	defer func() { _ = client.Close(ctx) }()
	_, err := client.Subscriber(ctx, "orders", pubsub.Group("billing"))
	fmt.Println(err)
	s, err := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.NativeDeadLetter("orders-dead", 5))
	fmt.Println(s, err)
	// Output:
	// open subscriber orders/billing: say what becomes of messages that fail permanently: middleware.DeadLetter, NativeDeadLetter or DropPermanent
	// subscription orders/billing <nil>
}

func ExampleBroadcast() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://example-broadcast")
	defer func() { _ = client.Close(ctx) }()
	_, err := client.Subscriber(ctx, "reload", pubsub.DropPermanent())
	fmt.Println(err)
	s, err := client.Subscriber(ctx, "reload", pubsub.Broadcast(), pubsub.DropPermanent())
	fmt.Println(s, err)
	// Output:
	// open subscriber reload: say who reads: a Group, whose members share the messages and miss none, or Broadcast, for a copy of everything that is published while it receives
	// subscription reload (broadcast) <nil>
}

func ExampleTopic_Publish() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://example-publish")
	defer func() { _ = client.Close(ctx) }()
	orders, _ := client.Publisher(ctx, "orders")
	err := orders.Publish(ctx, &pubsub.Message{Body: []byte("1")}, &pubsub.Message{Headers: map[string]string{"": "x"}})
	var failed *pubsub.PublishError
	if errors.As(err, &failed) {
		for _, f := range failed.Failed {
			fmt.Println(f.Index, pubsub.CodeOf(f.Err), f.Err)
		}
	}
	// Output: 1 invalid header name is empty
}

func ExampleTopic_PublishAsync() {
	ctx := context.Background()
	client, _ := pubsub.Open(ctx, "memory://example-async")
	orders, _ := client.Publisher(ctx, "orders")
	outcomes := make(chan error, 3)
	for range 3 {
		orders.PublishAsync(ctx, &pubsub.Message{}, func(err error) { outcomes <- err })
	}
	fmt.Println(client.Close(ctx)) // waits for the outcomes
	fmt.Println(len(outcomes))
	// Output:
	// <nil>
	// 3
}

func ExampleSubscription_Receive() {
	ctx, stop := context.WithCancel(context.Background())
	client, _ := pubsub.Open(ctx, "memory://example-receive")
	tasks, _ := client.Publisher(ctx, "tasks", pubsub.Queue())
	worker, _ := client.Subscriber(ctx, "tasks", pubsub.Queue(), pubsub.DropPermanent(), pubsub.Concurrency(1))
	_ = tasks.Publish(ctx, &pubsub.Message{Body: []byte("1.png")}, &pubsub.Message{Body: []byte("2.png")})

	err := worker.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
		if string(d.Body) == "1.png" && d.Attempt == 1 {
			return pubsub.RetryAfter(10*time.Millisecond, errors.New("disk is full"))
		}
		fmt.Printf("%s at attempt %d\n", d.Body, d.Attempt)
		if string(d.Body) == "1.png" {
			stop()
		}
		return nil
	})
	fmt.Println(err, client.Close(context.Background()))
	// Output:
	// 2.png at attempt 1
	// 1.png at attempt 2
	// <nil> <nil>
}

func ExampleSubscription_ReceiveBatch() {
	ctx, stop := context.WithCancel(context.Background())
	client, _ := pubsub.Open(ctx, "memory://example-batch")
	rows, _ := client.Publisher(ctx, "rows")
	warehouse, _ := client.Subscriber(ctx, "rows", pubsub.Group("warehouse"), pubsub.DropPermanent())
	for range 4 {
		_ = rows.Publish(ctx, &pubsub.Message{Body: []byte("row")})
	}
	err := warehouse.ReceiveBatch(ctx, pubsub.BatchPolicy{Messages: 4, Wait: time.Second},
		func(_ context.Context, batch []*pubsub.Delivery) []error {
			defer stop()
			fmt.Println(len(batch), "rows in one insert")
			return nil // all are done
		})
	fmt.Println(err, client.Close(context.Background()))
	// Output:
	// 4 rows in one insert
	// <nil> <nil>
}

func ExampleServe() {
	ctx, stop := context.WithCancel(context.Background())
	client, _ := pubsub.Open(ctx, "memory://example-serve")
	orders, _ := client.Publisher(ctx, "orders")
	seen := make(chan string, 2)
	var routes []pubsub.Route
	for _, service := range []string{"email", "billing"} {
		s, _ := client.Subscriber(ctx, "orders", pubsub.Group(service), pubsub.DropPermanent())
		routes = append(routes, pubsub.Handle(s, func(_ context.Context, d *pubsub.Delivery) error {
			seen <- d.Group
			return nil
		}))
	}
	_ = orders.Publish(ctx, &pubsub.Message{})
	go func() {
		defer stop()
		for range 2 {
			<-seen
		}
	}()
	fmt.Println(pubsub.Serve(ctx, routes...))
	fmt.Println(client.Close(context.Background()))
	// Output:
	// <nil>
	// <nil>
}

func ExampleClient_Serve() {
	ctx, stop := context.WithCancel(context.Background())
	client, _ := pubsub.Open(ctx, "memory://example-client-serve")
	s, _ := client.Subscriber(ctx, "orders", pubsub.Group("email"), pubsub.DropPermanent())
	stop() // a real service stops on a signal: signal.NotifyContext
	fmt.Println(client.Serve(ctx, pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error { return nil })))
	_, err := client.Publisher(context.Background(), "orders")
	fmt.Println(err)
	// Output:
	// <nil>
	// open publisher orders: the client is closed: open another with Open or New, or close it later
}

type order struct {
	Customer string
	Cents    int
}

func ExampleTyped() {
	ctx, stop := context.WithCancel(context.Background())
	client, _ := pubsub.Open(ctx, "memory://example-typed")
	topic, _ := client.Publisher(ctx, "orders")
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent())
	orders := pubsub.TypedPublisher[order]{
		Publisher: topic, Codec: codec.JSON[order](),
		Key: func(o order) string { return o.Customer },
	}
	_ = orders.Publish(ctx, order{"ada", 995})
	_ = client.Serve(ctx, pubsub.Handle(billing, pubsub.Typed(codec.JSON[order](), func(_ context.Context, o order, d *pubsub.Delivery) error {
		defer stop()
		fmt.Println(o.Customer, o.Cents, d.Key, d.Headers[pubsub.HeaderContentType])
		return nil
	})))
	// Output: ada 995 ada application/json
}

func ExampleTypedPublisher() {
	orders := pubsub.TypedPublisher[func()]{Publisher: nil, Codec: codec.JSON[func()]()}
	fmt.Println(orders.Publish(context.Background(), nil))
	// Output: publish value 0: typed publisher needs a Publisher and a Codec
}

func ExamplePostpone() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, _ := pubsub.Open(ctx, "memory://example-postpone")
	orders, _ := client.Publisher(ctx, "orders")
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.MaxAttempts(1), pubsub.DropPermanent())
	_ = orders.Publish(ctx, &pubsub.Message{Body: []byte("order 7")})

	closed := 2 // the bank, for so many looks
	_ = client.Serve(ctx, pubsub.Handle(billing, func(_ context.Context, d *pubsub.Delivery) error {
		if closed > 0 {
			closed--
			return pubsub.Postpone(time.Millisecond, errors.New("the bank is closed"))
		}
		defer stop()
		fmt.Printf("%s, attempt %d\n", d.Body, d.Attempt)
		return nil
	}))
	// Output: order 7, attempt 1
}
