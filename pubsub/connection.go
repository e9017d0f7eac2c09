package pubsub

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// young is what a connection is that does not count as success: an overloaded broker, or
// something before it, may take connections and drop them.
const young = time.Second

// connection holds the current driver.Conn and opens the next when it is dead.
// All of a client's publishers and subscriptions share it, and so one backoff.
type connection struct {
	driver driver.Driver
	config *clientConfig

	turn chan struct{} // holds one token: whoever has it may dial

	mu       sync.Mutex
	conn     driver.Conn // perhaps dead
	caps     driver.Capabilities
	opened   time.Time // when conn was
	brief    int       // connections in a row that died young
	attempts int       // failed dials in a row
	last     error     // why there is no connection
	trouble  trouble
	final    bool // the last error is
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
		c.attempts++
		c.last, c.final = err, c.trouble.lasts(err)
	} else {
		c.attempts, c.last, c.trouble = 0, nil, trouble{}
		c.conn, c.caps, c.opened = conn, conn.Capabilities(), time.Now()
	}
	info := ConnectInfo{Broker: c.caps.Broker, Attempts: c.attempts, Err: err}
	first := c.conn == nil
	c.mu.Unlock()
	c.observe(info, !first) // Open returns the first one's error
	return err
}

// observe tells the hooks, and the logs of what nobody else is told.
func (c *connection) observe(info ConnectInfo, log bool) {
	for _, h := range c.config.hooks.connect {
		h.OnConnect(info)
	}
	if info.Err != nil && log {
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
			return nil, errClientClosed
		default:
		}
		if conn := c.live(); conn != nil {
			return conn, nil
		}
		select {
		case <-c.turn:
		case <-ctx.Done():
			return nil, c.canceled(ctx)
		case <-c.closed:
			return nil, errClientClosed
		}
		err := c.redial(ctx)
		c.abandon(ctx)
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
	if dead != nil && attempts == 0 {
		if c.brief++; time.Since(c.opened) > young {
			c.brief = 0
		}
		c.last = dead.Err()
	}
	failures := attempts + max(c.brief-1, 0) // once may happen
	c.mu.Unlock()
	if dead != nil && attempts == 0 {
		c.observe(ConnectInfo{Broker: dead.Capabilities().Broker, Err: driver.Wrap(CodeUnavailable, "connection lost", dead.Err())}, true)
	}
	if failures > 0 {
		if err := wait(ctx, c.config.backoff.Delay(failures), c.closed); err != nil {
			if ctx.Err() != nil {
				return c.canceled(ctx)
			}
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
		return c.canceled(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final {
		return err
	}
	return nil
}

// openings is how often a topic or a subscription is opened until an error that waiting
// heals is told.
const openings = 4

// open opens something on a live connection. A broker that is busy is asked again, and one
// whose connection was lost meanwhile on the next.
func (c *connection) open(ctx context.Context, open func(driver.Conn) error) error {
	for tries := 1; ; tries++ {
		conn, err := c.get(ctx)
		if err != nil {
			return err
		}
		err = open(conn)
		if err == nil || tries == openings || ctx.Err() != nil || !CodeOf(err).Heals() {
			return err
		}
		c.config.logger.Warn("waybill: what is to be opened cannot be, trying again", "tries", tries, "error", err)
		switch waited := wait(ctx, c.config.backoff.Delay(tries), c.closed); {
		case ctx.Err() != nil:
			return driver.Wrap(CodeCanceled, "was not opened in time", errors.Join(waited, err))
		case waited != nil:
			return waited
		}
	}
}

// canceled is the error of whoever waited in vain, with why the broker was not reached.
func (c *connection) canceled(ctx context.Context) error {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	if last == nil {
		return context.Cause(ctx)
	}
	return driver.Wrap(CodeCanceled, "broker not reached", errors.Join(context.Cause(ctx), last))
}

// abandon closes a connection that was made after close had given up waiting for it.
func (c *connection) abandon(ctx context.Context) {
	select {
	case <-c.closed:
	default:
		return
	}
	c.mu.Lock()
	conn := c.conn
	c.conn = nil
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close(ctx)
	}
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
		return errClientClosed
	}
}

// await waits until done is closed, or ctx ends.
func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
