package brokers_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/testing/brokers"
)

var rabbitmqs = []string{"3.10", "4.3"}

func TestRabbitMQFaults(t *testing.T) {
	t.Parallel()
	for _, v := range rabbitmqs {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			b := brokers.RabbitMQ(t, brokers.Version(v), brokers.Private())
			if !strings.HasPrefix(b.Version, v+".") {
				t.Errorf("it is %s", b.Version)
			}
			ctx := t.Context()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			out, err := b.Admin(ctx, "add_user", "ann", "secret")
			must(err)
			if !strings.Contains(out, "ann") {
				t.Error(out)
			}
			must(b.CloseConnections(ctx))
			must(b.Alarm(ctx, true))
			must(b.Alarm(ctx, false))
			must(b.Kill(ctx))
			must(b.Start(ctx))
			out, err = b.Admin(ctx, "list_users")
			must(err)
			if !strings.Contains(out, "ann") {
				t.Errorf("the user is lost with the server: %s", out)
			}
			if b.Start(ctx) == nil {
				t.Error("a server that runs is started again")
			}
			must(b.Pause(ctx))
			must(b.Continue(ctx))
			must(b.Stop(ctx))
			must(b.Start(ctx))
		})
	}
}

func TestRabbitMQCluster(t *testing.T) {
	t.Parallel()
	for _, v := range rabbitmqs {
		t.Run(v, func(t *testing.T) {
			b := brokers.RabbitMQ(t, brokers.Version(v), brokers.Private(), brokers.Nodes(3))
			out, err := b.Admin(t.Context(), "eval", "length(nodes()).")
			if err != nil || strings.TrimSpace(out) != "2" {
				t.Fatalf("%q, %v: want two other nodes", out, err)
			}
			if err := b.Kill(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			if err := b.Start(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			if err := b.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRabbitMQOffersTLS(t *testing.T) {
	t.Parallel()
	b := brokers.RabbitMQ(t)
	if b.TLS == nil {
		t.Skip("the address came from the environment")
	}
	ca, err := os.ReadFile(b.TLS.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	guest, err := tls.LoadX509KeyPair(b.TLS.Cert, b.TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(b.TLS.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{guest}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write([]byte("AMQP\x00\x00\x09\x01"))
	start := make([]byte, 2048)
	if n, err := c.Read(start); err != nil || !strings.Contains(string(start[:n]), "EXTERNAL") {
		t.Errorf("%q, %v: want connection.start with EXTERNAL", start[:n], err)
	}
}

func TestSharedBrokersAreNotHarmed(t *testing.T) {
	t.Parallel()
	b := brokers.RabbitMQ(t)
	ctx := t.Context()
	for name, err := range map[string]error{
		"stop": b.Stop(ctx), "kill": b.Kill(ctx), "pause": b.Pause(ctx), "close": b.CloseConnections(ctx), "alarm": b.Alarm(ctx, true),
	} {
		if err == nil || !strings.Contains(err.Error(), "brokers.Private()") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
