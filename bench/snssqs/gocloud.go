package main

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/awssnssqs"

	"github.com/waybill-go/waybill/bench/cloudreader"
	"github.com/waybill-go/waybill/bench/measure"
)

// cloud is gocloud.dev's awssnssqs. As it comes it is one goroutine that publishes and one
// that receives; tuned it is 160 that publish, so that its batches fill, and 16 that receive.
type cloud struct {
	senders, readers int

	client *sqs.Client
	url    string
	topic  *pubsub.Topic
	reader cloudreader.Reader
}

func openGocloud(tuned bool) func(context.Context, broker, string) (actor, error) {
	return func(ctx context.Context, b broker, queue string) (actor, error) {
		r := &rawQueue{client: b.client(b.endpoint)}
		if err := r.find(ctx, queue); err != nil {
			return nil, err
		}
		c := &cloud{senders: 1, readers: 1, client: r.client, url: *r.url, topic: awssnssqs.OpenSQSTopic(ctx, r.client, *r.url, nil)}
		if tuned {
			c.senders, c.readers = batch*goroutines, goroutines
		}
		return c, nil
	}
}

func (c *cloud) publish(ctx context.Context, n int) error {
	body := []byte(strings.Repeat("x", bodySize))
	return measure.Many(c.senders, n, func() error { return c.topic.Send(ctx, &pubsub.Message{Body: body}) })
}

func (c *cloud) consume(ctx context.Context) error {
	subscription := awssnssqs.OpenSubscription(ctx, c.client, c.url, nil)
	c.reader.Read(ctx, subscription, c.readers, nil)
	return nil
}

func (c *cloud) close(ctx context.Context) error {
	return errors.Join(c.reader.Close(ctx), c.topic.Shutdown(ctx))
}
