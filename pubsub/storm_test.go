package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// TestStorm has two members, failures, short leases and connections that are cut,
// on brokers that leave more or less to the engine: every message is handled, and a
// key's messages succeed for the first time in their order.
func TestStorm(t *testing.T) {
	for name, turn := range map[string]func(*driver.Capabilities){
		"native":      nil,
		"like kafka":  memory.LikeKafka,
		"one by one":  func(c *driver.Capabilities) { c.SendsPerKey, c.SendNeverBlocks = 1, false },
		"by key":      func(c *driver.Capabilities) { c.KeyPerSend, c.SendNeverBlocks = true, false },
		"windowed":    func(c *driver.Capabilities) { c.SendWindow, c.SendNeverBlocks = 3, false },
		"no delays":   func(c *driver.Capabilities) { c.RetryDelay, c.OrderedRetry = 0, driver.HoldsNone },
		"short holds": func(c *driver.Capabilities) { c.Hold = 50 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storm(t, turn)
		})
	}
}

func storm(t *testing.T, turn func(*driver.Capabilities)) {
	const keys, each = 8, 60
	broker, err := memory.New(memory.Config{Lease: 100 * time.Millisecond, BacklogMessages: 100, Turn: turn})
	if err != nil {
		t.Fatal(err)
	}
	c, err := pubsub.New(t.Context(), broker,
		pubsub.Logger(slog.New(slog.DiscardHandler)), pubsub.ReconnectBackoff(pubsub.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	next := map[string]int{}
	left := keys * each
	handler := func(_ context.Context, d *pubsub.Delivery) error {
		if rand.IntN(5) == 0 {
			return pubsub.RetryAfter(time.Duration(rand.IntN(5))*time.Millisecond, errBoom)
		}
		n, err := strconv.Atoi(string(d.Body))
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case n > next[d.Key]:
			t.Errorf("key %s: %d succeeded before %d", d.Key, n, next[d.Key])
		case n == next[d.Key]:
			next[d.Key]++
			if left--; left == 0 {
				cancel()
			}
		}
		return nil
	}
	var routes []pubsub.Route
	for range 2 {
		s, err := c.Subscriber(ctx, "t", pubsub.Ordered(), pubsub.Group("g"), pubsub.DropPermanent(), pubsub.InFlight(30, 0))
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, pubsub.Handle(s, handler))
	}
	topic := open(t, c, pubsub.Ordered())
	var others sync.WaitGroup
	for key := range keys {
		others.Go(func() {
			for n := range each {
				m := &pubsub.Message{Key: fmt.Sprint("key-", key), Body: []byte(strconv.Itoa(n))}
				if err := topic.Publish(ctx, m); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("publish: %v", err)
				}
			}
		})
	}
	others.Go(func() {
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		for range 15 {
			select {
			case <-tick.C:
				broker.Disconnect(errBoom)
			case <-ctx.Done():
				return
			}
		}
	})
	if err := c.Serve(ctx, routes...); err != nil {
		t.Errorf("serve: %v", err)
	}
	others.Wait()
	if left > 0 {
		t.Errorf("%d messages were not handled; next %v", left, next)
	}
}
