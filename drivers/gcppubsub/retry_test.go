package gcppubsub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

var errOfTheTest = errors.New("as the test wants")

// reading runs a Receive until stop is called, which wants no error of it.
func reading(t *testing.T, s *pubsub.Subscription, handle pubsub.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Receive(ctx, handle) }()
	return func() {
		t.Helper()
		cancel()
		must(t, <-done)
	}
}

// TestNativeDeadLetterAfterAttempts returns a message again and again: it comes with Google's
// count, and after the fifth time Google itself moves it to the dead letter.
func TestNativeDeadLetterAfterAttempts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := from(t, brokers.GCPPubSub(t).URL, "").Open(ctx)
	must(t, err)
	defer func() { must(t, conn.Close(context.Background())) }()
	dead := driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: "dead-" + unique(), Kind: driver.Queue}}
	r := driver.SubscribeRequest{
		TopicRequest: driver.TopicRequest{Topic: "attempts-" + unique()}, Group: "g",
		DeadLetter: &driver.DeadLetter{Topic: dead.Topic, MaxAttempts: 5},
	}
	open := func(r driver.SubscribeRequest) driver.Session {
		must(t, conn.Declare(ctx, r))
		s, err := conn.Subscribe(ctx, r)
		must(t, err)
		s.Credit(100, 1<<20)
		return s
	}
	session, letters := open(r), open(dead)
	topic, err := conn.Topic(ctx, r.TopicRequest)
	must(t, err)
	topic.Send(ctx, []driver.Message{{ID: "7", Body: []byte("poison")}}, func(_ int, _ driver.Fate, err error) {
		if err != nil {
			t.Errorf("publish: %v", err)
		}
	})
	for n := range 5 {
		var in driver.Intake
		must(t, session.Receive(ctx, &in))
		if in.Deliveries[0].Attempt != n+1 {
			t.Errorf("attempt is %d, want %d", in.Deliveries[0].Attempt, n+1)
		}
		session.Settle(ctx, []driver.Settlement{{Receipt: &in.Deliveries[0].Receipt, Verb: driver.Retry}})
	}
	var in driver.Intake
	must(t, letters.Receive(ctx, &in))
	if d := &in.Deliveries[0]; string(d.Body) != "poison" || d.ID != "7" || !maps.Equal(d.Headers, map[string]string{
		driver.HeaderDeadTopic: r.Topic, driver.HeaderDeadGroup: "g", driver.HeaderDeadAttempts: "5",
		driver.HeaderDeadReason: "not handled in 5 deliveries of subscription " + r.Topic + ".g (Google tells no more)",
	}) {
		t.Errorf("dead letter has ID %q, headers %v, body %q", d.ID, d.Headers, d.Body)
	}
	// What the driver moves itself says why.
	topic.Send(ctx, []driver.Message{{ID: "8", Body: []byte("worse")}}, func(int, driver.Fate, error) {})
	in = driver.Intake{}
	must(t, session.Receive(ctx, &in))
	settlements := []driver.Settlement{{Receipt: &in.Deliveries[0].Receipt, Verb: driver.Dead, Err: errOfTheTest}}
	session.Settle(ctx, settlements)
	in = driver.Intake{}
	must(t, letters.Receive(ctx, &in))
	h := in.Deliveries[0].Headers
	if at, err := time.Parse(time.RFC3339, h[driver.HeaderDeadTime]); err != nil || time.Since(at) > time.Minute {
		t.Errorf("it died at %v: %v", at, err)
	}
	delete(h, driver.HeaderDeadTime)
	if !maps.Equal(h, map[string]string{
		driver.HeaderDeadTopic: r.Topic, driver.HeaderDeadGroup: "g", driver.HeaderDeadAttempts: "1", driver.HeaderDeadReason: errOfTheTest.Error(),
	}) {
		t.Errorf("the driver's own dead letter has headers %v, outcome %v", h, settlements[0].OutcomeErr)
	}
}

// TestFailedKeyWaits fails a key's first message for longer than a lease: those behind it
// wait here, still leased, and other keys go on.
func TestFailedKeyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, d := inBubble(t)
		ctx := t.Context()
		client, err := pubsub.New(ctx, d, quiet)
		must(t, err)
		defer closing(t, client)
		s, err := client.Subscriber(ctx, "orders", pubsub.Group("g"), pubsub.Ordered(), pubsub.DropPermanent())
		must(t, err)
		p, err := client.Publisher(ctx, "orders", pubsub.Ordered())
		must(t, err)
		for _, key := range []string{"a", "b"} {
			for i := range 3 {
				must(t, p.Publish(ctx, &pubsub.Message{Key: key, Body: []byte(strconv.Itoa(i))}))
			}
		}
		const wait = 2 * time.Minute
		began := time.Now()
		c := newCourse(t, 6)
		stop := reading(t, s, func(_ context.Context, d *pubsub.Delivery) error {
			c.begin(d)
			late := time.Since(began) >= wait
			if d.Key == "a" && string(d.Body) == "0" && d.Attempt == 1 {
				return c.end(d, pubsub.RetryAfter(wait, errOfTheTest))
			}
			if late != (d.Key == "a") {
				t.Errorf("%s%s was handled after %v", d.Key, d.Body, time.Since(began))
			}
			return c.end(d, nil)
		})
		<-c.all
		stop()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, m := range f.log {
			if m.given != 1 {
				t.Errorf("%s%s was given %d times", m.OrderingKey, m.Data, m.given)
			}
		}
	})
}

// TestDelayedDoNotFillTheWindow delays twice as many messages as a stream may have
// outstanding, where Google counts them: a new stream lets others pass meanwhile.
func TestDelayedDoNotFillTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, d := inBubble(t)
		ctx := t.Context()
		client, err := pubsub.New(ctx, d, quiet)
		must(t, err)
		defer closing(t, client)
		const window, delay = 10, 5 * time.Minute
		s, err := client.Subscriber(ctx, "events", pubsub.Group("g"), pubsub.DropPermanent(), pubsub.InFlight(window, 0))
		must(t, err)
		p, err := client.Publisher(ctx, "events")
		must(t, err)
		for i := range 4 * window {
			must(t, p.Publish(ctx, &pubsub.Message{Body: []byte(strconv.Itoa(i))}))
		}
		began := time.Now()
		var mu sync.Mutex
		handled := map[string]time.Duration{}
		all := make(chan struct{})
		stop := reading(t, s, func(_ context.Context, d *pubsub.Delivery) error {
			if n, _ := strconv.Atoi(string(d.Body)); n < 2*window && d.Attempt == 1 {
				return pubsub.RetryAfter(delay, errOfTheTest)
			}
			mu.Lock()
			defer mu.Unlock()
			if handled[string(d.Body)] = time.Since(began); len(handled) == 4*window {
				close(all)
			}
			return nil
		})
		<-all
		stop()
		for i := range 4 * window {
			if took := handled[fmt.Sprint(i)]; (took >= delay) != (i < 2*window) {
				t.Errorf("message %d was handled after %v", i, took)
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.streams < 3 {
			t.Errorf("%d streams: those that were half full were not left", f.streams)
		}
	})
}
