package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

func prepareWatermill(ctx context.Context, subscribers int, handled func()) (func(context.Context, []byte) error, func() error, error) {
	channel := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: channelSize}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, nil, err
	}
	for i := range subscribers {
		router.AddConsumerHandler(fmt.Sprint("subscriber-", i), "topic", channel, func(*message.Message) error {
			handled()
			return nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- router.Run(ctx) }()
	<-router.Running()
	publish := func(_ context.Context, body []byte) error {
		return channel.Publish("topic", message.NewMessage(watermill.NewShortUUID(), body))
	}
	stop := func() error { return errors.Join(router.Close(), <-done, channel.Close()) }
	return publish, stop, nil
}
