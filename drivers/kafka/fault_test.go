package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// spread is quick, on six partitions.
func spread(b *brokers.Broker) Config {
	return Config{
		Brokers:   hosts(b),
		Heartbeat: 100 * time.Millisecond, SessionTimeout: 6 * time.Second, MaxWait: 20 * time.Millisecond, Grace: 2 * time.Second,
		RebalanceTimeout: 10 * time.Second, Timeout: 5 * time.Second,
		Partitions: 6, GroupPrefix: rand.Text() + "-",
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait waits for what no event tells of.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// guest joins the group of a storm and takes nothing.
func guest(ctx context.Context, d driver.Driver, topic string) (driver.Conn, driver.Session, error) {
	c, err := d.Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	r := driver.SubscribeRequest{Group: "g"}
	r.Topic = topic
	s, err := c.Subscribe(ctx, r)
	return c, s, err
}

func TestMemberJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"cooperative", "sticky"} {
		t.Run(balance, func(t *testing.T) {
			t.Parallel()
			c := spread(brokers.Kafka(t))
			c.Balance = balance
			d, err := New(c)
			must(t, err)
			topic := "members-" + rand.Text()
			pubsubtest.Storm{
				Driver: d, Topic: topic, Strikes: 6,
				Fault: func(ctx context.Context) error {
					for range 3 {
						conn, s, err := guest(ctx, d, topic)
						if err != nil {
							return err
						}
						wait(ctx, 500*time.Millisecond)
						if err := errors.Join(s.Close(ctx), conn.Close(ctx)); err != nil {
							return err
						}
					}
					return nil
				},
			}.Run(t)
		})
	}
}

func TestMemberKilled(t *testing.T) {
	t.Parallel()
	c := spread(brokers.Kafka(t))
	d, err := New(c)
	must(t, err)
	topic := "killed-" + rand.Text()
	victim := wired(t, c)
	pubsubtest.Storm{
		Driver: d, Topic: topic, Strikes: 3, Pace: 10 * time.Millisecond,
		Fault: func(ctx context.Context) error {
			conn, s, err := guest(ctx, victim, topic)
			if err != nil {
				return err
			}
			victim.fail(errors.New("as the test wants"))
			victim.cut()
			wait(ctx, 7*time.Second)
			_ = s.Close(ctx)
			return conn.Close(ctx)
		},
	}.Run(t)
}

func TestConnectionsCut(t *testing.T) {
	t.Parallel()
	l := wired(t, spread(brokers.Kafka(t)))
	topic := "cut-" + rand.Text()
	defer stored(t, l.config, topic)
	pubsubtest.Storm{
		Driver: l, Topic: topic, Strikes: 5,
		Fault: func(ctx context.Context) error {
			for range 5 {
				l.cut()
				wait(ctx, 300*time.Millisecond)
			}
			return nil
		},
	}.Run(t)
}

func TestNetworkAway(t *testing.T) {
	t.Parallel()
	l := wired(t, spread(brokers.Kafka(t)))
	topic := "away-" + rand.Text()
	pubsubtest.Storm{
		Driver: l, Topic: topic, Strikes: 3, Pace: 10 * time.Millisecond,
		Fault: func(ctx context.Context) error {
			l.fail(&net.OpError{Op: "dial", Err: errors.New("as the test wants")})
			l.cut()
			wait(ctx, 8*time.Second) // longer than the session
			l.fail(nil)
			return nil
		},
	}.Run(t)
	stored(t, l.config, topic)
}

func TestBrokerRestarted(t *testing.T) {
	t.Parallel()
	b := brokers.Kafka(t, brokers.Private())
	c := spread(b)
	d, err := New(c)
	must(t, err)
	topic := "restart-" + rand.Text()
	defer stored(t, c, topic)
	pubsubtest.Storm{
		Driver: d, Topic: topic, Strikes: 3, Pace: 10 * time.Millisecond,
		Fault: func(ctx context.Context) error {
			if err := b.Stop(ctx); err != nil {
				return err
			}
			return b.Start(ctx)
		},
	}.Run(t)
}

// TestHandlerStuckPastTheRebalance has a handler that does not end with its context.
func TestHandlerStuckPastTheRebalance(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Balance = "sticky" // a leader that shares one partition anew takes it from its owner
	d, err := New(c)
	must(t, err)
	client, err := pubsub.New(t.Context(), d)
	must(t, err)
	defer client.Close(context.Background())
	topic := "stuck-" + rand.Text()
	stuck, free := make(chan error, 1), make(chan struct{})
	started := make(chan int, 10)
	s, err := client.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent())
	must(t, err)
	p, err := client.Publisher(t.Context(), topic)
	must(t, err)
	must(t, p.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var calls atomic.Int32
	go func() {
		done <- s.Receive(ctx, func(ctx context.Context, d *pubsub.Delivery) error {
			started <- d.Attempt
			if calls.Add(1) == 1 {
				<-ctx.Done()
				stuck <- context.Cause(ctx)
				<-free
			}
			return nil
		})
	}()
	<-started
	conn, guest, err := guest(t.Context(), d, topic)
	must(t, err)
	if cause := <-stuck; !errors.Is(cause, pubsub.ErrTakenBack) {
		t.Errorf("cause is %v, want ErrTakenBack", cause)
	}
	must(t, guest.Close(t.Context()))
	must(t, conn.Close(t.Context()))
	<-started // again, though the first handler has not ended
	close(free)
	cancel()
	must(t, <-done)
}
