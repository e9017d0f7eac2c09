package memory

import (
	"context"
	"sync"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// conn is a connection: what it opened dies with it.
type conn struct {
	broker *Broker
	closed func() // of a named broker; may be nil
	done   chan struct{}

	mu       sync.Mutex
	err      error
	senders  map[*sender]bool
	sessions map[*session]bool
}

var errClosed error = driver.Errorf(driver.CodeClosed, "memory: closed")

func (c *conn) Capabilities() driver.Capabilities { return c.broker.caps }

func (c *conn) Done() <-chan struct{} { return c.done }

func (c *conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
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
	t, err := c.broker.topic(&r)
	if err != nil && !(r.Topology == driver.Assume && driver.CodeOf(err) == driver.CodeNotFound) {
		return nil, err
	}
	s := &sender{conn: c, request: r, topic: t, done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
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
	b := c.broker
	switch {
	case r.Kind == driver.Event && r.Group != "" && !b.caps.Groups:
		return nil, nil, b.cannot("have groups")
	case r.Broadcast() && !b.caps.Broadcast:
		return nil, nil, b.cannot("broadcast")
	case r.Kind == driver.Queue && r.Group != "":
		return nil, nil, driver.Errorf(driver.CodeInvalid, "a queue has no groups")
	case r.DeadLetter != nil && !b.caps.DeadLetter:
		return nil, nil, b.cannot("dead-letter by itself")
	case r.Lease > 0 && b.caps.Lease == 0:
		return nil, nil, b.cannot("lease deliveries")
	}
	if t, err = b.topic(&r.TopicRequest); err != nil {
		return nil, nil, err
	}
	if r.DeadLetter != nil {
		dead := driver.TopicRequest{Topic: r.DeadLetter.Topic, Kind: driver.Queue, Topology: r.Topology}
		if _, err := b.topic(&dead); err != nil {
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
	if c.err != nil {
		c.mu.Unlock()
		return nil, c.err
	}
	c.sessions[s] = true
	c.mu.Unlock()
	if g == nil {
		s.group = t.broadcast()
	}
	s.group.join(s)
	return s, nil
}

// Backlog counts what a group has not settled.
func (c *conn) Backlog(ctx context.Context, r driver.SubscribeRequest) (driver.Backlog, error) {
	if err := c.ready(ctx); err != nil {
		return driver.Backlog{}, err
	}
	if !c.broker.caps.Backlog {
		return driver.Backlog{}, c.broker.cannot("tell a backlog")
	}
	r.Topology = driver.Verify
	_, g, err := c.declare(&r)
	if err != nil {
		return driver.Backlog{}, err
	}
	if g == nil {
		return driver.Backlog{}, driver.Errorf(driver.CodeInvalid, "a broadcast has no backlog to ask for")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return driver.Backlog{Ready: g.kept.Load() - int64(g.out.count), Unsettled: int64(g.out.count)}, nil
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
	if c.err != nil {
		closed := c.closed
		if graceful {
			c.closed = nil
		}
		c.mu.Unlock()
		if graceful && closed != nil {
			closed() // a dead connection that is closed now
		}
		return
	}
	c.err = err
	senders, sessions, closed := c.senders, c.sessions, c.closed
	c.senders, c.sessions = nil, nil
	if graceful {
		c.closed = nil
	}
	c.mu.Unlock()
	close(c.done)
	for s := range senders {
		s.end(err)
	}
	for s := range sessions {
		s.end(err, graceful)
	}
	if graceful && closed != nil {
		closed()
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
