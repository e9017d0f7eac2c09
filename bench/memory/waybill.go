package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
)

func prepareWaybill(ctx context.Context, subscribers int, handled func()) (func(context.Context, []byte) error, func() error, error) {
	return prepareClient(ctx, subscribers, handled)
}

func prepareClient(ctx context.Context, subscribers int, handled func(), options ...pubsub.ClientOption) (func(context.Context, []byte) error, func() error, error) {
	broker, err := memory.New(memory.Config{BacklogMessages: channelSize})
	if err != nil {
		return nil, nil, err
	}
	client, err := pubsub.New(ctx, broker, options...)
	if err != nil {
		return nil, nil, err
	}
	topic, err := client.Publisher(ctx, "topic")
	if err != nil {
		return nil, nil, err
	}
	routes := make([]pubsub.Route, subscribers)
	for i := range routes {
		s, err := client.Subscriber(ctx, "topic", pubsub.Group(fmt.Sprint("group-", i)), pubsub.DropPermanent(), pubsub.Concurrency(1))
		if err != nil {
			return nil, nil, err
		}
		routes[i] = pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error {
			handled()
			return nil
		})
	}
	serving, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- pubsub.Serve(serving, routes...) }()
	publish := func(ctx context.Context, body []byte) error {
		return topic.Publish(ctx, &pubsub.Message{Body: body})
	}
	stop := func() error {
		cancel()
		return errors.Join(<-done, client.Close(ctx))
	}
	return publish, stop, nil
}
