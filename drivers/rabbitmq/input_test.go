package rabbitmq_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/drivers/rabbitmq"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

// fails wants an error with a code, these words, and no password.
func fails(t *testing.T, err error, code pubsub.Code, words ...string) {
	t.Helper()
	if err == nil || pubsub.CodeOf(err) != code {
		t.Errorf("got %v (code %s), want code %s", err, pubsub.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "sesame") {
		t.Errorf("%q has the password", err)
	}
}

func TestBadURL(t *testing.T) {
	t.Parallel()
	for raw, words := range map[string]string{
		"rabbitmq://:sesame@/":                              "want rabbitmq://",
		"rabbitmq://u:sesame@h/v#f":                         "want rabbitmq://",
		"rabbitmq://u:sesame@h?heartbeet=1s":                `did you mean "heartbeat"?`,
		"rabbitmq://u:sesame@h?heartbeat=1500ms":            "whole seconds",
		"rabbitmq://u:sesame@h?partitions=65":               "1 to 64",
		"rabbitmq://u:sesame@h?queues=fast":                 "quorum, classic",
		"rabbitmq://u:sesame@h?auth=external":               "needs TLS",
		"rabbitmq://u:sesame@h?tls-ca=x":                    "without the scheme rabbitmqs",
		"rabbitmqs://u:sesame@h?tls-cert=x":                 "go together",
		"rabbitmqs://u:sesame@h?tls-ca=/none":               "tls-ca",
		"rabbitmq://u:sesame@h?nodes=a:b:c":                 "want host:port",
		"rabbitmq://u:sesame@h?delay-expiry=5000h":          "expiries",
		"rabbitmq://u:sesame@h/" + strings.Repeat("v", 256): "too long",
	} {
		_, err := driver.FromURL(raw)
		fails(t, err, pubsub.CodeInvalid, words)
	}
}

func TestBadConnection(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		u, err := url.Parse(b.URL)
		must(t, err)
		change := func(f func(u *url.URL)) string {
			c := *u
			f(&c)
			return c.String()
		}
		for address, want := range map[string]pubsub.Code{
			"rabbitmq://u:sesame@127.0.0.1:1/":                                         pubsub.CodeUnavailable,
			change(func(u *url.URL) { u.User = url.UserPassword("guest", "sesame") }):  pubsub.CodeUnauthenticated,
			change(func(u *url.URL) { u.User = url.UserPassword("nobody", "sesame") }): pubsub.CodeUnauthenticated,
			change(func(u *url.URL) { u.Path = "/no-such-vhost" }):                     pubsub.CodeNotFound,
			change(func(u *url.URL) { u.Scheme = "rabbitmqs" }):                        pubsub.CodeInvalid,
		} {
			_, err := pubsub.Open(t.Context(), address)
			fails(t, err, want)
		}
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		if b.TLS == nil {
			t.Skip("this broker has no TLS")
		}
		_, rest, _ := strings.Cut(b.TLS.URL, ":")
		address, _, _ := strings.Cut("rabbitmqs:"+rest, "?")
		trust := "tls-ca=" + url.QueryEscape(b.TLS.CA)
		for _, parameters := range []string{
			trust, trust + "&auth=external&tls-cert=" + url.QueryEscape(b.TLS.Cert) + "&tls-key=" + url.QueryEscape(b.TLS.Key),
		} {
			c, err := pubsub.New(t.Context(), from(t, address, parameters))
			if err != nil {
				t.Errorf("%s: %v", parameters, err)
				continue
			}
			p, err := c.Publisher(t.Context(), fresh("tls"))
			must(t, err)
			publishMany(t, p, 10)
			must(t, c.Close(t.Context()))
		}
		_, err := pubsub.Open(t.Context(), address)
		fails(t, err, pubsub.CodeUnauthenticated, "not trusted")
		plain := strings.Replace(address, "rabbitmqs", "rabbitmq", 1)
		_, err = pubsub.Open(t.Context(), plain)
		fails(t, err, pubsub.CodeUnavailable, "wants TLS")
	})
}

func TestBadNames(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c := client(t, b, "")
		for name, words := range map[string]string{
			"a/b": "'/'", "amq.topic": "amq.", strings.Repeat("n", 256): "256 bytes",
		} {
			_, err := c.Publisher(t.Context(), name)
			fails(t, err, pubsub.CodeInvalid, words)
			_, err = c.Subscriber(t.Context(), "t", pubsub.Group(name), pubsub.DropPermanent())
			fails(t, err, pubsub.CodeInvalid, words)
		}
	})
}

