package memory

import (
	"context"
	"sync"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// conn is a connection: what it opened dies with it.
type conn struct {
	driver.Life
	broker *Broker
	closed func() // of a named broker; may be nil

	mu       sync.Mutex
	senders  map[*sender]bool
	sessions map[*session]bool
}

var errClosed error = driver.Errorf(driver.CodeClosed, "memory: closed")

// Client returns the *Broker.
func (c *conn) Client() any { return c.broker }

func (c *conn) Capabilities() driver.Capabilities { return c.broker.caps }

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
	t, err := c.broker.topic(&r)
	if err != nil && !(r.Topology == driver.Assume && driver.CodeOf(err) == driver.CodeNotFound) {
		return nil, err
	}
	s := &sender{Life: driver.NewLife(nil), conn: c, request: r, topic: t}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.Err(); err != nil {
		return nil, err
	}
	c.senders[s] = true
	return s, nil
}

func (c *conn) Declare(ctx context.Context, r driver.SubscribeRequest) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	_, _, err := c.declare(&r)
	return err
}

// declare makes or verifies a subscription's topic, group and dead letter. The
// group of a broadcast is nil.
func (c *conn) declare(r *driver.SubscribeRequest) (t *topic, g *group, err error) {
	if r.DeadLetter != nil && !c.broker.caps.DeadLetter {
		return nil, nil, driver.Errorf(driver.CodeUnsupported, "%s cannot dead-letter by itself", c.broker.caps.String())
	}
	if t, err = c.broker.topic(&r.TopicRequest); err != nil {
		return nil, nil, err
	}
	if r.DeadLetter != nil {
		dead := driver.TopicRequest{Topic: r.DeadLetter.Topic, Kind: driver.Queue, Topology: r.Topology}
		if _, err := c.broker.topic(&dead); err != nil {
			return nil, nil, err
		}
	}
	if r.Broadcast() {
		return t, nil, nil
	}
	g, err = t.group(r.Group, r.Topology == driver.Create)
	return t, g, err
}

func (c *conn) Subscribe(ctx context.Context, r driver.SubscribeRequest) (driver.Session, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	t, g, err := c.declare(&r)
	if err != nil {
		return nil, err
	}
	s := newSession(c, r, g)
	c.mu.Lock()
	defer c.mu.Unlock() // the session is whole before the connection's end can find it
	if err := c.Err(); err != nil {
		return nil, err
	}
	if g == nil {
		s.group = t.broadcast()
	}
	s.group.join(s)
	c.sessions[s] = true
	return s, nil
}

// Backlog counts what a group has not settled.
func (c *conn) Backlog(ctx context.Context, r driver.SubscribeRequest) (driver.Backlog, error) {
	if err := c.ready(ctx); err != nil {
		return driver.Backlog{}, err
	}
	r.Topology = driver.Verify
	_, g, err := c.declare(&r)
	if err != nil {
		return driver.Backlog{}, err
	}
	g.mu.Lock()
	defer g.unlock()
	return driver.Backlog{Ready: int64(g.kept() - g.out.count), Unsettled: int64(g.out.count)}, nil
}

func (c *conn) Close(context.Context) error {
	c.broker.mu.Lock()
	delete(c.broker.conns, c)
	c.broker.mu.Unlock()
	c.end(errClosed, true)
	return nil
}

// die ends a connection that was cut.
func (c *conn) die(err error) { c.end(err, false) }

// end ends the connection and all that is open on it. What sessions return
// gracefully is not counted as an attempt.
func (c *conn) end(err error, graceful bool) {
	c.mu.Lock()
	c.End(err)
	senders, sessions, closed := c.senders, c.sessions, c.closed
	c.senders, c.sessions = nil, nil
	if graceful {
		c.closed = nil
	}
	c.mu.Unlock()
	for s := range senders {
		s.end(err)
	}
	for s := range sessions {
		s.end(err, graceful)
	}
	if graceful && closed != nil {
		closed() // perhaps it was dead before
	}
}

func (c *conn) forgetSender(s *sender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.senders, s)
}

func (c *conn) forgetSession(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}
