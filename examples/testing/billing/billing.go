// Package billing is a small service as a team might write it. Its tests show how such a
// service is tested: a handler by itself, and the whole service with its configuration, in
// memory and in virtual time, on what the team's broker can do.
package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// Order is what is to be paid.
type Order struct {
	Number   int
	Customer string
	Cents    int
}

// Receipt says that an order was paid.
type Receipt struct {
	Order int
	Cents int
}

// Bank charges customers. It takes an order's money once, however often it is asked: a
// handler sees a message at least once.
type Bank interface {
	// Charge fails with ErrRefused if asking again is of no use.
	Charge(ctx context.Context, o Order) error
}

// ErrRefused says that the bank does not take the money, now or later.
var ErrRefused = errors.New("refused")

// bankPause is how long a bank that does not answer is left alone.
const bankPause = 10 * time.Minute

// Service charges orders and publishes receipts.
type Service struct {
	// Bank takes the money.
	Bank Bank
	// Receipts is where receipts go.
	Receipts pubsub.TypedPublisher[Receipt]
}

// Charge is the handler of orders.
func (s *Service) Charge(ctx context.Context, o Order, _ *pubsub.Delivery) error {
	if o.Cents <= 0 {
		return pubsub.Permanent(fmt.Errorf("order %d is for %d cents", o.Number, o.Cents))
	}
	switch err := s.Bank.Charge(ctx, o); {
	case errors.Is(err, ErrRefused):
		return pubsub.Permanent(err)
	case err != nil:
		return pubsub.RetryAfter(bankPause, err)
	}
	return s.Receipts.Publish(ctx, Receipt{Order: o.Number, Cents: o.Cents})
}

// Run is the service's life, until ctx ends.
func Run(ctx context.Context, client *config.Client, bank Bank) error {
	receipts, err := client.Publisher(ctx, "receipts")
	if err != nil {
		return errors.Join(err, client.Close(ctx))
	}
	orders, err := client.Subscriber(ctx, "billing")
	if err != nil {
		return errors.Join(err, client.Close(ctx))
	}
	s := &Service{Bank: bank, Receipts: pubsub.TypedPublisher[Receipt]{Publisher: receipts, Codec: codec.JSON[Receipt]()}}
	return client.Serve(ctx, pubsub.Handle(orders, pubsub.Typed(codec.JSON[Order](), s.Charge)))
}
