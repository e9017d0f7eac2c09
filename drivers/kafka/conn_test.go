package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A call that nobody waits for any more is waited for when the connection is closed, as
// long as that may take, and what it brings is undone. None begins after that.
func TestCallsAreAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := unconnected(t)
		asking, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		var undone atomic.Int32
		_, err := within(asking, c, func() (int32, error) { time.Sleep(time.Minute); return 7, nil }, func(n int32) { undone.Store(n) })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		c.End(errClosed)
		if _, err := within(t.Context(), c, func() (int, error) { return 0, nil }, nil); driver.CodeOf(err) != driver.CodeClosed {
			t.Errorf("a call of a closed connection: %v", err)
		}
		closing, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		c.await(closing)
		if undone.Load() != 0 {
			t.Error("closing took longer than it may")
		}
		c.await(t.Context())
		if undone.Load() != 7 {
			t.Error("closing did not wait for a call that was under way")
		}
	})
}

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
			<-s.over
			close(goOn)
			for range 2 {
				must(t, <-ended)
			}
		})
	}
}
