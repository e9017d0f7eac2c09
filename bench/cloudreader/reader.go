// Package cloudreader reads a gocloud.dev subscription, for the benchmarks of all brokers.
package cloudreader

import (
	"context"
	"sync"

	"gocloud.dev/pubsub"
)

// Reader acknowledges what a subscription gives. The zero value reads nothing.
type Reader struct {
	subscription *pubsub.Subscription
	cancel       context.CancelFunc
	receivers    sync.WaitGroup
}

// Read starts so many receivers, each of which has a message handled and acknowledges it.
// A nil handled does nothing. The subscription is closed by Close.
func (r *Reader) Read(ctx context.Context, s *pubsub.Subscription, receivers int, handled func()) {
	r.subscription = s
	ctx, r.cancel = context.WithCancel(ctx)
	for range receivers {
		r.receivers.Go(func() {
			for {
				m, err := s.Receive(ctx)
				if err != nil {
					return
				}
				if handled != nil {
					handled()
				}
				m.Ack()
			}
		})
	}
}

// Close ends the receivers and the subscription.
func (r *Reader) Close(ctx context.Context) error {
	if r.subscription == nil {
		return nil
	}
	r.cancel()
	r.receivers.Wait()
	return r.subscription.Shutdown(ctx)
}
