package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/gcppubsub"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/waybill-go/waybill/bench/cloudreader"
)

// cloud is gocloud.dev's gcppubsub, which has no ordering keys.
type cloud struct {
	line
	conn   *grpc.ClientConn
	topic  *pubsub.Topic
	reader cloudreader.Reader
}

// hands is how many goroutines send, and how many receive.
const hands = 100

func openGocloud(ctx context.Context, l line) (actor, error) {
	if err := l.broker.make(l.topicName(), l.subscriptionName()); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+l.broker.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	client, err := gcppubsub.PublisherClient(ctx, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &cloud{line: l, conn: conn, topic: gcppubsub.OpenTopic(client, project, l.topic, nil)}, nil
}

func (c *cloud) publish(ctx context.Context, n int) error {
	body := make([]byte, bodySize)
	var left atomic.Int64
	left.Store(int64(n))
	errs := make([]error, hands)
	var wait sync.WaitGroup
	for i := range hands {
		wait.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				errs[i] = c.topic.Send(ctx, &pubsub.Message{Body: body})
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (c *cloud) consume(ctx context.Context) error {
	client, err := gcppubsub.SubscriberClient(ctx, c.conn)
	if err != nil {
		return err
	}
	subscription := gcppubsub.OpenSubscription(client, project, c.subscription, nil)
	c.reader.Read(ctx, subscription, hands, nil)
	return nil
}

func (c *cloud) close(ctx context.Context) error {
	return errors.Join(c.reader.Close(ctx), c.topic.Shutdown(ctx), c.conn.Close())
}
