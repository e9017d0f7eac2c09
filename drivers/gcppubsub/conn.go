package gcppubsub

import (
	"context"
	"sync"

	apiv1 "cloud.google.com/go/pubsub/v2/apiv1"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Client is what pubsub.Client.Raw gives: Google's own clients, and the project.
type Client struct {
	Topics        *apiv1.TopicAdminClient
	Subscriptions *apiv1.SubscriptionAdminClient
	Project       string
}

// conn is a driver.Conn. It dies by Close alone: gRPC mends connections, and nothing
// that was handed out dies with one.
type conn struct {
	driver.Life
	config Config
	client Client
	member string // a name for this process, by which Google keeps keys on streams

	mu      sync.Mutex
	tallies map[string]*tally // by subscription
}

var errClosed error = driver.Errorf(driver.CodeClosed, "gcppubsub: closed")

func (c *conn) Capabilities() driver.Capabilities { return c.config.capabilities() }

// Client returns a Client.
func (c *conn) Client() any { return c.client }

func (c *conn) topicName(name string) string {
	return "projects/" + c.client.Project + "/topics/" + name
}

func (c *conn) subscriptionName(name string) string {
	return "projects/" + c.client.Project + "/subscriptions/" + name
}

// ready says why nothing can be opened, if so.
func (c *conn) ready(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.Err()
}

func (c *conn) Topic(ctx context.Context, r driver.TopicRequest) (driver.Topic, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	name, err := c.prepareTopic(ctx, &r)
	if err != nil {
		return nil, err
	}
	most := requests
	if r.Ordered {
		most = keyedRequests
	}
	return &sender{driver.NewRequests(&c.Life, most), c, name, r.Ordered, r.Topology == driver.Assume}, nil
}

func (c *conn) Declare(ctx context.Context, r driver.SubscribeRequest) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	_, err := c.prepare(ctx, &r)
	return err
}

func (c *conn) Subscribe(ctx context.Context, r driver.SubscribeRequest) (driver.Session, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	p, err := c.plan(&r)
	if err != nil {
		return nil, err
	}
	if r.Broadcast() {
		if err := c.makeTemporary(ctx, &p); err != nil {
			return nil, err
		}
	}
	return newSession(c, p), nil
}

// tally finds a subscription's counts. They outlive sessions.
func (c *conn) tally(subscription string) *tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[subscription]
	if t == nil {
		t = &tally{}
		c.tallies[subscription] = t
	}
	return t
}

func (c *conn) Close(context.Context) error {
	c.End(errClosed)
	_ = c.client.Subscriptions.Close() // an error says that it is closing
	_ = c.client.Topics.Close()
	return nil
}
