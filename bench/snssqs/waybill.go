package main

import (
	"bytes"
	"context"

	"github.com/waybill-go/waybill/bench/stream"
	_ "github.com/waybill-go/waybill/drivers/snssqs" // registers snssqs://
	"github.com/waybill-go/waybill/pubsub"
)

// waybill is the library as it comes.
type waybill struct{ *stream.Stream }

func openWaybill(ctx context.Context, b broker, queue string) (actor, error) {
	s, err := stream.Open(ctx, b.url, queue, pubsub.Queue())
	if err != nil {
		return nil, err
	}
	return waybill{s}, nil
}

func (w waybill) publish(ctx context.Context, n int) error {
	return w.Publish(ctx, n, &pubsub.Message{Body: bytes.Repeat([]byte("x"), bodySize)})
}

func (w waybill) consume(ctx context.Context) error { return w.Consume(ctx, func() {}) }

func (w waybill) close(ctx context.Context) error { return w.Close(ctx) }
