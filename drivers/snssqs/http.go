package snssqs

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// wholeBodies hands net/http request bodies that it knows to be in memory. It writes
// them in one piece with the headers then. The SDK's own reader is written apart, and where
// the answer comes before net/http has looked whether there is more to write, that
// reader, closed by then, breaks the connection under the answer.
type wholeBodies struct{ aws.HTTPClient }

func (c wholeBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.ContentLength > 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return c.HTTPClient.Do(r)
}

// dials are the connections that a client has made. The SDK's client does not hand on that
// idle ones are to be closed.
type dials struct {
	mu     sync.Mutex
	closed bool
	made   map[*dialed]bool
}

type dialed struct {
	net.Conn
	of *dials
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

func (d *dials) through(dial dialer) dialer {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		made := &dialed{c, d}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.closed {
			_ = c.Close()
			return nil, net.ErrClosed
		}
		if d.made == nil {
			d.made = map[*dialed]bool{}
		}
		d.made[made] = true
		return made, nil
	}
}

func (c *dialed) Close() error {
	c.of.mu.Lock()
	delete(c.of.made, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// close closes all, also those that are being made.
func (d *dials) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for c := range d.made {
		_ = c.Conn.Close()
	}
}
