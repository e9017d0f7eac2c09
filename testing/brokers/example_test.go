package brokers_test

import (
	"testing"

	"github.com/waybill-go/waybill/testing/brokers"
)

// A test that needs a RabbitMQ which nobody else uses, and takes its network away.
func Example() {
	_ = func(t *testing.T) {
		b := brokers.RabbitMQ(t, brokers.Version("4.3"), brokers.Private())
		network := brokers.NewProxy(t, b.Addresses[0])
		url := network.Through(b.URL) // for pubsub.Open

		network.Cut()
		if err := b.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		network.Restore()
		t.Log("back at", url)
	}
}
