package config_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
	"github.com/waybill-go/waybill/pubsub/deadletter"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// TestDeadLetters brings letters back to the topics of the file that they come from.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("shop.yaml", []byte(`
brokers: {main: {url: "memory://dead-letters"}}
topics: {orders: {name: shop.orders}, images: {kind: queue}, dead: {kind: queue}, dropped: {kind: queue}}
subscriptions:
  billing: {topic: orders, group: billing, dead-letter: {topic: dead}}
  scaling: {topic: images, dead-letter: {topic: dead}}
  audit: {topic: orders, group: audit, drop-permanent: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.DeadLetters(); !slices.Equal(got, []string{"dead"}) {
		t.Errorf("dead letters %q", got)
	}
	client, err := cfg.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.WithoutCancel(t.Context()))
	for _, name := range []string{"billing", "scaling"} {
		s, err := client.Subscriber(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		topic := map[string]string{"billing": "orders", "scaling": "images"}[name]
		out, err := client.Publisher(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Publish(t.Context(), &pubsub.Message{Body: []byte(topic)}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = s.Receive(ctx, func(context.Context, *pubsub.Delivery) error {
			cancel()
			return pubsub.Permanent(errors.New("never"))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	quiet := pubsub.BrowsePolicy{Quiet: 300 * time.Millisecond}
	var sources []string
	err = client.Letters(t.Context(), "dead", deadletter.Filter{}, quiet, func(l deadletter.Letter) bool {
		sources = append(sources, l.Source)
		return true
	})
	if err != nil || !slices.Equal(sources, []string{"shop.orders", "images"}) {
		t.Errorf("letters of %q, error %v", sources, err)
	}
	// A letter that does not tell may be of either.
	dead, err := client.Publisher(t.Context(), "dead")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Publish(t.Context(), &pubsub.Message{Body: []byte("of somebody")}); err != nil {
		t.Fatal(err)
	}
	var failed []string
	report, err := client.Redrive(t.Context(), "dead", deadletter.Policy{Quiet: quiet.Quiet, Failed: func(l deadletter.Letter, err error) {
		failed = append(failed, string(l.Body)+": "+err.Error())
	}})
	if err != nil || report.Redriven != 2 || len(failed) != 1 || !strings.Contains(failed[0], "of somebody: dead: its letter does not tell") {
		t.Errorf("%+v, %q, error %v", report, failed, err)
	}
	for _, subscription := range []string{"billing", "scaling"} {
		if b, err := client.Backlog(t.Context(), subscription); err != nil || b.Ready != 1 {
			t.Errorf("%s has %+v, error %v", subscription, b, err)
		}
	}
	if b, err := client.Waiting(t.Context(), "dead"); err != nil || b.Ready != 1 {
		t.Errorf("left: %+v, error %v", b, err)
	}
	for want, name := range map[string]string{`did you mean "dead"?`: "deed", "no dead-letter topic": "orders"} {
		_, redrive := client.Redrive(t.Context(), name, deadletter.Policy{})
		_, waiting := client.Waiting(t.Context(), name)
		for _, err := range []error{redrive, waiting, client.Letters(t.Context(), name, deadletter.Filter{}, quiet, func(deadletter.Letter) bool { return true })} {
			if pubsub.CodeOf(err) != pubsub.CodeInvalid || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// counted is a broker that knows how many topics are open.
type counted struct{ driver.Driver }

var openTopics atomic.Int64

func init() {
	driver.Register("counted", func(*url.URL) (driver.Driver, error) {
		broker, err := memory.New(memory.Config{})
		return counted{broker}, err
	})
}

func (c counted) Open(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Driver.Open(ctx)
	return countedConn{conn}, err
}

type countedConn struct{ driver.Conn }

func (c countedConn) Topic(ctx context.Context, r driver.TopicRequest) (driver.Topic, error) {
	t, err := c.Conn.Topic(ctx, r)
	if err != nil {
		return nil, err
	}
	openTopics.Add(1)
	return countedTopic{t}, nil
}

type countedTopic struct{ driver.Topic }

func (t countedTopic) Close(ctx context.Context) error {
	openTopics.Add(-1)
	return t.Topic.Close(ctx)
}

// A redrive closes the topics that it opened.
func TestRedriveLeavesNoTopicOpen(t *testing.T) {
	t.Parallel()
	client := open(t, `
brokers: {main: {url: "counted://"}}
topics: {orders: {}, dead: {kind: queue}}
subscriptions: {billing: {topic: orders, group: billing, dead-letter: {topic: dead}}}
`)
	defer client.Close(t.Context())
	dead, err := client.Publisher(t.Context(), "dead")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Subscriber(t.Context(), "billing"); err != nil { // its dead letters go to another opening of dead
		t.Fatal(err)
	}
	orders, err := client.Publisher(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := orders.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := dead.Publish(t.Context(), &pubsub.Message{}); err != nil {
			t.Fatal(err)
		}
		report, err := client.Redrive(t.Context(), "dead", deadletter.Policy{Quiet: 300 * time.Millisecond})
		if err != nil || report.Redriven != 1 {
			t.Errorf("%+v, %v", report, err)
		}
	}
	if n := openTopics.Load(); n != 2 {
		t.Errorf("%d topics are open, want the two of the dead letters alone", n)
	}
}

// Looking at dead letters and bringing them back declares nothing: not the dead-letter topic,
// not a topic where letters failed, and not a group that is gone.
func TestDeadLettersDeclareNothing(t *testing.T) {
	t.Parallel()
	client := open(t, `
brokers: {main: {url: "memory://declare-nothing"}}
topics: {orders: {}, dead: {kind: queue}}
subscriptions: {billing: {topic: orders, group: billing, dead-letter: {topic: dead}}}
`)
	defer client.Close(context.WithoutCancel(t.Context()))
	policy, quiet := deadletter.Policy{Quiet: 300 * time.Millisecond}, pubsub.BrowsePolicy{Quiet: 300 * time.Millisecond}
	look := func(deadletter.Letter) bool { return true }
	broker, _ := client.Broker("main")
	for range 2 {
		_, redrive := client.Redrive(t.Context(), "dead", policy)
		for name, err := range map[string]error{
			"letters": client.Letters(t.Context(), "dead", deadletter.Filter{}, quiet, look), "redrive": redrive,
			"list": deadletter.List(t.Context(), broker, "dead", deadletter.Filter{}, quiet, look),
		} {
			if pubsub.CodeOf(err) != pubsub.CodeNotFound {
				t.Errorf("%s of a topic that is not there: %v", name, err)
			}
		}
	}
	dead, err := client.Publisher(t.Context(), "dead")
	if err != nil {
		t.Fatal(err)
	}
	letter := &pubsub.Message{Headers: map[string]string{middleware.HeaderTopic: "orders", middleware.HeaderGroup: "billing"}}
	if err := dead.Publish(t.Context(), letter); err != nil {
		t.Fatal(err)
	}
	redrive := func(want string) {
		t.Helper()
		policy.Failed = func(_ deadletter.Letter, err error) {
			if pubsub.CodeOf(err) != pubsub.CodeNotFound || !strings.Contains(err.Error(), want) {
				t.Errorf("it failed with %v, want %q", err, want)
			}
		}
		if report, err := client.Redrive(t.Context(), "dead", policy); err != nil || report.Failed != 1 {
			t.Errorf("%+v, %v; want one failure: %s", report, err, want)
		}
	}
	redrive(`topic "orders" does not exist`)
	if _, err := client.Publisher(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	redrive(`has no group "billing"`)
	if _, err := client.Subscriber(t.Context(), "billing"); err != nil {
		t.Fatal(err)
	}
	if report, err := client.Redrive(t.Context(), "dead", policy); err != nil || report.Redriven != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}
