package main

import (
	"context"
	"errors"

	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/kafkapubsub"

	"github.com/waybill-go/waybill/bench/cloudreader"
	"github.com/waybill-go/waybill/bench/measure"
)

// cloud is gocloud.dev's kafkapubsub. It cannot publish without waiting: the goroutine that
// calls it waits for each message.
type cloud struct {
	line
	topic  *pubsub.Topic
	reader cloudreader.Reader
}

func openGocloud(_ context.Context, l line) (actor, error) {
	c := &cloud{line: l}
	var err error
	c.topic, err = kafkapubsub.OpenTopic(l.hosts(), careful(kafkapubsub.MinimalConfig()), l.topic, nil)
	return c, err
}

func (c *cloud) publish(ctx context.Context, n, goroutines int) error {
	body := make([]byte, bodySize)
	return measure.Many(max(goroutines, 1), n, func() error { return c.topic.Send(ctx, &pubsub.Message{Body: body}) })
}

func (c *cloud) consume(ctx context.Context, handled func()) error {
	subscription, err := kafkapubsub.OpenSubscription(c.hosts(), careful(kafkapubsub.MinimalConfig()), c.group, []string{c.line.topic}, nil)
	if err != nil {
		return err
	}
	c.reader.Read(ctx, subscription, 1, handled)
	return nil
}

func (c *cloud) close(ctx context.Context) error {
	return errors.Join(c.reader.Close(ctx), c.topic.Shutdown(ctx))
}
