package rabbitmq_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/internal/matrix"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

// TestCapabilities has what depends on the server's version.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		caps := link(t, b, "").Capabilities()
		want := 128 << 20
		if caps.Broker >= "RabbitMQ 4" {
			want = 16 << 20
			matrix.Check(t, "RabbitMQ", caps)
		}
		if caps.MessageBytes != want {
			t.Errorf("%s takes %d bytes, want %d", caps.Broker, caps.MessageBytes, want)
		}
	})
}

// Users reach the client beneath.
func TestClient(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		k, ok := link(t, b, "").(driver.Revealer)
		if !ok {
			t.Fatal("the connection reveals no client")
		}
		c, ok := k.Client().(*amqp.Connection)
		if !ok || c.IsClosed() {
			t.Errorf("the client is %T", k.Client())
		}
	})
}