func TestBadMessages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c := client(t, b, "message-bytes=1048576")
		p, err := c.Publisher(t.Context(), fresh("bad"))
		must(t, err)
		for words, m := range map[string]*pubsub.Message{
			"header name":     {Headers: map[string]string{strings.Repeat("n", 256): "v"}},
			"ID has":          {ID: strings.Repeat("i", 256)},
			"content-type":    {Headers: map[string]string{"content-type": strings.Repeat("c", 256)}},
			"headers and key": {Headers: map[string]string{"h": strings.Repeat("v", 140_000)}},
			"1048577 bytes":   {Body: make([]byte, 1<<20+1)},
		} {
			fails(t, p.Publish(t.Context(), m), pubsub.CodeTooLarge, words)
		}
		publishMany(t, p, 1)
	})
}

// TestMessageOverTheServersLimit has a server that takes less than its clients think: the channel
// dies of such a message. It is refused, and its neighbours are stored.
func TestMessageOverTheServersLimit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c := client(t, b, "message-bytes=200000000")
		topic := fresh("large")
		s, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent())
		must(t, err)
		p, err := c.Publisher(t.Context(), topic, pubsub.PublishLimit(0, 400<<20))
		must(t, err)
		size := 17 << 20
		if strings.HasPrefix(b.Version, "3") {
			size = 129 << 20
		}
		publishMany(t, p, 1)
		outcomes := make(chan error, 20)
		for i := range 20 {
			m := &pubsub.Message{Body: []byte("small")}
			if i == 10 {
				m.Body = make([]byte, size)
			}
			p.PublishAsync(t.Context(), m, func(err error) {
				if i == 10 {
					fails(t, err, pubsub.CodeUnconfirmed, "size")
				} else if err != nil {
					t.Errorf("message %d: %v", i, err)
				}
				outcomes <- err
			})
		}
		for range 20 {
			next(t, outcomes)
		}
		_ = s
	})
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c, raw, topic := client(t, b, ""), dial(t, b), fresh("conflict")
		_, err := raw.QueueDeclare(topic+"/g", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		must(t, err)
		for _, how := range []driver.Topology{pubsub.Create, pubsub.Verify} {
			_, err = c.Publisher(t.Context(), topic)
			must(t, err)
			_, err = c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Topology(how))
			fails(t, err, pubsub.CodeConflict, topic+"/g", "inequivalent arg 'x-")
		}
		_, err = c.Publisher(t.Context(), topic, pubsub.Queue())
		fails(t, err, pubsub.CodeConflict, "was made as an event topic")
		tasks := fresh("tasks")
		_, err = c.Publisher(t.Context(), tasks, pubsub.Queue())
		must(t, err)
		_, err = c.Publisher(t.Context(), tasks)
		fails(t, err, pubsub.CodeConflict, "was made as a queue")
		ordered := fresh("ordered")
		open := func(n int) error {
			_, err := c.Subscriber(t.Context(), ordered, pubsub.Ordered(), pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Settings(rabbitmq.Partitions(n)))
			return err
		}
		must(t, open(4))
		must(t, open(4))
		fails(t, open(3), pubsub.CodeConflict, "partition queues")
		fails(t, open(8), pubsub.CodeConflict, "partition queues")
	})
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		if !b.Mine() {
			t.Skip("needs rabbitmqctl")
		}
		admin := func(args ...string) {
			t.Helper()
			if out, err := b.Admin(t.Context(), args...); err != nil {
				t.Fatal(out, err)
			}
		}
		user, topic := fresh("user"), fresh("secret")
		admin("add_user", user, "sesame")
		t.Cleanup(func() { _, _ = b.Admin(context.Background(), "delete_user", user) })
		full := client(t, b, "")
		_, err := full.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent())
		must(t, err)
		u, err := url.Parse(b.URL)
		must(t, err)
		u.User = url.UserPassword(user, "sesame")
		_, err = pubsub.Open(t.Context(), u.String())
		fails(t, err, pubsub.CodePermissionDenied, user)

		vhost := strings.TrimPrefix(u.Path, "/")
		if vhost == "" {
			vhost = "/"
		}
		admin("set_permissions", "-p", vhost, user, "^$", "^$", "^$")
		c, err := pubsub.Open(t.Context(), u.String())
		must(t, err)
		_, err = c.Publisher(t.Context(), fresh("new"))
		fails(t, err, pubsub.CodePermissionDenied, "exchange")
		p, err := c.Publisher(t.Context(), topic, pubsub.Topology(pubsub.Verify))
		must(t, err)
		fails(t, p.Publish(t.Context(), &pubsub.Message{}), pubsub.CodePermissionDenied, topic)
		s, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Topology(pubsub.Verify))
		must(t, err)
		fails(t, s.Receive(t.Context(), done), pubsub.CodePermissionDenied, topic+"/g")
		must(t, c.Close(t.Context()))
	})
}
