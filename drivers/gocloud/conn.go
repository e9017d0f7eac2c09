package gocloud

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// conn is one connection of a Broker. It keeps what it opened: closing a topic or a
// session does not shut down what others share, and what gocloud.dev has fetched ahead
// waits for the next session.
type conn struct {
	driver.Life
	config   *Config
	counts   *driver.Tally // attempts of what went back, by marks
	broker   Broker
	watching driver.Calls
	closing  sync.Once

	opening chan struct{} // holds a token while something is opened, so that nothing is twice

	mu      sync.Mutex
	topics  map[place]*cloud.Topic
	readers map[place]*reader
}

// A place is what a request is for.
type place struct {
	topic, group string
	kind         driver.Kind
	settings     Settings
}

var errClosed error = driver.Errorf(driver.CodeClosed, "gocloud: closed")

// at finds the place of a request, and refuses what nobody here can do.
func at(r *driver.TopicRequest, group string) (place, error) {
	p := place{topic: r.Topic, group: group, kind: r.Kind}
	if r.Ordered {
		return p, driver.Errorf(driver.CodeUnsupported, "gocloud: gocloud.dev keeps no order; leave Ordered out, or choose another broker")
	}
	for _, s := range r.Settings {
		set, ok := s.(Settings)
		if !ok {
			return p, driver.Errorf(driver.CodeInvalid, "gocloud: a setting of type %T is not of this driver; it knows Settings", s)
		}
		p.settings.merge(set)
	}
	return p, nil
}

func (p place) String() string {
	if p.group == "" {
		return fmt.Sprintf("%s %q", p.kind, p.topic)
	}
	return fmt.Sprintf("group %q of %q", p.group, p.topic)
}

// Client returns the Broker.
func (c *conn) Client() any { return c.broker }

// shared finds what is open at a place, or opens it. look asks the broker even so, which
// looks or declares as the request says.
func shared[T comparable, G any](ctx context.Context, c *conn, known map[place]T, p place, look bool, open func() (G, error), keep func(G) T) (T, error) {
	select {
	case c.opening <- struct{}{}:
		defer func() { <-c.opening }()
	case <-c.Done():
		var none T
		return none, c.Err()
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
	c.mu.Lock()
	one, ok := known[p]
	c.mu.Unlock()
	if err := c.Err(); err != nil || ok && !look {
		return one, err
	}
	opened, err := open()
	if err != nil || ok {
		return one, fail(p.String(), err) // a second one is the broker's
	}
	one = keep(opened)
	c.mu.Lock()
	defer c.mu.Unlock()
	known[p] = one
	return one, nil
}

// discard forgets what has failed, so that the next is opened anew.
func discard[T comparable](c *conn, known map[place]T, p place, one T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known[p] != one {
		return false
	}
	delete(known, p)
	return true
}

func (c *conn) Topic(ctx context.Context, r driver.TopicRequest) (driver.Topic, error) {
	p, err := at(&r, "")
	if err != nil {
		return nil, err
	}
	t, err := shared(ctx, c, c.topics, p, r.Topology != driver.Assume,
		func() (*cloud.Topic, error) { return c.broker.Topic(ctx, r) }, func(t *cloud.Topic) *cloud.Topic { return t })
	if err != nil {
		return nil, err
	}
	return newSender(c, p, t), nil
}

func (c *conn) Declare(ctx context.Context, r driver.SubscribeRequest) error {
	if r.Broadcast() {
		_, err := at(&r.TopicRequest, "")
		return err // its subscription is opened with its session
	}
	_, err := c.reader(ctx, &r, r.Topology != driver.Assume)
	return err
}

// reader opens what a request asks for.
func (c *conn) reader(ctx context.Context, r *driver.SubscribeRequest, look bool) (*reader, error) {
	p, err := at(&r.TopicRequest, r.Group)
	if err != nil {
		return nil, err
	}
	if r.DeadLetter != nil {
		return nil, driver.Errorf(driver.CodeUnsupported, "gocloud: gocloud.dev dead-letters nothing; use middleware.DeadLetter")
	}
	open := func() (*cloud.Subscription, error) { return c.broker.Subscription(ctx, *r) }
	keep := func(s *cloud.Subscription) *reader { return newReader(c, p, s, r.Broadcast()) }
	if !r.Broadcast() {
		return shared(ctx, c, c.readers, p, look, open, keep)
	}
	s, err := open()
	if err != nil {
		return nil, fail(p.String(), err)
	}
	return keep(s), nil
}

func (c *conn) Subscribe(ctx context.Context, r driver.SubscribeRequest) (driver.Session, error) {
	from, err := c.reader(ctx, &r, false)
	if err != nil {
		return nil, err
	}
	s := newSession(c, from)
	from.join(s)
	return s, nil
}

func (c *conn) Close(ctx context.Context) (err error) {
	c.closing.Do(func() {
		select {
		case c.opening <- struct{}{}: // to stay: what is being opened is the broker's to close, and nothing is any more
		case <-ctx.Done():
		}
		err = fail("close", c.broker.Close(ctx)) // sends what waits to be acknowledged
		c.End(errClosed)
		c.mu.Lock()
		readers := slices.Collect(maps.Values(c.readers)) // the map stays: readers that fail look into it
		c.mu.Unlock()
		for _, r := range readers {
			r.run.Wait()
		}
		c.watching.Wait(ctx)
	})
	return err
}
