package snssqs_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

// TestRequests counts what ten thousand messages cost.
func TestRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute")
	}
	const messages = 10_000
	p, url := behind(t, start(t))
	c, topic := client(t, url), unique("requests")
	out, err := c.Publisher(t.Context(), topic, pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	for range messages {
		out.PublishAsync(t.Context(), &pubsub.Message{Body: []byte("a message of some length")}, func(err error) {
			if err != nil {
				t.Errorf("publish: %v", err)
			}
		})
	}
	if err := out.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := c.Subscriber(t.Context(), topic, pubsub.Queue(), pubsub.DropPermanent())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var handled atomic.Int32
	err = s.Receive(ctx, func(context.Context, *pubsub.Delivery) error {
		if handled.Add(1) == messages {
			stop()
		}
		return nil
	})
	if err != nil || handled.Load() != messages {
		t.Errorf("handled %d, error %v", handled.Load(), err)
	}
	sends, receives, deletes := p.count("SendMessageBatch"), p.count("ReceiveMessage"), p.count("DeleteMessageBatch")
	t.Logf("%d messages: %d sends, %d receives, %d deletes, %d changes of visibility", messages, sends, receives, deletes, p.count("ChangeMessageVisibilityBatch"))
	if sends > 1050 || receives > 1100 || deletes > 1050 {
		t.Errorf("%d sends, %d receives, %d deletes; want at most 1050, 1100, 1050", sends, receives, deletes)
	}
}

// TestIdle: an idle subscription has one long poll at a time, also after it was busy.
func TestIdle(t *testing.T) {
	t.Parallel()
	p, url := behind(t, strings.Replace(start(t), "wait=1s", "wait=10s", 1))
	c, topic := client(t, url), unique("idle")
	s, err := c.Subscriber(t.Context(), topic, pubsub.Queue(), pubsub.DropPermanent())
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Publisher(t.Context(), topic, pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		out.PublishAsync(t.Context(), &pubsub.Message{Body: []byte("x")}, nil)
	}
	busy := make(chan struct{})
	var handled atomic.Int32
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Receive(ctx, func(context.Context, *pubsub.Delivery) error {
			if handled.Add(1) == 200 {
				close(busy)
			}
			return nil
		})
	}()
	<-busy
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for calm := 0; calm < 60; { // three seconds with the same poll
		before := p.count("ReceiveMessage")
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("polls do not calm down: %d so far", p.count("ReceiveMessage"))
		}
		p.mu.Lock()
		if p.polls == 1 && p.counts["ReceiveMessage"] == before {
			calm++
		} else {
			calm = 0
		}
		p.mu.Unlock()
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
