// Package shop is the quickstart's program: a shop whose orders go to email,
// inventory, billing and analytics, and whose images are scaled by three workers.
package shop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
)

// Order is an event: every service that cares gets each one.
type Order struct {
	Number   int
	Customer string
}

// Image is a task: one worker takes each.
type Image struct {
	Name string
}

// The topics, said once for publishers and subscribers. A customer's orders are
// handled in the order in which they were placed.
var (
	orderTopic = pubsub.TopicOptions(pubsub.Ordered())
	imageTopic = pubsub.TopicOptions(pubsub.Queue())
)

const images = 6

// Run plays the shop on the broker that a URL names, tells w about it, and returns
// an error unless everybody got what they should.
func Run(ctx context.Context, w io.Writer, broker string, orders int) error {
	if orders < 1 {
		return fmt.Errorf("%d orders: want 1 or more", orders)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	client, err := pubsub.Open(ctx, broker)
	if err != nil {
		return err
	}
	book := ledger.New(w)
	routes, err := services(ctx, client, book, orders)
	if err != nil {
		return errors.Join(err, client.Close(ctx))
	}
	serving, stop := context.WithCancel(ctx)
	sold := make(chan error, 1)
	go func() {
		defer stop()
		err := sell(ctx, client, orders)
		if err == nil {
			err = book.Wait(ctx)
		}
		sold <- err
	}()
	// Serve returns when serving ends and everything that was begun is finished.
	return errors.Join(client.Serve(serving, routes...), <-sold, book.Report())
}

// services opens every subscription before anything is published, so that each
// service gets it all.
func services(ctx context.Context, client *pubsub.Client, book *ledger.Book, orders int) ([]pubsub.Route, error) {
	dead, err := client.Publisher(ctx, "images-dead", pubsub.Queue())
	if err != nil {
		return nil, err
	}
	var routes []pubsub.Route
	serve := func(topic string, handler pubsub.Handler, options ...pubsub.SubscriberOption) {
		s, openErr := client.Subscriber(ctx, topic, options...)
		err = errors.Join(err, openErr)
		routes = append(routes, pubsub.Handle(s, handler))
	}
	for _, service := range []string{"email", "inventory", "billing", "billing", "analytics"} {
		member := book.Member(service, orders)
		serve("orders", pubsub.Typed(codec.JSON[Order](), func(_ context.Context, o Order, _ *pubsub.Delivery) error {
			member.TookInTurn(o.Customer, o.Number)
			return nil
		}), orderTopic, pubsub.Group(service), pubsub.DropPermanent())
	}
	for range 3 {
		w := worker{book.Member("images", images-1)}
		serve("images", pubsub.Typed(codec.JSON[Image](), w.scale), imageTopic,
			middleware.DeadLetter(dead, middleware.DeadLetterPolicy{MaxAttempts: 5}),
			pubsub.RetryBackoff(pubsub.Backoff{Min: 50 * time.Millisecond}))
	}
	serve("images-dead", undertaker{book.Member("images-dead", 1)}.bury, pubsub.Queue(), pubsub.DropPermanent())
	return routes, err
}

// sell places orders, and asks for images to be scaled.
func sell(ctx context.Context, client *pubsub.Client, orders int) error {
	topic, err := client.Publisher(ctx, "orders", orderTopic)
	if err != nil {
		return err
	}
	placed := pubsub.TypedPublisher[Order]{
		Publisher: topic, Codec: codec.JSON[Order](),
		Key: func(o Order) string { return o.Customer },
	}
	customers := []string{"ada", "bob", "cleo"}
	// Customers come a few at a time, and the whole day takes about a second.
	crowd := orders/500 + 1
	next := time.NewTicker(2 * time.Millisecond)
	defer next.Stop()
	for n := range orders {
		if n%crowd == 0 {
			<-next.C
		}
		if err := placed.Publish(ctx, Order{Number: n + 1, Customer: customers[n%len(customers)]}); err != nil {
			return err
		}
	}
	queue, err := client.Publisher(ctx, "images", imageTopic)
	if err != nil {
		return err
	}
	tasks := pubsub.TypedPublisher[Image]{Publisher: queue, Codec: codec.JSON[Image]()}
	for n := range images {
		if err := tasks.Publish(ctx, Image{Name: imageName(n)}); err != nil {
			return err
		}
	}
	return nil
}

// The second image needs three attempts, and the last cannot be read at all.
const (
	shakyImage  = "2.png"
	brokenImage = "broken.png"
)

func imageName(n int) string {
	if n == images-1 {
		return brokenImage
	}
	return fmt.Sprintf("%d.png", n+1)
}

// worker scales images.
type worker struct{ *ledger.Member }

// scale is the worker's handler: its error says what becomes of the task.
func (w worker) scale(_ context.Context, image Image, d *pubsub.Delivery) error {
	switch {
	case image.Name == brokenImage:
		w.Say("%s cannot be read: to the dead letter", image.Name)
		return pubsub.Permanent(errors.New("not an image"))
	case image.Name == shakyImage && d.Attempt < 3:
		w.Say("%s failed at attempt %d: again soon", image.Name, d.Attempt)
		return errors.New("disk is full")
	case image.Name == shakyImage:
		w.Say("%s is scaled at attempt %d", image.Name, d.Attempt)
	}
	w.Took(image.Name)
	return nil
}

// undertaker reads the dead letters.
type undertaker struct{ *ledger.Member }

func (u undertaker) bury(_ context.Context, d *pubsub.Delivery) error {
	u.Say("a message from %q after %s attempt: %s",
		d.Headers[middleware.HeaderTopic], d.Headers[middleware.HeaderAttempts], d.Headers[middleware.HeaderReason])
	u.Took(string(d.Body))
	return nil
}
