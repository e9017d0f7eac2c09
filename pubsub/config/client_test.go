package config_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
	"github.com/waybill-go/waybill/pubsub/driver"
)

var presets = []string{"kafka", "rabbitmq", "gcppubsub", "sqs", "sqs-fifo"}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t *testing.T, text string, options ...pubsub.ClientOption) *config.Client {
	t.Helper()
	client, err := parse(t, text).Client(t.Context(), options...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// traced is middleware that says when a message passes.
func traced(log *[]string, name string) pubsub.Middleware {
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			if d.Topic != "orders" {
				return next(ctx, d)
			}
			*log = append(*log, name)
			err := next(ctx, d)
			*log = append(*log, fmt.Sprintf("%s saw %v", name, err))
			return err
		}
	}
}

func stamped(name string) pubsub.PublishMiddleware {
	return func(next pubsub.PublishFunc) pubsub.PublishFunc {
		return func(ctx context.Context, m *pubsub.Message, done func(error)) {
			m.SetHeader("passed", m.Headers["passed"]+name)
			next(ctx, m, done)
		}
	}
}

// The order is: client defaults, dead letter, retry in place, timeout, Subscriber's own.
func TestOrderOfMiddleware(t *testing.T) {
	t.Parallel()
	for _, like := range presets {
		t.Run(like, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { orderOfMiddleware(t, like) }) })
	}
}

