package pubsub_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// A client that closes waits for what is closing already.
func TestClientCloseWaitsForATopicThatCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		var g gate
		b.send = g.send
		c := b.client(t)
		topic := open(t, c)
		o := publishAll(t.Context(), topic, "", "1")
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- topic.Close(t.Context()) }()
		synctest.Wait()
		conn := b.conn
		go func() { closed <- c.Close(t.Context()) }()
		synctest.Wait()
		if conn.Err() != nil {
			t.Error("the connection was closed under a topic that waits for its confirmations")
		}
		g.open(driver.Stored, nil)
		for range 2 {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		for body, err := range o.wait() {
			if err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
}

func TestClientCloseWaitsForASubscriptionThatCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		c := b.client(t)
		topic := open(t, c)
		var published error
		r := receiveWith(t, c, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			time.Sleep(10 * time.Second)
			published = topic.Publish(ctx, &pubsub.Message{})
			return published
		})
		r.session.give(1, driver.Message{})
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- r.sub.Close(t.Context()) }()
		synctest.Wait()
		closeAll(t, c)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if published != nil {
			t.Errorf("a handler that was draining could not publish: %v", published)
		}
		r.settled("1 ack")
	})
}

// A publisher that waited for room and got it in the moment of a Close that does not wait
// is told so.
func TestCloseTellsWhoJustGotRoom(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that the one that got room has not run yet
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		var g gate
		b.send = g.send
		c := b.client(t)
		topic := open(t, c, pubsub.PublishLimit(1, 0))
		publishAll(t.Context(), topic, "", "1")
		synctest.Wait()
		published := make(chan error, 1)
		go func() { published <- topic.Publish(context.Background(), &pubsub.Message{}) }()
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		g.open(driver.Stored, nil)
		if err := topic.Close(ended); err != nil {
			t.Error(err)
		}
		select {
		case err := <-published:
			if pubsub.CodeOf(err) != pubsub.CodeClosed {
				t.Errorf("Publish: %v", err)
			}
		case <-time.After(time.Hour):
			t.Error("Publish was never told")
		}
		closeAll(t, c)
	})
}

// What was never sent when Close gave up has not been published, though nothing had failed.
func TestCloseGivesUpOnWhatWaitsBehindTheWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendWindow: 1})
		var g gate
		b.send = g.send
		c := b.client(t)
		topic := open(t, c)
		o := publishAll(t.Context(), topic, "", "1", "2", "3")
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		go func() {
			synctest.Wait()
			g.open(driver.Unknown, nil)
		}()
		if err := topic.Close(ended); err != nil {
			t.Error(err)
		}
		for body, err := range o.wait() {
			if err == nil {
				t.Errorf("%s is published, though nothing was stored", body)
			}
		}
		closeAll(t, c)
	})
}

// A driver that gives no reason for a fate does not make it a success.
func TestFateWithoutReason(t *testing.T) {
	for name, fate := range map[string]driver.Fate{"refused": driver.Refused, "unknown": driver.Unknown} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				b.send = all(fate, nil)
				c := b.client(t)
				if err := open(t, c).Publish(t.Context(), &pubsub.Message{}); err == nil {
					t.Error("published, though nothing was stored")
				}
				closeAll(t, c)
			})
		})
	}
}

// Use after Close says what is closed, and what to do.
func TestUseAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newScripted(driver.Capabilities{Groups: true, Queues: true, Backlog: true}).client(t)
		topic := open(t, c)
		subscription, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(topic.Close(t.Context()), subscription.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		handler := func(context.Context, *pubsub.Delivery) error { return nil }
		var async error
		check := func(uses map[string]error) {
			t.Helper()
			for want, err := range uses {
				if !errors.Is(err, pubsub.ErrClosed) || pubsub.CodeOf(err) != pubsub.CodeClosed || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
			}
		}
		topic.PublishAsync(t.Context(), &pubsub.Message{}, func(err error) { async = err })
		const ofTopic = "publish t: the publisher is closed, by its own Close or the client's: open another, or close it later"
		check(map[string]error{ofTopic: topic.Publish(t.Context(), &pubsub.Message{})})
		check(map[string]error{
			ofTopic: async,
			"receive t/g: the subscription is closed, by its own Close or the client's: open another, or close it later": subscription.Receive(t.Context(), handler),
		})
		closeAll(t, c)
		_, publisher := c.Publisher(t.Context(), "t")
		_, subscriber := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent())
		_, raw := c.Raw(t.Context())
		_, backlog := c.Backlog(t.Context(), "t", "g")
		const ofClient = ": the client is closed: open another with Open or New, or close it later"
		check(map[string]error{
			"open publisher t" + ofClient: publisher, "open subscriber t/g" + ofClient: subscriber, "raw" + ofClient: raw, "backlog t/g" + ofClient: backlog,
		})
	})
}
