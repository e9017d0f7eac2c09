package kafka

import (
	"context"
	"crypto/rand"
	"net"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A connection may be closed while a session begins: that is left as soon as it has begun.
func TestCloseWhileASessionBegins(t *testing.T) {
	t.Parallel()
	for kind, group := range map[string]string{"member": "g", "broadcast": ""} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			must(t, err)
			defer cluster.Close()
			var hold atomic.Bool
			dialing, goOn := make(chan struct{}, 100), make(chan struct{})
			config := fast(cluster.ListenAddrs())
			config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if hold.Load() {
					dialing <- struct{}{}
					<-goOn
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			d, err := New(config)
			must(t, err)
			opened, err := d.Open(t.Context())
			must(t, err)
			c := opened.(*conn)
			r := driver.SubscribeRequest{Group: group}
			r.Topic = "begins-" + rand.Text()
			must(t, c.Declare(t.Context(), r))
			hold.Store(true)
			ended := make(chan error, 2)
			go func() {
				_, err := c.Subscribe(t.Context(), r)
				if driver.CodeOf(err) != driver.CodeClosed {
					t.Errorf("a session began on a closed connection: %v", err)
				}
				ended <- nil
			}()
			<-dialing
			var s *session
			c.mu.Lock()
			for s = range c.sessions {
			}
			c.mu.Unlock()
			go func() { ended <- c.Close(context.Background()) }()
			<-s.Done()
			close(goOn)
			for range 2 {
				must(t, <-ended)
			}
		})
	}
}
