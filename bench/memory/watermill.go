package main

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/waybill-go/waybill/bench/millreader"
)

func prepareWatermill(ctx context.Context, subscribers int, handled func()) (func(context.Context, []byte) error, func() error, error) {
	channel := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: channelSize}, watermill.NopLogger{})
	var reader millreader.Reader
	if err := reader.Read(ctx, "topic", channel, subscribers, handled); err != nil {
		return nil, nil, err
	}
	publish := func(_ context.Context, body []byte) error {
		return channel.Publish("topic", message.NewMessage(watermill.NewShortUUID(), body))
	}
	stop := func() error { return errors.Join(reader.Close(), channel.Close()) }
	return publish, stop, nil
}
