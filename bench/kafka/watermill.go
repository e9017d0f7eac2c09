package main

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	millkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/bench/millreader"
)

// mill is Watermill's Kafka with its router. It cannot publish without waiting: the
// goroutine that calls it waits for each message.
type mill struct {
	line
	publisher *millkafka.Publisher
	reader    millreader.Reader
}

func openWatermill(_ context.Context, l line) (actor, error) {
	m := &mill{line: l}
	var err error
	m.publisher, err = millkafka.NewPublisher(millkafka.PublisherConfig{
		Brokers: l.hosts(), Marshaler: millkafka.DefaultMarshaler{},
		OverwriteSaramaConfig: careful(millkafka.DefaultSaramaSyncPublisherConfig()),
	}, watermill.NopLogger{})
	return m, err
}

func (m *mill) publish(_ context.Context, n, goroutines int) error {
	body := make([]byte, bodySize)
	return measure.Many(max(goroutines, 1), n, func() error {
		return m.publisher.Publish(m.topic, message.NewMessage(watermill.NewShortUUID(), body))
	})
}

func (m *mill) consume(ctx context.Context, handled func()) error {
	subscriber, err := millkafka.NewSubscriber(millkafka.SubscriberConfig{
		Brokers: m.hosts(), Unmarshaler: millkafka.DefaultMarshaler{}, ConsumerGroup: m.group,
		OverwriteSaramaConfig: careful(millkafka.DefaultSaramaSubscriberConfig()),
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	return m.reader.Read(ctx, m.topic, subscriber, 1, handled)
}

func (m *mill) close(context.Context) error {
	return errors.Join(m.reader.Close(), m.publisher.Close())
}
