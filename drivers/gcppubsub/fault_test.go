package gcppubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

var quiet = pubsub.Logger(slog.New(slog.DiscardHandler))

// TestStorm loses connections in the midst of a thousand messages.
func TestStorm(t *testing.T) {
	t.Parallel()
	d := behind(t, brokers.GCPPubSub(t), "lease=10s")
	pubsubtest.Storm{
		// The emulator lets a key go on while what a broken stream carried of it is leased, so
		// the topic has no order here; failure_test.go looks at order, on a server of our own.
		Driver: d, Topic: "storm-" + unique(), Unordered: true,
		Keys: 10, Rounds: 60, Pace: 10 * time.Millisecond, InFlight: 200,
		Fault: func(context.Context) error {
			d.proxy.Reset()
			return nil
		},
	}.Run(t)
}

// TestRestart kills the emulator, which keeps nothing: topics and subscriptions are
// made anew, and what is published from then on arrives.
func TestRestart(t *testing.T) {
	t.Parallel()
	b := brokers.GCPPubSub(t, brokers.Private())
	ctx := t.Context()
	client, err := pubsub.New(ctx, from(t, b.URL, ""), quiet)
	must(t, err)
	defer closing(t, client)
	s, err := client.Subscriber(ctx, "restart", pubsub.Group("g"), pubsub.DropPermanent())
	must(t, err)
	p, err := client.Publisher(ctx, "restart")
	must(t, err)
	got := make(chan string, 1000)
	receiving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- s.Receive(receiving, func(_ context.Context, d *pubsub.Delivery) error {
			got <- string(d.Body)
			return nil
		})
	}()
	must(t, p.Publish(ctx, &pubsub.Message{Body: []byte("before")}))
	until(t, got, "before")
	must(t, b.Kill(ctx))
	must(t, b.Start(ctx))
	// The topic comes back with the publisher, the subscription with the reader: what is
	// published in between has no reader.
	deadline := time.After(time.Minute)
	for n := 0; ; n++ {
		must(t, p.Publish(ctx, &pubsub.Message{Body: []byte(fmt.Sprint("after-", n))}))
		again := time.After(200 * time.Millisecond)
		select {
		case body := <-got:
			if strings.HasPrefix(body, "after-") {
				stop()
				must(t, <-done)
				return
			}
		case <-again:
		case <-deadline:
			t.Fatal("nothing came after the restart")
		}
	}
}

// TestLeaseLost lets a handler's lease end: its context ends with that cause, and the
// message comes again.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	d := behind(t, brokers.GCPPubSub(t), "")
	ctx := t.Context()
	client, err := pubsub.New(ctx, d, quiet)
	must(t, err)
	defer closing(t, client)
	topic := "lease-" + unique()
	s, err := client.Subscriber(ctx, topic, pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Lease(2*time.Second))
	must(t, err)
	p, err := client.Publisher(ctx, topic)
	must(t, err)
	must(t, p.Publish(ctx, &pubsub.Message{Body: []byte("x")}))
	causes := make(chan error, 1)
	got := make(chan string, 10)
	receiving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		var calls atomic.Int32
		done <- s.Receive(receiving, func(ctx context.Context, m *pubsub.Delivery) error {
			got <- string(m.Body)
			if calls.Add(1) == 1 {
				d.proxy.Silence()
				<-ctx.Done()
				causes <- context.Cause(ctx)
				d.proxy.Restore()
				d.proxy.Reset()
			}
			return nil
		})
	}()
	until(t, got, "x")
	if cause := <-causes; !errors.Is(cause, pubsub.ErrLeaseLost) {
		t.Errorf("cause is %v, want ErrLeaseLost", cause)
	}
	until(t, got, "x")
	stop()
	must(t, <-done)
}

// TestShutdown has a thousand handlers running when the shutdown begins: all finish, and
// nothing is handed out after.
func TestShutdown(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	client, err := pubsub.New(ctx, from(t, brokers.GCPPubSub(t).URL, ""), quiet)
	must(t, err)
	defer closing(t, client)
	topic := "shutdown-" + unique()
	s, err := client.Subscriber(ctx, topic, pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Concurrency(1000), pubsub.DrainTimeout(time.Minute))
	must(t, err)
	p, err := client.Publisher(ctx, topic)
	must(t, err)
	messages := make([]*pubsub.Message, 1500)
	for i := range messages {
		messages[i] = &pubsub.Message{Body: []byte(fmt.Sprint(i))}
	}
	must(t, p.Publish(ctx, messages...))
	running := make(chan struct{}, 2000)
	receiving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- s.Receive(receiving, func(ctx context.Context, _ *pubsub.Delivery) error {
			running <- struct{}{}
			<-pubsub.Draining(ctx)
			if ctx.Err() != nil {
				t.Errorf("a handler was not let finish: %v", context.Cause(ctx))
			}
			return nil
		})
	}()
	for range 1000 {
		<-running
	}
	stop()
	must(t, <-done)
	if n := len(running); n > 0 {
		t.Errorf("%d messages were handed out after the shutdown began", n)
	}
}
