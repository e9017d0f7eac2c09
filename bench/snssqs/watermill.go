package main

import (
	"context"
	"errors"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	watermillsqs "github.com/ThreeDotsLabs/watermill-aws/sqs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/bench/millreader"
)

// mill is Watermill's SQS with its router. As it comes it is one goroutine that publishes
// and one subscription that receives one message a request. Tuned it publishes from 16
// goroutines and has 16 subscriptions that receive ten a request; it cannot send or
// delete several in one.
type mill struct {
	queue     string
	readers   int // subscriptions, and goroutines that publish
	config    watermillsqs.SubscriberConfig
	publisher *watermillsqs.Publisher
	reader    millreader.Reader
}

func openWatermill(tuned bool) func(context.Context, broker, string) (actor, error) {
	return func(_ context.Context, b broker, queue string) (actor, error) {
		config := b.config(b.endpoint)
		m := &mill{queue: queue, readers: 1, config: watermillsqs.SubscriberConfig{AWSConfig: config}}
		if tuned {
			m.readers = goroutines
			m.config.GenerateReceiveMessageInput = func(ctx context.Context, url watermillsqs.QueueURL) (*sqs.ReceiveMessageInput, error) {
				in, err := watermillsqs.GenerateReceiveMessageInputDefault(ctx, url)
				in.MaxNumberOfMessages = batch
				return in, err
			}
		}
		publisher, err := watermillsqs.NewPublisher(watermillsqs.PublisherConfig{AWSConfig: config}, watermill.NopLogger{})
		m.publisher = publisher
		return m, err
	}
}

func (m *mill) publish(_ context.Context, n int) error {
	body := []byte(strings.Repeat("x", bodySize))
	return measure.Many(m.readers, n, func() error {
		return m.publisher.Publish(m.queue, message.NewMessage(watermill.NewShortUUID(), body))
	})
}

func (m *mill) consume(ctx context.Context) error {
	subscriber, err := watermillsqs.NewSubscriber(m.config, watermill.NopLogger{})
	if err != nil {
		return err
	}
	return m.reader.Read(ctx, m.queue, subscriber, m.readers, func() {})
}

func (m *mill) close(context.Context) error {
	return errors.Join(m.reader.Close(), m.publisher.Close())
}
