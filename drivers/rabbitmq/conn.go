package rabbitmq

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// link is one AMQP connection.
type link struct {
	*amqp.Connection
	socket *socket
	closed chan *amqp.Error
}

// dial connects and logs in, once.
func (c *Config) dial(ctx context.Context, address, role string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, dialFailure(address, c.TLS != nil, err)
	}
	if c.TLS != nil {
		config := c.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(address)
		}
		secured := tls.Client(raw, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, dialFailure(address, true, err)
		}
		raw = secured
	}
	// The client knows no contexts: the end of ours closes the socket beneath it.
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	l := &link{socket: &socket{Conn: raw}}
	auth := []amqp.Authentication{&amqp.PlainAuth{Username: c.Username, Password: c.Password}}
	if c.External {
		auth = []amqp.Authentication{&amqp.ExternalAuth{}}
	}
	properties := amqp.NewConnectionProperties()
	properties["connection_name"] = c.Name + " (" + role + ")"
	l.Connection, err = amqp.Open(l.socket, amqp.Config{
		SASL: auth, Vhost: c.VHost, Locale: "en_US", FrameSize: frameSize, Heartbeat: c.Heartbeat, Properties: properties,
	})
	if !stop() || err != nil {
		_ = raw.Close()
		if ctx.Err() != nil {
			err = driver.Wrap(driver.CodeUnavailable, "no answer", context.Cause(ctx))
		}
		return nil, dialFailure(address, c.TLS != nil, err)
	}
	l.closed = l.NotifyClose(make(chan *amqp.Error, 1))
	return l, nil
}

// end closes a link, by force when ctx ends.
func (l *link) end(ctx context.Context) {
	stop := context.AfterFunc(ctx, l.cut)
	defer stop()
	_ = l.Close()
}

// cut breaks a link.
func (l *link) cut() { _ = l.socket.Conn.Close() }

// conn is a driver.Conn: a connection for publishing, which the broker may block, and one
// for everything else.
type conn struct {
	driver.Life
	config   *Config
	version  version
	caps     driver.Capabilities
	outgoing *link
	incoming *link
	clear    atomic.Pointer[chan struct{}] // closed while the broker takes messages
	calls    *driver.Calls                 // the client's, and others that Close waits for
	copier   copier

	mu     sync.Mutex
	delays map[string]time.Time // delay queues, and when they were declared
}

// Open connects to the next address.
func (d *Driver) Open(ctx context.Context) (driver.Conn, error) {
	n := d.next.Load()
	address := d.config.Addresses[int(n)%len(d.config.Addresses)]
	c, err := d.config.open(ctx, address)
	if err != nil {
		d.next.CompareAndSwap(n, n+1)
		return nil, err
	}
	if d.opened != nil {
		d.opened(c)
	}
	return c, nil
}

func (c *Config) open(ctx context.Context, address string) (*conn, error) {
	incoming, err := c.dial(ctx, address, "consumer")
	if err != nil {
		return nil, err
	}
	outgoing, err := c.dial(ctx, address, "publisher")
	if err != nil {
		incoming.end(ctx)
		return nil, err
	}
	text, _ := incoming.Properties["version"].(string)
	v := parseVersion(text)
	life := driver.NewLife(nil)
	k := &conn{
		config: c, version: v, caps: c.capabilities(v), incoming: incoming, outgoing: outgoing,
		Life: life, calls: driver.NewCalls(&life), copier: copier{room: make(chan struct{}, c.Unconfirmed)}, delays: map[string]time.Time{},
	}
	clear := make(chan struct{})
	close(clear)
	k.clear.Store(&clear)
	k.calls.Go(k.watch)
	return k, nil
}

// watch learns of the connection's end, and of the broker's alarms.
func (c *conn) watch() {
	blockings := c.outgoing.NotifyBlocked(make(chan amqp.Blocking, 1))
	blocked := false
	for {
		select {
		case b, ok := <-blockings:
			switch {
			case !ok:
				blockings = nil
			case b.Active && !blocked:
				clear := make(chan struct{})
				c.clear.Store(&clear)
			case !b.Active && blocked:
				close(*c.clear.Load())
			}
			blocked = b.Active
		case e := <-c.incoming.closed:
			c.die(e)
			return
		case e := <-c.outgoing.closed:
			c.die(e)
			return
		}
	}
}

// die ends the connection, and all that is open on it.
func (c *conn) die(reason *amqp.Error) {
	err := error(driver.Errorf(driver.CodeUnavailable, "rabbitmq: connection lost"))
	if reason != nil {
		err = classify("rabbitmq: connection lost", reason)
		if !driver.CodeOf(err).Heals() {
			err = driver.Wrap(driver.CodeUnavailable, "rabbitmq: connection lost", reason)
		}
	}
	c.End(err)
	c.incoming.cut()
	c.outgoing.cut()
}

func (c *conn) Capabilities() driver.Capabilities { return c.caps }

// Client returns the *amqp091.Connection that is not for publishing.
func (c *conn) Client() any { return c.incoming.Connection }

// Close ends both connections. The broker takes back what is not settled.
func (c *conn) Close(ctx context.Context) error {
	c.End(errClosed)
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	c.outgoing.end(ctx)
	c.incoming.end(ctx)
	c.calls.Wait(ctx)
	return nil
}

// call is driver.Within for calls that return nothing.
func (c *conn) call(ctx context.Context, call func() error) error {
	_, err := driver.Within(ctx, c.calls, func() (struct{}, error) { return struct{}{}, call() }, nil)
	return err
}

// channel opens a channel, and makes it ready.
func (c *conn) channel(ctx context.Context, l *link, prepare func(*amqp.Channel) error) (*amqp.Channel, error) {
	return driver.Within(ctx, c.calls, func() (*amqp.Channel, error) {
		ch, err := l.Channel()
		if err == nil {
			if err = prepare(ch); err != nil {
				_ = ch.Close()
			}
		}
		return ch, err
	}, func(ch *amqp.Channel) { _ = ch.Close() })
}
