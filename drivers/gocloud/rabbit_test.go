package gocloud_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	cloud "gocloud.dev/pubsub"
	"gocloud.dev/pubsub/rabbitpubsub"

	"github.com/waybill-go/waybill/drivers/gocloud"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// hutch is a connection of gocloud.dev's RabbitMQ driver, which declares what it opens.
type hutch struct {
	conn *amqp.Connection
	lost chan struct{}

	mu     sync.Mutex
	topics []*cloud.Topic
	groups []*cloud.Subscription
}

func dial(url string) func(context.Context) (*hutch, error) {
	return func(context.Context) (*hutch, error) {
		conn, err := amqp.Dial("amqp" + url[len("rabbitmq"):])
		if err != nil {
			return nil, err
		}
		h := &hutch{conn: conn, lost: make(chan struct{})}
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		go func() {
			<-closed // closed with the connection, at the latest by Close
			close(h.lost)
		}()
		return h, nil
	}
}

func (h *hutch) Capabilities() driver.Capabilities {
	return driver.Capabilities{Broker: "gocloud.dev (rabbitpubsub)", Groups: true, Queues: true, Competing: true, MessageBytes: 1 << 20}
}

func (h *hutch) Done() <-chan struct{} { return h.lost }

func (h *hutch) cut() {
	_ = h.conn.Close() // as good as lost: nothing was settled
	<-h.lost
}

// on runs a declaration on a channel of its own, which dies with an error.
func (h *hutch) on(do func(*amqp.Channel) error) error {
	ch, err := h.conn.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	err = do(ch)
	var refused *amqp.Error
	if errors.As(err, &refused) && refused.Code == amqp.NotFound {
		return driver.Wrap(driver.CodeNotFound, "declare", err)
	}
	return err
}

func (h *hutch) exchange(r *driver.TopicRequest) error {
	return h.on(func(ch *amqp.Channel) error {
		switch r.Topology {
		case driver.Create:
			if err := ch.ExchangeDeclare(r.Topic, "fanout", true, false, false, false, nil); err != nil || r.Kind == driver.Queue {
				return err
			}
			// rabbitpubsub refuses an event that no queue takes.
			if _, err := ch.QueueDeclare(r.Topic+".unread", true, false, false, false, amqp.Table{"x-max-length": 1}); err != nil {
				return err
			}
			return ch.QueueBind(r.Topic+".unread", "", r.Topic, false, nil)
		case driver.Verify:
			return ch.ExchangeDeclarePassive(r.Topic, "fanout", true, false, false, false, nil)
		default:
			return nil
		}
	})
}

func (h *hutch) queue(r *driver.TopicRequest, name string) error {
	return h.on(func(ch *amqp.Channel) error {
		switch r.Topology {
		case driver.Create:
			if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
				return err
			}
			return ch.QueueBind(name, "", r.Topic, false, nil)
		case driver.Verify:
			_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			return err
		default:
			return nil
		}
	})
}

func (h *hutch) Topic(_ context.Context, r driver.TopicRequest) (*cloud.Topic, error) {
	if err := h.exchange(&r); err != nil {
		return nil, err
	}
	if r.Kind == driver.Queue {
		if err := h.queue(&r, r.Topic); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.topics = append(h.topics, rabbitpubsub.OpenTopic(h.conn, r.Topic, nil))
	return h.topics[len(h.topics)-1], nil
}

func (h *hutch) Subscription(_ context.Context, r driver.SubscribeRequest) (*cloud.Subscription, error) {
	if err := h.exchange(&r.TopicRequest); err != nil {
		return nil, err
	}
	name := r.Topic
	if r.Group != "" {
		name += "." + r.Group
	}
	if err := h.queue(&r.TopicRequest, name); err != nil {
		return nil, err
	}
	prefetch := 100
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups = append(h.groups, rabbitpubsub.OpenSubscription(h.conn, name, &rabbitpubsub.SubscriptionOptions{PrefetchCount: &prefetch}))
	return h.groups[len(h.groups)-1], nil
}

func (h *hutch) Close(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.groups {
		_ = g.Shutdown(ctx)
	}
	for _, t := range h.topics {
		_ = t.Shutdown(ctx)
	}
	if err := h.conn.Close(); err != nil && !errors.Is(err, amqp.ErrClosed) {
		return err
	}
	return nil
}

func TestConformanceOnRabbitMQ(t *testing.T) {
	t.Parallel()
	b := brokers.RabbitMQ(t)
	pubsubtest.Run(t, pubsubtest.Harness{
		Driver:     func(t testing.TB) driver.Driver { return drive(t, dial(b.URL)) },
		Disconnect: sever,
		Excuse:     hands,
		Quiet:      400 * time.Millisecond,
		Parallel:   true,
	})
}

var _ gocloud.Broker = (*hutch)(nil)
