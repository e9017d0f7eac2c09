package main

import (
	"testing"

	"github.com/waybill-go/waybill/examples/quickstart/shop"
	"github.com/waybill-go/waybill/testing/brokers"
)

// TestShop plays the same shop on every broker: it checks every count, and the order
// within each customer. A broker of its own has no orders of others.
func TestShop(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, ...brokers.Option) *brokers.Broker{
		"gcppubsub": brokers.GCPPubSub,
		"kafka":     brokers.Kafka,
		"rabbitmq":  brokers.RabbitMQ,
		"snssqs":    brokers.SNSSQS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				t.Skip("real brokers take a while to start")
			}
			broker := start(t, brokers.Private())
			if err := shop.Run(t.Context(), t.Output(), broker.URL, 200); err != nil {
				t.Error(err)
			}
		})
	}
}
