package rabbitmq_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/brokers"
)

// A key stays in order though a message of it is postponed for longer than a delivery may stay,
// while more of it comes. To give it back with what waits behind it would not do: the broker
// gives the next message when half of that has come again.
func TestOrderOfWhatIsPostponedBeyondTheHold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c, topic := client(t, b, "consumer-timeout=500ms&partitions=1"), fresh("hold")
		s, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Ordered(), pubsub.InFlight(5000, 0))
		must(t, err)
		p, err := c.Publisher(t.Context(), topic, pubsub.Ordered())
		must(t, err)
		const total, each = 3000, 1000
		var mu sync.Mutex
		var since time.Time
		done, all := 0, make(chan struct{})
		receive(t, s, func(_ context.Context, d *pubsub.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			switch n, _ := strconv.Atoi(string(d.Body)); {
			case n > done:
				t.Errorf("%d came when %d were done", n, done)
				done = n + 1
			case n < done: // again
			case n%each == 10 && since.IsZero():
				since = time.Now()
				return pubsub.Postpone(200*time.Millisecond, nil)
			case n%each == 10 && time.Since(since) < 700*time.Millisecond:
				return pubsub.Postpone(200*time.Millisecond, nil)
			default:
				since = time.Time{}
				done++
			}
			if done == total {
				close(all)
				done++
			}
			return nil
		})
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := range total {
			p.PublishAsync(t.Context(), &pubsub.Message{Key: "k", Body: fmt.Append(nil, i)}, func(err error) {
				if err != nil {
					t.Errorf("publish: %v", err)
				}
			})
			<-tick.C
		}
		next(t, all)
	})
}
