package brokers_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/waybill-go/waybill/testing/brokers"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// echo is a server that says everything again.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

// talk sends a line and reads it back.
func talk(t *testing.T, c net.Conn, patience time.Duration) error {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	_, err := bufio.NewReader(c).ReadString('\n')
	return err
}

func dial(t *testing.T, p *brokers.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestProxyCutsAndRestores(t *testing.T) {
	t.Parallel()
	p := brokers.NewProxy(t, echo(t))
	c := dial(t, p)
	if err := talk(t, c, patience); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if err := talk(t, c, patience); err == nil {
		t.Error("a cut connection still talks")
	}
	if c, err := net.Dial("tcp", p.Address()); err == nil { // or it is reset at once
		if err := talk(t, c, patience); err == nil {
			t.Error("a new connection passes a cut")
		}
		c.Close()
	}
	p.Restore()
	c = dial(t, p)
	if err := talk(t, c, patience); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	if err := talk(t, c, patience); err == nil {
		t.Error("a reset connection still talks")
	}
	if err := talk(t, dial(t, p), patience); err != nil {
		t.Error(err)
	}
}

func TestProxyIsSilentAndSlow(t *testing.T) {
	t.Parallel()
	p := brokers.NewProxy(t, echo(t))
	c := dial(t, p)
	if err := talk(t, c, patience); err != nil {
		t.Fatal(err)
	}
	p.Silence()
	if err := talk(t, c, 200*time.Millisecond); err == nil {
		t.Error("silence was broken")
	}
	p.Restore()
	c.SetDeadline(time.Now().Add(patience))
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("after the silence: %q, %v: want what was held back", line, err)
	}
	p.Latency(100 * time.Millisecond)
	start := time.Now()
	if err := talk(t, c, patience); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("there and back took %v: want 200ms or more", took)
	}
	p.Latency(0)
	p.Bandwidth(100 << 10)
	start = time.Now()
	go c.Write(make([]byte, 32<<10))
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 32<<10)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("32 KiB at 100 KiB a second took %v", took)
	}
	if got := p.Through("rabbitmq://guest:guest@127.0.0.1:1/shop"); got != "rabbitmq://guest:guest@"+p.Address()+"/shop" {
		t.Error(got)
	}
}
