package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Driver connects to a Kafka cluster.
type Driver struct{ config Config }

// New makes a driver. It does not connect.
func New(c Config) (*Driver, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Driver{config: c}, nil
}

// Open connects to the cluster.
func (d *Driver) Open(ctx context.Context) (driver.Conn, error) {
	var late driver.Calls // nobody waits for it any more
	client, err := driver.Within(ctx, &late, func() (sarama.Client, error) {
		return sarama.NewClient(d.config.Brokers, d.config.sarama())
	}, func(c sarama.Client) { _ = c.Close() })
	if err != nil {
		return nil, classify(connecting(err), err)
	}
	life := driver.NewLife(nil)
	return &conn{
		Life: life, calls: driver.NewCalls(&life), config: d.config, client: client,
		topics: map[*topic]bool{}, sessions: map[*session]bool{},
	}, nil
}

// connecting says what was done when a connection failed. A broker that hangs up, and tells
// nothing, most often has a listener for TLS or a login, or for neither.
func connecting(err error) string {
	var network *net.OpError
	if _, answer := codeOf(err); answer != sarama.ErrNoError || !errors.Is(err, sarama.ErrOutOfBrokers) || errors.As(err, &network) && network.Op == "dial" {
		return "kafka: connect"
	}
	return "kafka: connect: the brokers hang up; check that tls, sasl and user are what this listener wants"
}

// conn is a connection to the cluster. Its client mends by itself: no receipt dies
// with a network connection, only with a claim.
type conn struct {
	driver.Life
	config Config
	client sarama.Client // for administration and commits
	calls  *driver.Calls // of the client

	mu       sync.Mutex
	topics   map[*topic]bool
	sessions map[*session]bool
}

func (c *conn) Capabilities() driver.Capabilities {
	delay := driver.Unlimited
	if c.config.DelayFrom == 0 {
		delay = 0
	}
	return driver.Capabilities{
		Broker: "Kafka",
		Groups: true, Queues: true, Broadcast: true, Ordered: true,
		RetryDelay: delay, RetryLeast: c.config.DelayFrom, BroadcastHolds: true,
		Attempts:     driver.AtMost,
		Hold:         driver.Unlimited,
		MessageBytes: c.config.MessageBytes,
		InFlight:     3000, // what the note of one partition takes
		SendBatch:    driver.Batch{Messages: 1000, Bytes: c.config.MessageBytes},
		// A commit says what is done in all partitions, however many messages that are.
		SettleBatch:   driver.Batch{Linger: 20 * time.Millisecond},
		SettleCommits: true,
		Backlog:       true,
	}
}

func (c *conn) Topic(ctx context.Context, r driver.TopicRequest) (driver.Topic, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	if err := c.ensure(ctx, &r); err != nil {
		return nil, err
	}
	t, err := driver.Within(ctx, c.calls, func() (*topic, error) { return newTopic(ctx, c, r.Topic) }, func(t *topic) { _ = t.end(errClosed) })
	if err != nil {
		return nil, classify("kafka: open topic "+r.Topic, err)
	}
	c.mu.Lock()
	err = c.Err()
	if err == nil {
		c.topics[t] = true
	}
	c.mu.Unlock()
	if err != nil {
		_ = t.end(err)
		return nil, err
	}
	return t, nil
}

func (c *conn) Declare(ctx context.Context, r driver.SubscribeRequest) error {
	if err := c.Err(); err != nil {
		return err
	}
	switch {
	case r.DeadLetter != nil:
		return errorf(driver.CodeUnsupported, "the broker cannot dead-letter by itself; use middleware.DeadLetter")
	case r.Lease > 0:
		return errorf(driver.CodeUnsupported, "deliveries have no lease; leave it out")
	case r.Kind == driver.Queue && r.Group != "":
		return errorf(driver.CodeInvalid, "a queue has no groups")
	}
	if err := c.ensure(ctx, &r.TopicRequest); err != nil {
		return err
	}
	if d, ok := c.delaysOf(&r); ok {
		if err := c.ensureDelays(ctx, d, r.Topology); err != nil {
			return err
		}
	}
	if r.Kind == driver.Queue || r.Group == "" || r.Topology == driver.Assume {
		return nil // a queue's group begins with the oldest message
	}
	_, err := driver.Within(ctx, c.calls, func() (struct{}, error) { return struct{}{}, c.settled(ctx, func() error { return c.pin(&r) }) }, nil)
	return err
}

func (c *conn) Subscribe(ctx context.Context, r driver.SubscribeRequest) (driver.Session, error) {
	if d, ok := c.delaysOf(&r); ok {
		return c.joint(ctx, r, d)
	}
	s, err := c.subscribe(ctx, r)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *conn) subscribe(ctx context.Context, r driver.SubscribeRequest) (*session, error) {
	s := newSession(c, r)
	c.mu.Lock()
	err := c.Err()
	if err == nil {
		c.sessions[s] = true
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	_, err = driver.Within(ctx, c.calls, func() (struct{}, error) {
		if s.group == "" {
			return struct{}{}, s.broadcast(ctx)
		}
		if err := c.settled(ctx, func() error { return c.inRange(s.group, r.Topic) }); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.join(ctx)
	}, func(struct{}) { _ = s.Close(context.Background()) })
	if err != nil {
		c.forget(s)
		return nil, err
	}
	return s, nil
}

// Backlog counts what a group has not done.
func (c *conn) Backlog(ctx context.Context, r driver.SubscribeRequest) (driver.Backlog, error) {
	if err := c.Err(); err != nil {
		return driver.Backlog{}, err
	}
	if r.Broadcast() {
		return driver.Backlog{}, errorf(driver.CodeInvalid, "a broadcast has no backlog to ask for")
	}
	return driver.Within(ctx, c.calls, func() (driver.Backlog, error) {
		b, err := c.lag(c.groupOf(&r), r.Topic)
		if d, ok := c.delaysOf(&r); ok && err == nil {
			for _, name := range []string{d.waiting, d.due} {
				more, err := c.lag(c.config.GroupPrefix+name, name)
				if err != nil {
					return b, err
				}
				b.Ready += more.Ready
			}
		}
		return b, err
	}, nil)
}

func (c *conn) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.Err() != nil {
		c.mu.Unlock()
		return nil
	}
	c.End(errClosed)
	topics, sessions := c.topics, c.sessions
	c.topics, c.sessions = nil, nil
	c.mu.Unlock()
	for t := range topics {
		_ = t.end(errClosed)
	}
	for s := range sessions {
		_ = s.Close(ctx)
	}
	err := c.client.Close()
	c.calls.Wait(ctx)
	if err != nil {
		return fmt.Errorf("kafka: close: %w", err)
	}
	return nil
}

func (c *conn) forget(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}

func (c *conn) forgetTopic(t *topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.topics, t)
}
