package gcppubsub_test

import (
	"flag"
	"net/url"
	"os"
	"testing"
	"time"

	_ "github.com/waybill-go/waybill/drivers/gcppubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// Tests mostly wait, so more of them run at a time than there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// from makes a driver for a broker, with more parameters.
func from(t testing.TB, address, parameters string) driver.Driver {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if parameters != "" {
		u.RawQuery += "&" + parameters
	}
	d, err := driver.FromURL(u.String())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// address is an emulator's host and port, whoever runs it.
func address(t testing.TB, b *brokers.Broker) string {
	t.Helper()
	u, err := url.Parse(b.URL)
	must(t, err)
	return u.Query().Get("emulator")
}

// proxied is a driver behind a proxy of its own.
type proxied struct {
	driver.Driver
	proxy *brokers.Proxy
}

// behind puts a proxy in front of the emulator, and a relay that tells it what broke.
func behind(t testing.TB, b *brokers.Broker, parameters string) *proxied {
	t.Helper()
	p := brokers.NewProxy(t, newRelay(t, address(t, b)))
	return &proxied{from(t, "gcppubsub://waybill-test?emulator="+p.Address(), parameters), p}
}

// harness is for the emulator, with more parameters of the URL.
func harness(t *testing.T, parameters string) pubsubtest.Harness {
	t.Helper()
	b := brokers.GCPPubSub(t)
	return pubsubtest.Harness{
		Driver:     func(t testing.TB) driver.Driver { return behind(t, b, parameters) },
		Disconnect: func(_ testing.TB, d driver.Driver) { d.(*proxied).proxy.Reset() },
		Mends:      true,
		// What one member lost comes to any, that one too, each time after a lease of 10 s.
		Patience: 150 * time.Second,
		Quiet:    400 * time.Millisecond,
		Lease:    4 * time.Second,
		Parallel: true,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, harness(t, "lease=10s"))
}

func TestConformanceExactlyOnce(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, harness(t, "lease=10s&exactly-once=true"))
}
