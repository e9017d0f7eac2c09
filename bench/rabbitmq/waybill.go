package main

import (
	"context"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/bench/stream"
	_ "github.com/waybill-go/waybill/drivers/rabbitmq" // registers rabbitmq://
	"github.com/waybill-go/waybill/pubsub"
)

// waybill is the library as it comes.
type waybill struct{ *stream.Stream }

func openWaybill(ctx context.Context, l line) (actor, error) {
	s, err := stream.Open(ctx, l.broker+"?queues="+l.kind, l.exchange, pubsub.TopicOptions(), pubsub.Group("readers"))
	if err != nil {
		return nil, err
	}
	return waybill{s}, nil
}

func (w waybill) publish(ctx context.Context, n int, many bool) error {
	message := &pubsub.Message{Body: make([]byte, bodySize)}
	if many {
		return measure.Many(window, n, func() error { return w.Topic.Publish(ctx, message) })
	}
	return w.Publish(ctx, n, message)
}

func (w waybill) consume(ctx context.Context, handled func()) error { return w.Consume(ctx, handled) }

func (w waybill) close(ctx context.Context) error { return w.Close(ctx) }
