package kafka

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

// guarded gives a broker that offers TLS and logins.
func guarded(t *testing.T) *brokers.Broker {
	b := brokers.Kafka(t)
	if b.TLS == nil || b.SASL == nil {
		t.Skip("the address came from the environment, without listeners for TLS and SASL")
	}
	return b
}

// carries has a message pass through a driver.
func carries(t *testing.T, d driver.Driver) {
	t.Helper()
	b := lay(t, d)
	b.send(0, 1)
	s := b.join()
	b.settle(s, driver.Ack, b.take(s, 1)...)
	must(t, s.Close(t.Context()))
}

func TestLogin(t *testing.T) {
	t.Parallel()
	b := guarded(t)
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			address := b.SASL.URL + "&sasl=" + mechanism
			d, err := driver.FromURL(address)
			must(t, err)
			carries(t, d)
			turnedAway(t, strings.Replace(address, ":"+b.SASL.Password+"@", ":wr0ng@", 1), driver.CodeUnauthenticated)
		})
	}
}

// turnedAway opens a URL, and wants no secret in the error.
func turnedAway(t *testing.T, address string, code driver.Code) {
	t.Helper()
	d, err := driver.FromURL(address)
	must(t, err)
	c, err := d.Open(t.Context())
	if err == nil {
		t.Errorf("connected, want %s", code)
		_ = c.Close(t.Context())
		return
	}
	u, _ := url.Parse(address)
	password, _ := u.User.Password()
	if driver.CodeOf(err) != code || password != "" && strings.Contains(err.Error(), password) {
		t.Errorf("%v (%s), want %s", err, driver.CodeOf(err), code)
	}
}

// losses counts the connections that a driver could not read on.
type losses struct {
	slog.Handler
	n atomic.Int32
}

func (l *losses) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "cannot be read") {
		l.n.Add(1)
	}
	return l.Handler.Handle(ctx, r)
}

func (l *losses) Enabled(context.Context, slog.Level) bool { return true }

// secured are settings for a broker's listener that wants a login, which is in the URL.
func secured(t *testing.T, b *brokers.Broker) (Config, *url.URL) {
	t.Helper()
	u, err := url.Parse(b.SASL.URL)
	must(t, err)
	c := quick(t)
	c.Brokers = strings.Split(u.Host, ",")
	p := driver.NewParams("the test", map[string]string{"tls-ca": b.TLS.CA})
	p.TLS(&c.TLS, true, "")
	must(t, p.End())
	return c, u
}

// A login that runs out is renewed, and no connection is lost by it.
func TestLoginIsRenewed(t *testing.T) {
	t.Parallel()
	b := guarded(t)
	if b.SASL.Lasts == 0 {
		t.Skip("who started the broker does not say how long a login lasts")
	}
	c, u := secured(t, b)
	c.SASL = &SASL{Mechanism: plain, User: u.User.Username(), Password: b.SASL.Password}
	lost := &losses{Handler: slog.DiscardHandler}
	c.Logger = slog.New(lost)
	d := set(t, c)
	s := d.join()
	opened, err := d.conn.Topic(t.Context(), d.request.TopicRequest)
	must(t, err)
	w := opened.(*topic).wire.(*saramaWire)
	pass := func() {
		stored := make(chan error, 1)
		opened.Send(t.Context(), []driver.Message{{}}, func(_ int, _ driver.Fate, err error) { stored <- err })
		must(t, <-stored)
		d.settle(s, driver.Ack, d.take(s, 1)...)
	}
	pass()
	first := maps.Clone(w.outlets)
	for ran := time.Now().Add(b.SASL.Lasts); !time.Now().After(ran); wait(t.Context(), 100*time.Millisecond) {
		pass()
	}
	pass() // by logins that have run out, had they not been renewed
	if n := lost.n.Load(); n > 0 {
		t.Errorf("%d connections were lost", n)
	}
	if must(t, opened.Close(t.Context())); !maps.Equal(w.outlets, first) {
		t.Error("connections for publishing were lost")
	}
	must(t, s.Close(t.Context()))
}

// token is one that nobody signed.
func token(until time.Time) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"none"}`) + "." + part(fmt.Sprintf(`{"sub":"ann","iat":%d,"exp":%d}`, time.Now().Add(-time.Hour).Unix(), until.Unix())) + "."
}

func TestToken(t *testing.T) {
	t.Parallel()
	b := guarded(t)
	with := func(until time.Time) *Driver {
		c, _ := secured(t, b)
		c.SASL = &SASL{Mechanism: oauthBearer, Token: func(context.Context) (string, error) { return token(until), nil }}
		d, err := New(c)
		must(t, err)
		return d
	}
	carries(t, with(time.Now().Add(time.Hour)))
	if _, err := with(time.Now().Add(-time.Minute)).Open(t.Context()); driver.CodeOf(err) != driver.CodeUnauthenticated || strings.Contains(err.Error(), token(time.Now())[:20]) {
		t.Errorf("a token that has expired: %v (%s)", err, driver.CodeOf(err))
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	b := guarded(t)
	d, err := driver.FromURL(b.TLS.URL)
	must(t, err)
	carries(t, d)
	u, err := url.Parse(b.TLS.URL)
	must(t, err)
	for name, change := range map[string]func(url.Values){
		"an authority that nobody trusts":  func(q url.Values) { q.Del("tls-ca") },
		"no certificate":                   func(q url.Values) { q.Del("tls-cert"); q.Del("tls-key") },
		"a name that is not in the server": func(q url.Values) { q.Set("tls-server-name", "example.org") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := *u
			q := u.Query()
			change(q)
			q.Set("timeout", "3s")
			other.RawQuery = q.Encode()
			turnedAway(t, other.String(), driver.CodeUnauthenticated)
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		t.Parallel()
		turnedAway(t, "kafka://"+u.Host+"?timeout=3s", driver.CodeUnavailable)
	})
}
