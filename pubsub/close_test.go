package pubsub_test

import (
	"context"
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
		if got := verbs(r.session.log()); got != "1 ack" {
			t.Errorf("settled %q", got)
		}
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
