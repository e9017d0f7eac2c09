package main

import (
	"context"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/bench/stream"
	_ "github.com/waybill-go/waybill/drivers/kafka" // registers kafka://
	"github.com/waybill-go/waybill/pubsub"
)

// waybill is the library as it comes, or with so many handlers at a time.
type waybill struct{ *stream.Stream }

func openWaybill(handlers int) func(context.Context, line) (actor, error) {
	return func(ctx context.Context, l line) (actor, error) {
		reader := []pubsub.SubscriberOption{pubsub.Group(l.group)}
		if handlers > 0 {
			reader = append(reader, pubsub.Concurrency(handlers), pubsub.InFlight(2*handlers, 0))
		}
		topic := pubsub.TopicOptions()
		if l.ordered {
			topic = pubsub.Ordered()
		}
		s, err := stream.Open(ctx, l.broker+"?start=earliest", l.topic, topic, reader...)
		if err != nil {
			return nil, err
		}
		return waybill{s}, nil
	}
}

func (w waybill) publish(ctx context.Context, n, goroutines int) error {
	message := &pubsub.Message{Body: make([]byte, bodySize)}
	if goroutines > 0 {
		return measure.Many(goroutines, n, func() error { return w.Topic.Publish(ctx, message) })
	}
	return w.Publish(ctx, n, message)
}

func (w waybill) consume(ctx context.Context, handled func()) error { return w.Consume(ctx, handled) }

func (w waybill) close(ctx context.Context) error { return w.Close(ctx) }
