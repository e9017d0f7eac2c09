package main

import (
	"context"

	"github.com/waybill-go/waybill/bench/stream"
	_ "github.com/waybill-go/waybill/drivers/gcppubsub" // registers gcppubsub://
	"github.com/waybill-go/waybill/pubsub"
)

// waybill is the library as it comes.
type waybill struct {
	*stream.Stream
	ordered bool
}

func openWaybill(ctx context.Context, l line) (actor, error) {
	var options []pubsub.TopicOption
	if l.ordered {
		options = append(options, pubsub.Ordered())
	}
	s, err := stream.Open(ctx, "gcppubsub://"+project+"?emulator="+l.broker.address, l.topic, pubsub.TopicOptions(options...), pubsub.Group("readers"))
	if err != nil {
		return nil, err
	}
	return waybill{s, l.ordered}, nil
}

func (w waybill) publish(ctx context.Context, n int) error {
	body := make([]byte, bodySize)
	names := keyNames()
	return w.PublishEach(ctx, n, func(i int) *pubsub.Message {
		if w.ordered {
			return &pubsub.Message{Key: names[i%keys], Body: body}
		}
		return &pubsub.Message{Body: body}
	})
}

func (w waybill) consume(ctx context.Context) error { return w.Consume(ctx, func() {}) }

func (w waybill) close(ctx context.Context) error { return w.Close(ctx) }
