package brokers

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// A Proxy is a network between a client and a broker, which a test can spoil.
//
// It knows nothing of protocols. A broker that tells its clients other addresses to connect
// to, as Kafka does, is reached past it from then on.
type Proxy struct {
	listener net.Listener
	target   string
	all      sync.WaitGroup

	mu        sync.Mutex
	cut       bool
	passing   chan struct{} // closed while bytes may pass
	latency   time.Duration
	bandwidth int
	links     map[*link]struct{}
}

// NewProxy puts a proxy on the loopback interface before an address, host and port, until
// the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, passing: make(chan struct{}), links: map[*link]struct{}{}}
	close(p.passing)
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Cut()
		p.all.Wait()
	})
	return p
}

// Address is the proxy's host and port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Through is a broker's URL with the proxy's address in place of its host.
func (p *Proxy) Through(broker string) string {
	u, err := url.Parse(broker)
	if err != nil {
		return broker
	}
	u.Host = p.Address()
	return u.String()
}

// Cut breaks all connections with a reset, and every new one, until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.reset()
}

// Reset breaks all connections that there are with a reset. New ones pass.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset()
}

func (p *Proxy) reset() {
	for l := range p.links {
		l.end(true)
	}
}

// Silence lets nothing pass, in either direction, and breaks nothing, until Restore: a cable that
// is pulled. New connections are taken and hear nothing.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.passing:
		p.passing = make(chan struct{})
	default:
	}
}

// Latency delays what passes in each direction. Zero ends it.
func (p *Proxy) Latency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// Bandwidth bounds the bytes a second of each connection and direction. Zero ends it.
func (p *Proxy) Bandwidth(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bandwidth = bytes
}

// Restore ends Cut, Silence, Latency and Bandwidth.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.latency, p.bandwidth = false, 0, 0
	select {
	case <-p.passing:
	default:
		close(p.passing)
	}
}

// Connections counts those that there are.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

func (p *Proxy) weather() (passing chan struct{}, latency time.Duration, bandwidth int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passing, p.latency, p.bandwidth
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		l := &link{client: c, ctx: ctx, cancel: cancel}
		p.mu.Lock()
		p.links[l] = struct{}{}
		if p.cut {
			l.end(true)
		}
		p.mu.Unlock()
		p.all.Go(func() {
			p.carry(l)
			p.mu.Lock()
			delete(p.links, l)
			p.mu.Unlock()
		})
	}
}

// carry connects to the broker and moves bytes until both directions have ended.
func (p *Proxy) carry(l *link) {
	defer l.end(false)
	passing, _, _ := p.weather()
	select {
	case <-passing:
	case <-l.ctx.Done():
		return
	}
	var d net.Dialer
	server, err := d.DialContext(l.ctx, "tcp", p.target)
	if err != nil {
		l.end(true)
		return
	}
	if !l.connect(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, server, l.client) })
	both.Go(func() { p.pump(l, l.client, server) })
	both.Wait()
}

// A parcel is bytes on their way, and when they were read.
type parcel struct {
	bytes []byte
	at    time.Time
}

// pump reads ahead a little, so that latency delays bytes and does not space them out.
func (p *Proxy) pump(l *link, to, from net.Conn) {
	way := make(chan parcel, 64)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(way)
		for {
			b := make([]byte, 16<<10)
			n, err := from.Read(b)
			if n > 0 {
				select {
				case way <- parcel{b[:n], time.Now()}:
				case <-l.ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	defer reader.Wait()
	for parcel := range way {
		if !p.deliver(l, to, parcel) {
			l.end(true)
			return
		}
	}
	// The sender has ended its direction; the other may go on.
	if half, ok := to.(*net.TCPConn); !ok || half.CloseWrite() != nil {
		l.end(false)
	}
}

func (p *Proxy) deliver(l *link, to net.Conn, c parcel) bool {
	passing, latency, bandwidth := p.weather()
	select {
	case <-passing:
	case <-l.ctx.Done():
		return false
	}
	if bandwidth > 0 {
		latency += time.Duration(len(c.bytes)) * time.Second / time.Duration(bandwidth)
		// What is slow occupies the line: the next parcel starts when this one is through.
		c.at = time.Now()
	}
	if wait := time.Until(c.at.Add(latency)); latency > 0 && wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.ctx.Done():
			return false
		}
	}
	_, err := to.Write(c.bytes)
	return err == nil
}

// A link is one connection through the proxy.
type link struct {
	client net.Conn
	ctx    context.Context //nolint:containedctx // the life of the connection itself
	cancel context.CancelFunc

	mu     sync.Mutex
	server net.Conn
}

// connect is false if the link has ended meanwhile.
func (l *link) connect(server net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		_ = server.Close()
		return false
	}
	l.server = server
	return true
}

// end closes both sides, with a reset or in good order.
func (l *link) end(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return
	}
	l.cancel()
	for _, c := range []net.Conn{l.client, l.server} {
		if c == nil {
			continue
		}
		if tcp, ok := c.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}
