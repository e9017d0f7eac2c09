// Package stream is Waybill as it comes, for the benchmarks of all brokers: one publisher
// that pipelines, one Receive, defaults.
package stream

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/waybill-go/waybill/pubsub"
)

// Stream publishes to a topic and reads it through one subscription.
type Stream struct {
	// Topic publishes.
	Topic *pubsub.Topic

	client *pubsub.Client
	reader *pubsub.Subscription
	cancel context.CancelFunc
	done   chan error
}

// Open connects to a broker by its URL. The options are the topic's; reader says whose
// the subscription is, where that needs saying.
func Open(ctx context.Context, url, topic string, options pubsub.TopicOption, reader ...pubsub.SubscriberOption) (*Stream, error) {
	client, err := pubsub.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	s := &Stream{client: client}
	if s.Topic, err = client.Publisher(ctx, topic, options); err != nil {
		return nil, errors.Join(err, client.Close(ctx))
	}
	reader = append([]pubsub.SubscriberOption{options, pubsub.DropPermanent()}, reader...)
	if s.reader, err = client.Subscriber(ctx, topic, reader...); err != nil {
		return nil, errors.Join(err, client.Close(ctx))
	}
	return s, nil
}

// Publish sends a message n times from one goroutine and returns when all are confirmed,
// with the first error.
func (s *Stream) Publish(ctx context.Context, n int, message *pubsub.Message) error {
	return s.PublishEach(ctx, n, func(int) *pubsub.Message { return message })
}

// PublishEach is Publish with a message made for each.
func (s *Stream) PublishEach(ctx context.Context, n int, message func(i int) *pubsub.Message) error {
	var failed atomic.Pointer[error]
	var left atomic.Int64
	left.Store(int64(n))
	done := make(chan struct{})
	told := func(err error) {
		if err != nil {
			first := err // err itself would be made anew for each message
			failed.CompareAndSwap(nil, &first)
		}
		if left.Add(-1) == 0 {
			close(done)
		}
	}
	for i := range n {
		s.Topic.PublishAsync(ctx, message(i), told)
	}
	<-done
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Consume calls handled for every message until the stream is closed.
func (s *Stream) Consume(ctx context.Context, handled func()) error {
	ctx, s.cancel = context.WithCancel(ctx)
	s.done = make(chan error, 1)
	go func() {
		s.done <- s.reader.Receive(ctx, func(context.Context, *pubsub.Delivery) error {
			handled()
			return nil
		})
	}()
	return nil
}

// Close ends the reading and the client.
func (s *Stream) Close(ctx context.Context) error {
	var err error
	if s.done != nil {
		s.cancel()
		err = <-s.done
	}
	return errors.Join(err, s.client.Close(ctx))
}
