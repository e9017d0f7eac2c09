package main

import (
	"context"
	"errors"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	watermillamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/bench/millreader"
)

// mill is Watermill's AMQP with its router. As it comes it has a prefetch of one and a
// channel for each Publish; tuned it has a prefetch of a thousand, a pool of
// channels, and publishes from a thousand goroutines. Confirms are turned on in both.
type mill struct {
	line
	tuned     bool
	config    watermillamqp.Config
	publisher *watermillamqp.Publisher
	reader    millreader.Reader
}

func openWatermill(tuned bool) func(context.Context, line) (actor, error) {
	return func(_ context.Context, l line) (actor, error) {
		if err := l.declare(); err != nil {
			return nil, err
		}
		_, address, _ := strings.Cut(l.broker, "://")
		config := watermillamqp.NewDurablePubSubConfig("amqp://"+address, watermillamqp.GenerateQueueNameConstant(l.queue))
		config.Queue.Arguments = amqp.Table{amqp.QueueTypeArg: l.kind}
		config.Publish.ConfirmDelivery = true
		if tuned {
			config.Consume.Qos.PrefetchCount = window
			config.Publish.ChannelPoolSize = 100
		}
		publisher, err := watermillamqp.NewPublisher(config, watermill.NopLogger{})
		if err != nil {
			return nil, err
		}
		return &mill{line: l, tuned: tuned, config: config, publisher: publisher}, nil
	}
}

func (m *mill) publish(_ context.Context, n int, many bool) error {
	body := make([]byte, bodySize)
	send := func() error {
		return m.publisher.Publish(m.exchange, message.NewMessage(watermill.NewShortUUID(), body))
	}
	if many || m.tuned {
		return measure.Many(window, n, send)
	}
	for range n {
		if err := send(); err != nil {
			return err
		}
	}
	return nil
}

func (m *mill) consume(ctx context.Context, handled func()) error {
	subscriber, err := watermillamqp.NewSubscriber(m.config, watermill.NopLogger{})
	if err != nil {
		return err
	}
	return m.reader.Read(ctx, m.exchange, subscriber, 1, handled)
}

func (m *mill) close(context.Context) error {
	return errors.Join(m.reader.Close(), m.publisher.Close())
}
