package kafka

import (
	"context"
	"net"
	"sync"
)

// links are the connections of one client, which can be cut.
type links struct {
	config *Config
	mu     sync.Mutex
	open   map[*link]bool
	closed bool
}

type link struct {
	net.Conn
	of *links
}

// connect dials as the settings say.
func (c *Config) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Dial is sarama's.
func (l *links) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.config.Timeout)
	defer cancel()
	conn, err := l.config.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if l.open == nil {
		l.open = map[*link]bool{}
	}
	c := &link{conn, l}
	l.open[c] = true
	return c, nil
}

func (c *link) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// cut closes the connections that are open.
func (l *links) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Conn.Close()
	}
	clear(l.open)
}

// shut cuts them, and opens no more.
func (l *links) shut() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cut()
}