func orderOfMiddleware(t *testing.T, like string) {
	var log []string
	client := open(t, `
brokers: {main: {url: "memory://order?like=`+like+`"}}
topics: {orders: {}, dead: {kind: queue}}
subscriptions:
  billing:
    topic: orders
    group: billing
    timeout: 1m
    max-attempts: 1
    retry-in-place: {attempts: 2, min: 1s}
    dead-letter: {topic: dead}
  dead: {topic: dead, drop-permanent: true}
`, pubsub.SubscriberDefaults(traced(&log, "outer")), pubsub.PublisherDefaults(stamped("a")))
	billing, err := client.Subscriber(t.Context(), "billing", traced(&log, "inner"))
	if err != nil {
		t.Fatal(err)
	}
	dead, err := client.Subscriber(t.Context(), "dead")
	if err != nil {
		t.Fatal(err)
	}
	orders, err := client.Publisher(t.Context(), "orders", stamped("b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := orders.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = client.Serve(ctx,
		pubsub.Handle(billing, func(ctx context.Context, d *pubsub.Delivery) error {
			if d.Headers["passed"] != "ab" {
				t.Errorf("publish middleware ran in order %q; want ab", d.Headers["passed"])
			}
			<-ctx.Done() // after the timeout
			return errors.New("late")
		}),
		pubsub.Handle(dead, func(_ context.Context, d *pubsub.Delivery) error {
			if reason := d.Headers[middleware.HeaderReason]; !strings.Contains(reason, "timed out after 1m0s") {
				t.Errorf("dead letter has reason %q", reason)
			}
			cancel()
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	// Outside of dead letter all is well; retry, inside of it, calls twice what is inside
	// of itself; next to the handler its bare error is seen, before the timeout's words.
	want := []string{"outer", "inner", "inner saw late", "inner", "inner saw late", "outer saw <nil>"}
	if !slices.Equal(log, want) {
		t.Errorf("got %q", log)
	}
}

// A broker that cannot keep a promise is refused before anything is declared.
func TestPromisesThatCannotBeKept(t *testing.T) {
	t.Parallel()
	const head = "brokers: {main: {url: 'memory://%s?%s'}}\ntopics: {orders: {%s}, dead: {kind: %s}}\n"
	file := func(t *testing.T, params, topic, kind, subscription string) string {
		text := fmt.Sprintf(head, strings.ReplaceAll(t.Name(), "/", "-"), params, topic, kind)
		if subscription != "" {
			text += "subscriptions:\n  s: {topic: orders, " + subscription + "}\n"
		}
		return text
	}
	for name, c := range map[string]struct {
		params, topic, kind, subscription, want string
	}{
		"order":       {"like=sqs", "ordered: true", "event", "", `f.yaml:2:19: topics.orders.ordered: needs "order by key", which memory, like SQS does not offer`},
		"queue":       {"without=queues", "", "queue", "", `topics.dead.kind: needs "queues", which memory does not offer`},
		"groups":      {"without=groups", "", "event", "group: g, drop-permanent: true", `subscriptions.s.group: needs "groups"`},
		"broadcast":   {"without=broadcast", "", "event", "broadcast: true, drop-permanent: true", `subscriptions.s.broadcast: needs "broadcast"`},
		"attempts":    {"without=attempts", "", "event", "group: g, drop-permanent: true, max-attempts: 3", `f.yaml:4:54: subscriptions.s.max-attempts: needs "attempts counted"`},
		"dead letter": {"like=kafka", "", "queue", "group: g, dead-letter: {topic: dead, by: broker}", `subscriptions.s.dead-letter.by: needs "dead letter by the broker", which memory, like Kafka`},
		"lease":       {"like=kafka", "", "event", "group: g, drop-permanent: true, lease: 30s", `subscriptions.s.lease: asks for 30s, and memory, like Kafka does not lease`},
		"send batch":  {"like=sqs", "publish: {batch: {messages: 11}}", "event", "", "topics.orders.publish.batch.messages: is 11; memory, like SQS takes at most 10"},
		"batch bytes": {"like=sqs", "publish: {batch: {bytes: 2MiB}}", "event", "", "topics.orders.publish.batch.bytes: is 2097152; memory, like SQS takes at most 1048576"},
		"settle":      {"like=sqs", "", "event", "group: g, drop-permanent: true, settle: {messages: 11}", "subscriptions.s.settle.messages: is 11"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := parse(t, file(t, c.params, c.topic, c.kind, c.subscription))
			// The name keeps what is declared while this client is open.
			watch, err := pubsub.Open(t.Context(), "memory://"+strings.ReplaceAll(t.Name(), "/", "-")+"?"+c.params)
			if err != nil {
				t.Fatal(err)
			}
			defer watch.Close(context.WithoutCancel(t.Context()))
			_, err = cfg.Client(t.Context())
			var e *config.Error
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &e) || e.Line == 0 {
				t.Errorf("got %v; want %q", err, c.want)
			}
			if _, err := watch.Publisher(t.Context(), "orders", pubsub.Topology(pubsub.Verify)); pubsub.CodeOf(err) != pubsub.CodeNotFound {
				t.Errorf("the topic was declared: %v", err)
			}
			plan, err := cfg.Plan(t.Context())
			if err != nil || plan.Err() == nil || !strings.Contains(plan.Err().Error(), c.want) || !strings.Contains(plan.String(), c.want) {
				t.Errorf("plan: %v, %v", err, plan.Err())
			}
			if _, err := cfg.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("apply: %v", err)
			}
		})
	}
}

// What the file's own check lets through, the engine opens; what it refuses, the
// engine refuses. So neither can forget what the other knows.
func TestCheckAgreesWithEngine(t *testing.T) {
	t.Parallel()
	params := []string{"lease=9s"}
	for _, like := range presets {
		params = append(params, "like="+like)
	}
	for _, without := range []string{"groups", "queues", "broadcast", "ordered", "dead-letter", "attempts", "publish-delay", "retry-delay", "retry-tail", "confirm", "backlog"} {
		params = append(params, "without="+without)
	}
	topics := []string{"", "kind: queue", "ordered: true", "publish: {batch: {messages: 500}}"}
	poison := []string{"drop-permanent: true", "dead-letter: {topic: dead}", "dead-letter: {topic: dead, by: broker}"}
	more := []string{"", "max-attempts: 3", "lease: 20s", "settle: {messages: 20}"}
	n := 0
	for _, p := range params {
		for _, topic := range topics {
			for _, poison := range poison {
				for _, more := range more {
					for _, reader := range []string{"group: g", "broadcast: true"} {
						if topic == "kind: queue" {
							reader = "concurrency: 1"
						}
						n++
						text := fmt.Sprintf("brokers: {main: {url: 'memory://agree%d?%s'}}\ntopics: {orders: {%s}, dead: {kind: queue, topology: assume}}\nsubscriptions: {s: {topic: orders, %s}}",
							n, p, topic, strings.Trim(reader+", "+poison+", "+more, ", "))
						agree(t, text)
					}
				}
			}
		}
	}
}

func agree(t *testing.T, text string) {
	t.Helper()
	cfg := parse(t, text)
	checked, refused := cfg.Client(t.Context())
	if refused == nil {
		defer checked.Close(t.Context())
	}
	blind, err := config.Unchecked(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer blind.Close(t.Context())
	var opened error
	for _, topic := range cfg.Topics() {
		_, err := blind.Publisher(t.Context(), topic)
		opened = errors.Join(opened, err)
	}
	_, err = blind.Subscriber(t.Context(), "s")
	if opened = errors.Join(opened, err); (refused == nil) != (opened == nil) {
		t.Errorf("%s\nthe check said: %v\nthe engine said: %v", text, refused, opened)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	var told telltale
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONFIG_TEST_LEASE", "hunter3")
	for name, c := range map[string]struct{ broker, want string }{
		"used":          {"{url: vault://host/v, user: u, password: file:password, secrets: {token: env:CONFIG_TEST_LEASE}}", ""},
		"driver tells":  {"{url: vault://host/v?tell=true, user: u, password: file:password}", `brokers.main.url: open: vault: cannot log in as u with [secret]`},
		"parameter":     {"{url: memory://x, secrets: {lease: env:CONFIG_TEST_LEASE}}", `f.yaml:1:45: brokers.main.secrets.lease: memory URL: parameter "lease" is "[secret]"`},
		"no such file":  {"{url: vault://host/v, user: u, password: file:nowhere}", "brokers.main.password: secret: open " + filepath.Join(dir, "nowhere")},
		"no such value": {"{url: vault://host/v, user: u, password: env:CONFIG_TEST_UNSET}", "brokers.main.password: environment variable CONFIG_TEST_UNSET is not set, or empty"},
		"secret param":  {"{url: vault://host/v, secrets: {token: env:CONFIG_TEST_UNSET}}", "brokers.main.secrets.token: environment variable"},
	} {
		cfg, err := config.Parse(filepath.Join(dir, "f.yaml"), []byte("brokers: {main: "+c.broker+"}\ntopics: {orders: }\n"))
		if err != nil {
			t.Fatal(err)
		}
		if client, err := cfg.Client(t.Context(), pubsub.Observe(&told)); err == nil {
			client.Close(t.Context())
		}
		plan, err := cfg.Plan(t.Context())
		shown := fmt.Sprintf("%v %+v %+v %#v", err, plan, cfg, cfg)
		if strings.Contains(shown, "hunter") {
			t.Errorf("%s: a secret shows in %s", name, shown)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
		}
	}
	// What hooks are told is what the engine logs.
	if !strings.Contains(told.String(), "[secret]") || strings.Contains(told.String(), "hunter") {
		t.Errorf("told: %s", told.String())
	}
}

// telltale keeps why a broker was not reached.
type telltale struct{ strings.Builder }

func (t *telltale) OnConnect(i pubsub.ConnectInfo) { fmt.Fprintln(t, i.Err) }

// vault is a broker that wants to be logged in to, and has settings of its own.
type vault struct {
	driver.Driver
	url  *url.URL
	tell bool
}

type (
	shelves struct{ Shelves int }
	label   string
)

func init() {
	driver.Register("vault", func(u *url.URL) (driver.Driver, error) {
		broker, err := memory.New(memory.Config{})
		v := &vault{Driver: broker, url: u}
		p := driver.ParseParams(u)
		token := ""
		p.String("token", &token)
		p.Bool("tell", &v.tell)
		return v, errors.Join(err, p.End())
	})
	driver.RegisterSettings(driver.Settings{
		Topic: func(p *driver.Params) []any {
			s := shelves{Shelves: 1}
			p.Int("shelves", &s.Shelves)
			return []any{s}
		},
		Subscription: func(p *driver.Params) []any {
			var l label
			p.String("label", (*string)(&l))
			return []any{l}
		},
	}, "vault", "vaults")
}

func (v *vault) Open(ctx context.Context) (driver.Conn, error) {
	password, _ := v.url.User.Password()
	if v.tell {
		return nil, driver.Errorf(driver.CodeUnauthenticated, "vault: cannot log in as %s with %s", v.url.User.Username(), password)
	}
	conn, err := v.Driver.Open(ctx)
	return &vaultConn{conn}, err
}

type vaultConn struct{ driver.Conn }

func (c *vaultConn) Topic(ctx context.Context, r driver.TopicRequest) (driver.Topic, error) {
	if want := []any{shelves{3}}; !slices.Equal(r.Settings, want) {
		return nil, driver.Errorf(driver.CodeInternal, "got settings %v; want %v", r.Settings, want)
	}
	r.Settings = nil
	return c.Conn.Topic(ctx, r)
}

func (c *vaultConn) Backlog(_ context.Context, r driver.SubscribeRequest) (driver.Backlog, error) {
	if want := []any{shelves{3}, label("red")}; !slices.Equal(r.Settings, want) {
		return driver.Backlog{}, driver.Errorf(driver.CodeInternal, "got settings %v; want %v", r.Settings, want)
	}
	return driver.Backlog{Ready: 7}, nil
}

// A subscription's settings may name its queue, so looking at what waits needs them too.
func TestSettingsReachTheBacklog(t *testing.T) {
	t.Parallel()
	client := open(t, `
brokers: {main: {url: vault://host}}
topics: {orders: {settings: {vault: {shelves: 3}}}}
subscriptions:
  billing: {topic: orders, group: billing, drop-permanent: true, settings: {vault: {label: red}}}
  live: {topic: orders, broadcast: true, drop-permanent: true}
`)
	defer client.Close(t.Context())
	if b, err := client.Backlog(t.Context(), "billing"); err != nil || b.Ready != 7 {
		t.Errorf("got %+v, %v", b, err)
	}
	_, err := client.Backlog(t.Context(), "live")
	if err == nil || err.Error() != `subscription "live" is a broadcast: nothing waits for it on the broker` || pubsub.CodeOf(err) != pubsub.CodeUnsupported {
		t.Errorf("got %v", err)
	}
}

func TestSettingsReachTheDriver(t *testing.T) {
	t.Parallel()
	client := open(t, `
brokers: {main: {url: vault://host}}
topics:
  orders:
    settings:
      vault: {shelves: 3}
`)
	defer client.Close(t.Context())
	if _, err := client.Publisher(t.Context(), "orders"); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"shelfs: 3":    `f.yaml:2:43: topics.orders.settings.vault.shelfs: vault settings of a topic: unknown parameter "shelfs"; did you mean "shelves"?`,
		"shelves: odd": `topics.orders.settings.vault.shelves: vault settings of a topic: parameter "shelves" is "odd"`,
	} {
		_, err := config.Parse("f.yaml", []byte("brokers: {main: {url: vault://host}}\ntopics: {orders: {settings: {   vault:   {"+text+"}}}}"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

func TestSeveralBrokers(t *testing.T) {
	t.Parallel()
	client := open(t, `
broker: near
brokers:
  near: {url: "memory://several-near?like=rabbitmq"}
  far: {url: "memory://several-far?like=kafka"}
  unused: {url: "rabbitmq://nowhere"}
topics:
  orders: {}
  archive: {broker: far, kind: queue}
subscriptions:
  billing: {topic: orders, group: billing, dead-letter: {topic: archive}}
  archive: {topic: archive, drop-permanent: true}
`)
	billing, err := client.Subscriber(t.Context(), "billing")
	if err != nil {
		t.Fatal(err)
	}
	archive, err := client.Subscriber(t.Context(), "archive")
	if err != nil {
		t.Fatal(err)
	}
	orders, err := client.Publisher(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := orders.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if b, err := client.Backlog(t.Context(), "billing"); err != nil || b.Ready != 1 {
		t.Errorf("backlog: %+v, %v", b, err)
	}
	if far, ok := client.Broker("far"); !ok || far.Capabilities().Broker != "memory, like Kafka" {
		t.Error("broker far is not Kafka")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	came := false
	err = client.Serve(ctx,
		pubsub.Handle(billing, func(context.Context, *pubsub.Delivery) error { return pubsub.Permanent(errors.New("no")) }),
		pubsub.Handle(archive, func(context.Context, *pubsub.Delivery) error {
			came = true
			cancel()
			return nil
		}))
	if err != nil || !came {
		t.Errorf("dead letter on the other broker: %t, %v", came, err)
	}
}

func TestNamesThatTheFileLacks(t *testing.T) {
	t.Parallel()
	client := open(t, "brokers: {main: {url: memory://lacks}}\ntopics: {orders: }\nsubscriptions: {billing: {topic: orders, group: b, drop-permanent: true}}")
	defer client.Close(t.Context())
	_, err := client.Publisher(t.Context(), "ordres")
	if err == nil || err.Error() != `f.yaml has no topic "ordres"; did you mean "orders"?` {
		t.Errorf("got %v", err)
	}
	_, err = client.Subscriber(t.Context(), "biling")
	_, other := client.Backlog(t.Context(), "biling")
	for _, err := range []error{err, other} {
		if err == nil || err.Error() != `f.yaml has no subscription "biling"; did you mean "billing"?` || pubsub.CodeOf(err) != pubsub.CodeInvalid {
			t.Errorf("got %v", err)
		}
	}
}

func TestBrokerThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"memroy://x":          `f.yaml:1:18: brokers.main.url: no driver for scheme "memroy" is linked in; did you mean "memory"?`,
		"memory://x?laese=3s": `brokers.main.url: memory URL: unknown parameter "laese"`,
	} {
		_, err := parse(t, "brokers: {main: {url: '"+url+"'}}\ntopics: {orders: }").Client(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

// A second Close waits for the first: a handler that still drains may publish to the
// other broker.
func TestSecondCloseWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := open(t, `
broker: near
brokers:
  near: {url: "memory://close-near"}
  far: {url: "memory://close-far"}
topics: {orders: {}, archive: {broker: far, kind: queue}}
subscriptions: {billing: {topic: orders, group: billing, drop-permanent: true}}
`)
		billing, err := client.Subscriber(t.Context(), "billing")
		if err != nil {
			t.Fatal(err)
		}
		orders, err := client.Publisher(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		archive, err := client.Publisher(t.Context(), "archive")
		if err != nil {
			t.Fatal(err)
		}
		if err := orders.Publish(t.Context(), &pubsub.Message{}); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 3)
		var published error
		go func() {
			ended <- billing.Receive(t.Context(), func(ctx context.Context, _ *pubsub.Delivery) error {
				time.Sleep(10 * time.Second)
				published = archive.Publish(ctx, &pubsub.Message{})
				return published
			})
		}()
		synctest.Wait()
		for range 2 {
			go func() { ended <- client.Close(t.Context()) }()
			synctest.Wait()
		}
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if published != nil {
			t.Errorf("the handler could not publish: %v", published)
		}
	})
}
