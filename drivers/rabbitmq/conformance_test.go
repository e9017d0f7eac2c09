package rabbitmq_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/rabbitmq"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// versions are the oldest and the newest that are supported: the tests run on both.
var versions = []string{"3.10", "4.3"}

// each runs a test on every version.
func each(t *testing.T, run func(t *testing.T, b *brokers.Broker)) {
	t.Helper()
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			run(t, brokers.RabbitMQ(t, brokers.Version(v)))
		})
	}
}

// from makes a driver for a broker, with more parameters.
func from(t testing.TB, address, parameters string) *rabbitmq.Driver {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if parameters != "" {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += parameters
	}
	d, err := driver.FromURL(u.String())
	if err != nil {
		t.Fatal(err)
	}
	return rabbitmq.Severable(d.(*rabbitmq.Driver))
}

// sever closes the connections that a driver opened, as a network failure would.
func sever(_ testing.TB, d driver.Driver) { rabbitmq.Sever(d.(*rabbitmq.Driver)) }

func TestConformance(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		pubsubtest.Run(t, pubsubtest.Harness{
			Driver:     func(t testing.TB) driver.Driver { return from(t, b.URL, "delay-expiry=1m&partitions=4") },
			Disconnect: sever,
			Quiet:      300 * time.Millisecond,
			Parallel:   true,
		})
	})
}
