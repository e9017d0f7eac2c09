package rabbitmq_test

import (
	"sync"
	"testing"

	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

// A connection may be closed while others open things on it; the race detector looks on.
func TestCloseUnderCalls(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		d, r := from(t, b.URL, ""), driver.TopicRequest{Topic: fresh("closed"), Kind: driver.Queue}
		for range 20 {
			c, err := d.Open(t.Context())
			must(t, err)
			var calls sync.WaitGroup
			for range 8 {
				calls.Go(func() {
					for {
						topic, err := c.Topic(t.Context(), r)
						if err != nil {
							return
						}
						_ = topic.Close(t.Context())
					}
				})
			}
			_, err = c.Topic(t.Context(), r)
			must(t, err)
			must(t, c.Close(t.Context()))
			calls.Wait()
		}
	})
}
