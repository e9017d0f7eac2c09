package kafka

import (
	"context"
	"crypto/rand"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/internal/matrix"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// lines are the network connections of a driver, to be cut.
type lines struct {
	*Driver
	mu   sync.Mutex
	open map[net.Conn]bool
	err  error // of dialing
}

// fail has dialing fail from now on.
func (l *lines) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// wired makes a driver whose connections can be cut.
func wired(t testing.TB, c Config) *lines {
	l := &lines{open: map[net.Conn]bool{}}
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		l.mu.Lock()
		err := l.err
		l.mu.Unlock()
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		n, err := d.DialContext(ctx, network, address)
		if err == nil {
			l.mu.Lock()
			l.open[n] = true
			l.mu.Unlock()
		}
		return n, err
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l.Driver = d
	return l
}

// cut closes all connections.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.open {
		_ = n.Close()
		delete(l.open, n)
	}
}

// quick is a config for tests on the broker they share: everything that waits, waits
// for little. Each has groups of its own.
func quick(t testing.TB) Config {
	return Config{
		Brokers:   hosts(brokers.Kafka(t)),
		Heartbeat: 100 * time.Millisecond, SessionTimeout: 6 * time.Second, MaxWait: 20 * time.Millisecond, Grace: time.Second,
		Partitions: 1, GroupPrefix: rand.Text() + "-",
	}
}

func TestConformance(t *testing.T) {
	pubsubtest.Run(t, pubsubtest.Harness{
		Driver:     func(t testing.TB) driver.Driver { return wired(t, quick(t)) },
		Disconnect: func(_ testing.TB, d driver.Driver) { d.(*lines).cut() },
		Quiet:      300 * time.Millisecond,
		Mends:      true,
		Parallel:   true,
	})
}

func TestPromises(t *testing.T) {
	c, err := wired(t, quick(t)).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	matrix.Check(t, "Kafka", c.Capabilities())
}

// hosts are a broker's, from its URL.
func hosts(b *brokers.Broker) []string {
	return strings.Split(strings.TrimPrefix(b.URL, "kafka://"), ",")
}
