package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// fresh is a name that no other test uses.
func fresh(of string) string { return of + "-" + strings.ToLower(rand.Text()[:10]) }

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// faults runs tests that break their broker, on a private one of each version.
func faults(t *testing.T, run func(t *testing.T, b *brokers.Broker), options ...brokers.Option) {
	t.Helper()
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			run(t, brokers.RabbitMQ(t, append([]brokers.Option{brokers.Version(v), brokers.Private()}, options...)...))
		})
	}
}

// TestFaults has all but the cluster's, one after the other on one private broker.
func TestFaults(t *testing.T) {
	t.Parallel()
	faults(t, func(t *testing.T, b *brokers.Broker) {
		t.Run("connections closed", func(t *testing.T) {
			pubsubtest.Storm{
				Driver: from(t, b.URL, ""), Topic: fresh("closed"), Strikes: 3,
				Fault: func(ctx context.Context) error {
					for range 3 {
						if err := b.CloseConnections(ctx); err != nil {
							return err
						}
					}
					return nil
				},
			}.Run(t)
		})
		t.Run("broker restarted", func(t *testing.T) {
			pubsubtest.Storm{
				Driver: from(t, b.URL, ""), Topic: fresh("restart"),
				Fault: func(ctx context.Context) error {
					if err := b.Stop(ctx); err != nil {
						return err
					}
					return b.Start(ctx)
				},
			}.Run(t)
		})
		t.Run("memory alarm", func(t *testing.T) {
			pubsubtest.Storm{
				Driver: from(t, b.URL, ""), Topic: fresh("alarm"),
				Fault: func(ctx context.Context) error {
					if err := b.Alarm(ctx, true); err != nil {
						return err
					}
					wait(ctx, time.Second)
					return b.Alarm(ctx, false)
				},
			}.Run(t)
		})
	})
}

// TestNetworkCut has the network away for ten seconds, at first in silence, then slow.
func TestNetworkCut(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		network := brokers.NewProxy(t, b.Addresses[0])
		pubsubtest.Storm{
			Driver: from(t, network.Through(b.URL), "heartbeat=2s&timeout=3s"), Topic: fresh("cut"), Strikes: 3, Pace: 8 * time.Millisecond,
			Fault: func(ctx context.Context) error {
				network.Silence()
				wait(ctx, 5*time.Second)
				network.Cut()
				wait(ctx, 5*time.Second)
				network.Restore()
				network.Latency(20 * time.Millisecond)
				wait(ctx, time.Second)
				network.Latency(0)
				return nil
			},
		}.Run(t)
	})
}

// TestQueueDeleted has a group's queue deleted under its consumers. What was in the queue is gone
// with it, and so this looks only at what comes after.
func TestQueueDeleted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c, err := pubsub.New(t.Context(), from(t, b.URL, ""))
		must(t, err)
		topic := fresh("deleted")
		s, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent())
		must(t, err)
		p, err := c.Publisher(t.Context(), topic)
		must(t, err)
		seen := receive(t, s, nil)
		publishMany(t, p, 2000)
		for range 2000 {
			next(t, seen)
		}
		raw := dial(t, b)
		_, err = raw.QueueDelete(topic+"/g", false, false, false)
		must(t, err)
		for deadline := time.Now().Add(patience); ; wait(t.Context(), 100*time.Millisecond) { // the engine declares it again
			q, err := dial(t, b).QueueDeclarePassive(topic+"/g", true, false, false, false, amqp.Table{})
			if err == nil && q.Consumers > 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("nobody reads the queue again: %v", err)
			}
		}
		publishMany(t, p, 2000)
		for range 2000 {
			next(t, seen)
		}
		must(t, c.Close(t.Context()))
	})
}

// TestNodeKilled kills the node of three that the clients are connected to.
func TestNodeKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes its time")
	}
	t.Parallel()
	faults(t, func(t *testing.T, b *brokers.Broker) {
		pubsubtest.Storm{
			Driver: from(t, b.URL, "partitions=3&nodes="+strings.Join(b.Addresses[1:], ",")), Topic: fresh("killed"), Strikes: 3,
			Patience: 3 * time.Minute,
			Fault:    func(ctx context.Context) error { return b.Kill(ctx, 0) },
		}.Run(t)
	}, brokers.Nodes(3))
}
