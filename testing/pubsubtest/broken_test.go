package pubsubtest_test

import (
	"context"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// broken is a driver that is wrong in one way: what is set takes the place of the
// good one's method.
type broken struct {
	driver.Driver

	capabilities func(*driver.Capabilities)
	topic        func(*driver.TopicRequest)
	subscribe    func(*driver.SubscribeRequest)
	open         func(driver.Conn, driver.TopicRequest) (driver.Topic, error)
	done         <-chan struct{}
	send         func(t driver.Topic, ctx context.Context, b []driver.Message, fate func(int, driver.Fate, error))
	credit       func(s driver.Session, messages, bytes int)
	receive      func(s driver.Session, ctx context.Context, in *driver.Intake) error
	settle       func(s driver.Session, ctx context.Context, b []driver.Settlement)
	commit       func(s driver.Session, ctx context.Context) error
	extend       func(s driver.Session, ctx context.Context, b []*driver.Receipt, d time.Duration)
	quiesce      func(s driver.Session, ctx context.Context) error
	close        func(s driver.Session, ctx context.Context) error
}

func (b *broken) Open(ctx context.Context) (driver.Conn, error) {
	c, err := b.Driver.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &brokenConn{c, b}, nil
}

type brokenConn struct {
	driver.Conn
	*broken
}

func (c *brokenConn) Open(context.Context) (driver.Conn, error) { panic("not a driver") }

func (c *brokenConn) Capabilities() driver.Capabilities {
	caps := c.Conn.Capabilities()
	if c.capabilities != nil {
		c.capabilities(&caps)
	}
	return caps
}

func (c *brokenConn) Done() <-chan struct{} {
	if c.done != nil {
		return c.done
	}
	return c.Conn.Done()
}

func (c *brokenConn) Topic(ctx context.Context, r driver.TopicRequest) (driver.Topic, error) {
	if c.topic != nil {
		c.topic(&r)
	}
	if c.open != nil {
		return c.open(c.Conn, r)
	}
	t, err := c.Conn.Topic(ctx, r)
	if err != nil {
		return nil, err
	}
	return &brokenTopic{t, c.broken}, nil
}

func (c *brokenConn) request(r *driver.SubscribeRequest) {
	if c.topic != nil {
		c.topic(&r.TopicRequest)
	}
	if c.subscribe != nil {
		c.subscribe(r)
	}
}

func (c *brokenConn) Declare(ctx context.Context, r driver.SubscribeRequest) error {
	c.request(&r)
	return c.Conn.Declare(ctx, r)
}

func (c *brokenConn) Subscribe(ctx context.Context, r driver.SubscribeRequest) (driver.Session, error) {
	c.request(&r)
	s, err := c.Conn.Subscribe(ctx, r)
	if err != nil {
		return nil, err
	}
	return &brokenSession{s, c.broken}, nil
}

func (c *brokenConn) Backlog(ctx context.Context, r driver.SubscribeRequest) (driver.Backlog, error) {
	b, err := c.Conn.(driver.Backlogger).Backlog(ctx, r)
	b.Ready /= 2
	return b, err
}

type brokenTopic struct {
	driver.Topic
	*broken
}

func (t *brokenTopic) Close(ctx context.Context) error { return t.Topic.Close(ctx) }

func (t *brokenTopic) Done() <-chan struct{} { return t.Topic.Done() }

func (t *brokenTopic) Send(ctx context.Context, b []driver.Message, fate func(int, driver.Fate, error)) {
	if t.send != nil {
		t.send(t.Topic, ctx, b, fate)
		return
	}
	t.Topic.Send(ctx, b, fate)
}

type brokenSession struct {
	driver.Session
	*broken
}

func (s *brokenSession) Credit(messages, bytes int) {
	if s.credit != nil {
		s.credit(s.Session, messages, bytes)
		return
	}
	s.Session.Credit(messages, bytes)
}

func (s *brokenSession) Receive(ctx context.Context, in *driver.Intake) error {
	if s.receive != nil {
		return s.receive(s.Session, ctx, in)
	}
	return s.Session.Receive(ctx, in)
}

func (s *brokenSession) Settle(ctx context.Context, b []driver.Settlement) {
	if s.settle != nil {
		s.settle(s.Session, ctx, b)
		return
	}
	s.Session.Settle(ctx, b)
}

func (s *brokenSession) Commit(ctx context.Context) error {
	if s.commit != nil {
		return s.commit(s.Session, ctx)
	}
	return s.Session.(driver.Committer).Commit(ctx)
}

func (s *brokenSession) Extend(ctx context.Context, b []*driver.Receipt, d time.Duration) {
	if s.extend != nil {
		s.extend(s.Session, ctx, b, d)
		return
	}
	s.Session.Extend(ctx, b, d)
}

func (s *brokenSession) Quiesce(ctx context.Context) error {
	if s.quiesce != nil {
		return s.quiesce(s.Session, ctx)
	}
	return s.Session.Quiesce(ctx)
}

func (s *brokenSession) Close(ctx context.Context) error {
	if s.close != nil {
		return s.close(s.Session, ctx)
	}
	return s.Session.Close(ctx)
}

// verbs settles with other verbs than were asked for, and says the good outcomes.
func verbs(change func(*driver.Settlement)) func(driver.Session, context.Context, []driver.Settlement) {
	return func(s driver.Session, ctx context.Context, b []driver.Settlement) {
		changed := make([]driver.Settlement, len(b))
		copy(changed, b)
		for i := range changed {
			change(&changed[i])
		}
		s.Settle(ctx, changed)
		for i := range b {
			b[i].Outcome, b[i].OutcomeErr = changed[i].Outcome, changed[i].OutcomeErr
		}
	}
}

// deliveries changes what Receive gives.
func deliveries(change func(*driver.Delivery)) func(driver.Session, context.Context, *driver.Intake) error {
	return func(s driver.Session, ctx context.Context, in *driver.Intake) error {
		err := s.Receive(ctx, in)
		for i := range in.Deliveries {
			change(&in.Deliveries[i])
		}
		return err
	}
}

// messages changes what Send takes.
func messages(change func(*driver.Message)) func(driver.Topic, context.Context, []driver.Message, func(int, driver.Fate, error)) {
	return func(t driver.Topic, ctx context.Context, b []driver.Message, fate func(int, driver.Fate, error)) {
		changed := make([]driver.Message, len(b))
		copy(changed, b)
		for i := range changed {
			change(&changed[i])
		}
		t.Send(ctx, changed, fate)
	}
}
