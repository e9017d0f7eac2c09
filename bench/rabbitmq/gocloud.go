package main

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"
	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/rabbitpubsub"

	"github.com/waybill-go/waybill/bench/cloudreader"
	"github.com/waybill-go/waybill/bench/measure"
)

// cloud is gocloud.dev's rabbitpubsub. Confirms are always on there. As it comes it
// has the goroutine that calls it; tuned it has a thousand senders, a prefetch of a
// thousand and ten receivers.
type cloud struct {
	line
	tuned  bool
	conn   *amqp.Connection
	topic  *pubsub.Topic
	reader cloudreader.Reader
}

func openGocloud(tuned bool) func(context.Context, line) (actor, error) {
	return func(_ context.Context, l line) (actor, error) {
		if err := l.declare(); err != nil {
			return nil, err
		}
		conn, err := dial(l.broker)
		if err != nil {
			return nil, err
		}
		return &cloud{line: l, tuned: tuned, conn: conn, topic: rabbitpubsub.OpenTopic(conn, l.exchange, nil)}, nil
	}
}

func (c *cloud) publish(ctx context.Context, n int, many bool) error {
	body := make([]byte, bodySize)
	send := func() error {
		return c.topic.Send(ctx, &pubsub.Message{Body: body, BeforeSend: func(as func(any) bool) error {
			var p *amqp.Publishing
			if as(&p) {
				p.DeliveryMode = amqp.Persistent
			}
			return nil
		}})
	}
	if many || c.tuned {
		return measure.Many(window, n, send)
	}
	for range n {
		if err := send(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cloud) consume(ctx context.Context, handled func()) error {
	options := &rabbitpubsub.SubscriptionOptions{}
	receivers := 1
	if c.tuned {
		prefetch := window
		options.PrefetchCount = &prefetch
		receivers = 10
	}
	subscription := rabbitpubsub.OpenSubscription(c.conn, c.queue, options)
	c.reader.Read(ctx, subscription, receivers, handled)
	return nil
}

func (c *cloud) close(ctx context.Context) error {
	return errors.Join(c.reader.Close(ctx), c.topic.Shutdown(ctx), c.conn.Close())
}
