package pubsub

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// grace is how long an error that looks final is waited out once the broker had
// been reached: a failover answers "not found" and "denied" for a while.
const grace = time.Minute

// connection holds the current driver.Conn and opens the next when it is dead.
// All of a client's publishers and subscriptions share it, and so one backoff.
type connection struct {
	driver driver.Driver
	config *clientConfig

	turn chan struct{} // holds one token: whoever has it may dial

	mu       sync.Mutex
	conn     driver.Conn // perhaps dead
	caps     driver.Capabilities
	attempts int       // failed dials in a row
	since    time.Time // of the first of them
	closed   chan struct{}
}

func newConnection(d driver.Driver, config *clientConfig) *connection {
	c := &connection{driver: d, config: config, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	c.turn <- struct{}{}
	return c
}

func (c *connection) capabilities() driver.Capabilities {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.caps
}

// dial opens a connection once.
func (c *connection) dial(ctx context.Context) error {
	conn, err := c.driver.Open(ctx)
	if ctx.Err() != nil && err != nil {
		return err
	}
	c.mu.Lock()
	if err != nil {
		if c.attempts == 0 {
			c.since = time.Now()
		}
		c.attempts++
	} else {
		c.attempts = 0
		c.conn, c.caps = conn, conn.Capabilities()
	}
	info := ConnectInfo{Broker: c.caps.Broker, Attempts: c.attempts, Err: err}
	c.mu.Unlock()
	c.observe(info)
	return err
}

func (c *connection) observe(info ConnectInfo) {
	for _, h := range c.config.hooks.connect {
		h.OnConnect(info)
	}
	if info.Err != nil {
		c.config.logger.Warn("waybill: broker cannot be reached", "broker", info.Broker, "attempts", info.Attempts, "error", info.Err)
	}
}

// live returns the connection if it lives.
func (c *connection) live() driver.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	select {
	case <-c.conn.Done():
		return nil
	default:
		return c.conn
	}
}

// get returns a live connection. It dials with backoff until ctx ends, the
// client is closed, or an error that waiting cannot heal has lasted for the
// grace.
func (c *connection) get(ctx context.Context) (driver.Conn, error) {
	for {
		select {
		case <-c.closed:
			return nil, ErrClosed
		default:
		}
		if conn := c.live(); conn != nil {
			return conn, nil
		}
		select {
		case <-c.turn:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-c.closed:
			return nil, ErrClosed
		}
		err := c.redial(ctx)
		c.turn <- struct{}{}
		if err != nil {
			return nil, err
		}
	}
}

// redial is called by whoever has the turn.
func (c *connection) redial(ctx context.Context) error {
	if c.live() != nil {
		return nil
	}
	c.mu.Lock()
	dead := c.conn
	attempts := c.attempts
	c.mu.Unlock()
	if dead != nil && attempts == 0 {
		c.observe(ConnectInfo{Broker: dead.Capabilities().Broker, Err: driver.Wrap(CodeUnavailable, "connection lost", dead.Err())})
	}
	if attempts > 0 {
		if err := wait(ctx, c.config.backoff.Delay(attempts), c.closed); err != nil {
			return err
		}
	}
	err := c.dial(ctx)
	if err == nil {
		if dead != nil {
			_ = dead.Close(ctx) // frees what a dead connection may still hold
		}
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !CodeOf(err).Heals() && time.Since(c.since) > grace {
		return err
	}
	return nil
}

// close ends the connection for good.
func (c *connection) close(ctx context.Context) error {
	c.mu.Lock()
	conn := c.conn
	c.conn = nil
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	c.mu.Unlock()
	// Whoever dials now gives its turn back before the last look.
	select {
	case <-c.turn:
		c.mu.Lock()
		if conn == nil {
			conn = c.conn
		}
		c.conn = nil
		c.mu.Unlock()
	case <-ctx.Done():
	}
	if conn == nil {
		return nil
	}
	return conn.Close(ctx)
}

// wait waits for d, or until ctx ends or stop is closed.
func wait(ctx context.Context, d time.Duration, stop <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-stop:
		return ErrClosed
	}
}
