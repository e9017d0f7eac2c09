package pubsub

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Capabilities is what a broker can do. See driver.Capabilities.
type Capabilities = driver.Capabilities

// Client is a connection to one broker, shared by its publishers and
// subscribers. Its methods may be called concurrently.
type Client struct {
	config     clientConfig
	connection *connection

	mu     sync.Mutex
	closed bool
	ended  chan struct{} // closed when Close has returned
	open   []closer      // publishers and subscriptions, in the order of opening
}

type closer interface {
	Close(ctx context.Context) error
}

// Open connects to the broker that a URL names. The URL's scheme chooses the
// driver, whose package must be imported; its parameters are the driver's.
//
// Open dials once. Bad credentials, a broker that is away, or a URL that makes no
// sense are errors at once; only what is lost later is reached again by itself.
func Open(ctx context.Context, url string, options ...ClientOption) (*Client, error) {
	d, err := driver.FromURL(url)
	if err != nil {
		return nil, fail("open", "", err)
	}
	return New(ctx, d, options...)
}

// New connects through a driver, for programs that have chosen theirs. It is
// otherwise as Open.
func New(ctx context.Context, d driver.Driver, options ...ClientOption) (*Client, error) {
	if d == nil {
		return nil, fail("open", "", invalid("driver is nil"))
	}
	c := &Client{config: clientConfig{logger: slog.Default()}, ended: make(chan struct{})}
	for _, o := range options {
		if o == nil {
			return nil, fail("open", "", invalid("client option is nil"))
		}
		if err := o.applyClient(&c.config); err != nil {
			return nil, fail("open", "", err)
		}
	}
	c.connection = newConnection(d, &c.config)
	if err := c.connection.dial(ctx); err != nil {
		return nil, fail("open", "", err)
	}
	return c, nil
}

// Capabilities tells what the broker can do, as of the last connection.
func (c *Client) Capabilities() Capabilities { return c.connection.capabilities() }

// Backlog is how much waits for a group. See driver.Backlog.
type Backlog = driver.Backlog

// Backlog tells how much waits for a group of a topic; the group is empty for a
// queue. Options say what the topic is. It fails with CodeUnsupported where the
// broker does not tell.
func (c *Client) Backlog(ctx context.Context, topic, group string, options ...TopicOption) (Backlog, error) {
	config, err := groupConfig(topic, group, options)
	if err != nil {
		return Backlog{}, fail("backlog", topic, err)
	}
	backlog, err := c.backlog(ctx, config.request())
	return backlog, fail("backlog", config.target(), err)
}

func (c *Client) backlog(ctx context.Context, r driver.SubscribeRequest) (Backlog, error) {
	conn, err := c.connection.get(ctx)
	if err != nil {
		return Backlog{}, err
	}
	b, ok := conn.(driver.Backlogger)
	if !ok || !conn.Capabilities().Backlog {
		return Backlog{}, unsupported(conn.Capabilities(), "tell a backlog")
	}
	return b.Backlog(ctx, r)
}

// Subscriptions lists the subscriptions that are open on the client, in the order of
// their opening.
func (c *Client) Subscriptions() []*Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*Subscription
	for _, o := range c.open {
		if s, ok := o.(*Subscription); ok {
			list = append(list, s)
		}
	}
	return list
}

// Raw returns the client of the broker's own library, for what the portable API
// does not tell; each driver's package documents its type. It is the one of the
// present connection: do not close it, and ask again instead of keeping it, for it
// dies with the connection. It fails with CodeUnsupported where there is none.
// A message's own is Delivery.Raw.
func (c *Client) Raw(ctx context.Context) (any, error) {
	conn, err := c.connection.get(ctx)
	if err != nil {
		return nil, fail("raw", "", err)
	}
	r, ok := conn.(driver.Revealer)
	if !ok {
		return nil, fail("raw", "", unsupported(conn.Capabilities(), "show a client of its own"))
	}
	return r.Client(), nil
}

// Close closes what was opened on the client, subscriptions first, since their
// handlers may publish, then publishers, which send what they have taken, then
// the connection. ctx bounds the waiting: what is not confirmed when it ends
// fails. A Receive that still runs is ended and drained. A second Close waits within
// its ctx for the first.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return fail("close", "", await(ctx, c.ended))
	}
	defer close(c.ended)
	c.closed = true
	open := c.open
	c.open = nil
	c.mu.Unlock()

	var errs []error
	var wait sync.WaitGroup
	results := make([]error, len(open))
	for i, o := range open {
		if _, ok := o.(*Subscription); ok {
			wait.Go(func() { results[i] = o.Close(ctx) })
		}
	}
	wait.Wait()
	for i, o := range open {
		if _, ok := o.(*Topic); ok {
			wait.Go(func() { results[i] = o.Close(ctx) })
		}
	}
	wait.Wait()
	errs = append(errs, results...)
	errs = append(errs, fail("close", "", c.connection.close(ctx)))
	return errors.Join(errs...)
}

// adopt remembers what Close has to close; false if the client is closed.
func (c *Client) adopt(o closer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.open = append(c.open, o)
	return true
}

// release forgets what closed by itself.
func (c *Client) release(o closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.open {
		if c.open[i] == o {
			c.open = append(c.open[:i], c.open[i+1:]...)
			return
		}
	}
}

// unsupported says what a broker cannot do.
func unsupported(c Capabilities, need string) error {
	return driver.Errorf(CodeUnsupported, "%s cannot %s", c.String(), need)
}

// target is how errors and logs name a subscription.
func (c *subscriberConfig) target() string {
	switch {
	case c.group != "":
		return c.Topic + "/" + c.group
	case c.broadcast:
		return c.Topic + " (broadcast)"
	default:
		return c.Topic
	}
}
