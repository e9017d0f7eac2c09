package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// What goes wrong in this shop.
const (
	unansweredOrder = 12 // the bank answers at the third attempt
	refusedOrder    = 23 // a card that is refused will be refused again
	shakyImage      = 5
	hugeImage       = 10
	brokenImage     = 15
)

// services opens every subscription before anything is published, so that each service
// gets it all. Who is named twice shares the work.
func services(ctx context.Context, client *config.Client, book *ledger.Book, orders int) ([]pubsub.Route, error) {
	var routes []pubsub.Route
	var failed error
	serve := func(name string, handler pubsub.Handler) {
		s, err := client.Subscriber(ctx, name)
		failed = errors.Join(failed, err)
		routes = append(routes, pubsub.Handle(s, handler))
	}
	for _, name := range []string{"email", "inventory", "analytics"} {
		service := service{book.Member(name, orders)}
		serve(name, pubsub.Typed(codec.JSON[Order](), service.order))
	}
	for range 2 {
		billing := service{book.Member("billing", orders-1)}
		serve("billing", pubsub.Typed(codec.JSON[Order](), billing.bill))
	}
	for range 3 {
		worker := service{book.Member("images", orders-2)}
		serve("images", pubsub.Typed(codec.JSON[Image](), worker.scale))
	}
	serve("dead", service{book.Member("dead", 3)}.bury)
	return routes, failed
}

// service is one member of a service. Its handlers' errors say what becomes of a message.
type service struct{ *ledger.Member }

func (s service) order(_ context.Context, o Order, _ *pubsub.Delivery) error {
	s.TookInTurn(o.Customer, o.Number)
	return nil
}

// bill holds back a customer's later orders while the bank does not answer, and no other's.
func (s service) bill(_ context.Context, o Order, d *pubsub.Delivery) error {
	switch {
	case o.Number == refusedOrder:
		s.Say("order %d of %s: to the dead letter", o.Number, o.Customer)
		return pubsub.Permanent(errors.New("card refused"))
	case o.Number == unansweredOrder && d.Attempt < 3:
		s.Say("order %d of %s, attempt %d: again soon", o.Number, o.Customer, d.Attempt)
		return errors.New("the bank does not answer")
	}
	s.TookInTurn(o.Customer, o.Number)
	return nil
}

func (s service) scale(_ context.Context, i Image, d *pubsub.Delivery) error {
	switch {
	case i.Order == brokenImage:
		return pubsub.Permanent(errors.New("not an image"))
	case i.Order == hugeImage: // until its attempts are used up
		return errors.New("out of memory")
	case i.Order == shakyImage && d.Attempt < 3:
		s.Say("of order %d, attempt %d: again soon", i.Order, d.Attempt)
		return errors.New("disk is full")
	}
	s.Took(fmt.Sprint(i.Order))
	return nil
}

// bury reads the dead letters, whose headers say where they come from and why.
func (s service) bury(_ context.Context, d *pubsub.Delivery) error {
	s.Say("from %s, given up at attempt %s: %s", d.Headers[middleware.HeaderTopic],
		d.Headers[middleware.HeaderAttempts], d.Headers[middleware.HeaderReason])
	s.Took(string(d.Body))
	return nil
}
