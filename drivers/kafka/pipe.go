package kafka

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/IBM/sarama"
)

// A pipe is a connection that messages go over. sarama opens it and logs in; fetches and
// produce requests go over it by hand, since sarama makes five objects of a record that
// it reads, where none is needed, and copies one that it writes twice. TLS is the pipe's
// own, so that it has the bytes.
type pipe struct {
	config   *Config
	broker   *sarama.Broker
	patience time.Duration // how long an answer may take
	conn     net.Conn
	in       *bufio.Reader
	out      []byte    // the last fetch
	number   int32     // of the last request
	vouch    time.Time // when sarama is to have the connection
}

// vouchPause is how often sarama has a look at whether its login runs out. It renews one
// that has a twentieth of its time left, or more.
const vouchPause = 250 * time.Millisecond

func newPipe(c *Config, address string, patience time.Duration) *pipe {
	return &pipe{config: c, broker: sarama.NewBroker(address), patience: patience}
}

// open connects and logs in.
func (p *pipe) open() error {
	settings := p.config.sarama()
	settings.Net.ReadTimeout = p.patience
	settings.Net.TLS.Enable = false
	settings.Net.Proxy.Enable, settings.Net.Proxy.Dialer = true, p
	if err := p.broker.Open(settings); err != nil {
		return err
	}
	if ok, err := p.broker.Connected(); !ok {
		return errors.Join(sarama.ErrNotConnected, err)
	}
	p.in = bufio.NewReaderSize(p.conn, 64<<10)
	p.vouch = time.Now().Add(vouchPause)
	return nil
}

// Dial is sarama's.
func (p *pipe) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.config.Timeout)
	defer cancel()
	conn, err := p.config.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if p.config.TLS != nil {
		secure := tls.Client(conn, namedTLS(p.config.TLS, address))
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secure
	}
	p.conn = conn
	return conn, nil
}

// namedTLS has the server show a certificate for the name that it was called by.
func namedTLS(c *tls.Config, address string) *tls.Config {
	if c.ServerName != "" {
		return c
	}
	c = c.Clone()
	c.ServerName, _, _ = net.SplitHostPort(address)
	return c
}

// due says whether sarama is to have the connection, which nothing may be under way on then.
func (p *pipe) due() bool { return p.config.SASL != nil && time.Now().After(p.vouch) }

// renew lets sarama renew its login.
func (p *pipe) renew() error {
	_, err := p.broker.ApiVersions(&sarama.ApiVersionsRequest{})
	p.vouch = time.Now().Add(vouchPause)
	return err
}

// send writes a request.
func (p *pipe) send(b []byte) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.config.Timeout)); err != nil {
		return err
	}
	_, err := p.conn.Write(b)
	return err
}

// ask sends a fetch, and returns its answer up to where that tells of partitions.
func (p *pipe) ask(f *fetch) (*frame, error) {
	if p.due() {
		if err := p.renew(); err != nil {
			return nil, err
		}
	}
	p.number++
	p.out = f.append(p.out[:0], p.number, p.config.ClientID)
	if err := p.send(p.out); err != nil {
		return nil, err
	}
	return p.answer()
}

// answer reads the beginning of an answer to the last fetch.
func (p *pipe) answer() (*frame, error) {
	a := p.receive(p.number)
	throttle := time.Duration(a.int32()) * time.Millisecond
	k := sarama.KError(a.int16())
	a.int32() // the number of a session, which there is none of
	if a.err == nil && k != sarama.ErrNoError {
		a.err = k
	}
	a.throttle = throttle
	return a, a.err
}

// receive reads the length of an answer, and whose it is.
func (p *pipe) receive(number int32) *frame {
	a := &frame{pipe: p, left: 4}
	a.left = int(a.int32())
	if n := a.int32(); a.err == nil && (n != number || a.left > int(sarama.MaxResponseSize)) {
		a.err = errFrame
	}
	return a
}

var errFrame = errors.New("kafka: a broker's answer makes no sense")

// A frame is an answer that is being read.
type frame struct {
	*pipe
	left     int // bytes of it
	throttle time.Duration
	err      error // the first; all is zero from there on
}

// take returns the next n bytes, which are few, until the next call.
func (a *frame) take(n int) []byte {
	if a.err == nil && (n < 0 || n > a.left || n > a.in.Size()) {
		a.err = errFrame
	}
	if a.err != nil {
		return make([]byte, 8)
	}
	if a.in.Buffered() < n {
		if a.err = a.conn.SetReadDeadline(time.Now().Add(a.patience)); a.err != nil {
			return make([]byte, 8)
		}
	}
	b, err := a.in.Peek(n)
	if a.err = err; err != nil {
		return make([]byte, 8)
	}
	a.left -= n
	_, _ = a.in.Discard(n)
	return b
}

// fill reads as many bytes as b has.
func (a *frame) fill(b []byte) {
	if a.err == nil {
		a.err = a.conn.SetReadDeadline(time.Now().Add(a.patience))
	}
	if a.err == nil {
		a.left -= len(b)
		_, a.err = io.ReadFull(a.in, b)
	}
}

func (p *pipe) close() { _ = p.broker.Close() }
