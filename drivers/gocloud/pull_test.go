package gocloud_test

import (
	"context"
	"strings"
	"testing"
	"time"

	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/drivers/gocloud"
	_ "github.com/waybill-go/waybill/drivers/memory" // registers memory://
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
)

// A Nack is a failed attempt: what is nacked too often goes to the dead letter.
func TestNackIsAnAttempt(t *testing.T) {
	t.Parallel()
	c := client(t, "memory://nacked")
	dead, err := c.Publisher(t.Context(), "dead", pubsub.Queue())
	must(t, err)
	letters, err := c.Subscriber(t.Context(), "dead", pubsub.Queue(), pubsub.DropPermanent())
	must(t, err)
	opener := &gocloud.URLOpener{Client: c, Subscriber: []pubsub.SubscriberOption{
		middleware.DeadLetter(dead, middleware.DeadLetterPolicy{MaxAttempts: 3}),
		pubsub.RetryBackoff(pubsub.Backoff{Min: time.Millisecond, Max: time.Millisecond}),
	}}
	var mux cloud.URLMux
	mux.RegisterTopic(gocloud.Scheme, opener)
	mux.RegisterSubscription(gocloud.Scheme, opener)
	topic, err := mux.OpenTopic(t.Context(), "waybill://orders")
	must(t, err)
	s, err := mux.OpenSubscription(t.Context(), "waybill://orders?group=billing")
	must(t, err)
	must(t, topic.Send(t.Context(), &cloud.Message{Body: []byte("poison")}))
	for range 3 {
		m, err := s.Receive(t.Context())
		must(t, err)
		m.Nack()
	}
	seen := receive(t, letters, func(context.Context, *pubsub.Delivery) error { return nil })
	if d := next(t, seen); string(d.Body) != "poison" {
		t.Errorf("dead letter has body %q", d.Body)
	}
	must(t, s.Shutdown(t.Context()))
	must(t, topic.Shutdown(t.Context()))
}

// What has no verdict at Shutdown comes again to the next member.
func TestShutdownGivesBack(t *testing.T) {
	t.Parallel()
	c := client(t, "memory://given-back")
	open := func() *cloud.Subscription {
		s, err := c.Subscriber(t.Context(), "orders", pubsub.Group("g"), pubsub.DropPermanent())
		must(t, err)
		return gocloud.NewSubscription(s)
	}
	p, err := c.Publisher(t.Context(), "orders")
	must(t, err)
	first := open()
	must(t, p.Publish(t.Context(), &pubsub.Message{Body: []byte("a")}, &pubsub.Message{Body: []byte("b")}))
	m, err := first.Receive(t.Context())
	must(t, err)
	m.Ack()
	if _, err := first.Receive(t.Context()); err != nil { // never acknowledged
		t.Fatal(err)
	}
	must(t, first.Shutdown(t.Context()))
	second := open()
	again, err := second.Receive(t.Context())
	must(t, err)
	if string(again.Body) == string(m.Body) {
		t.Errorf("got %q, which was acknowledged", again.Body)
	}
	again.Ack()
	must(t, second.Shutdown(t.Context()))
}

func TestWrongExportURLs(t *testing.T) {
	t.Parallel()
	opener := &gocloud.URLOpener{Client: client(t, "memory://wrong")}
	var mux cloud.URLMux
	mux.RegisterTopic(gocloud.Scheme, opener)
	mux.RegisterSubscription(gocloud.Scheme, opener)
	for address, want := range map[string]string{
		"waybill://":                              "want waybill://TOPIC",
		"waybill://orders/x":                      "want waybill://TOPIC",
		"waybill://orders?goup=g":                 `did you mean "group"?`,
		"waybill://orders":                        "say who reads",
		"waybill://orders?group=g&broadcast=true": "contradict each other",
		"waybill://orders?kind=stream":            "want one of event, queue",
		"waybill://orders?kind=queue&group=g":     "a queue has no groups",
	} {
		if _, err := mux.OpenSubscription(t.Context(), address); err == nil || !strings.Contains(err.Error(), want) || pubsub.CodeOf(err) != pubsub.CodeInvalid {
			t.Errorf("%s: got %v; want invalid, with %q", address, err, want)
		}
	}
	if _, err := mux.OpenTopic(t.Context(), "waybill://orders?group=g"); err == nil || !strings.Contains(err.Error(), "for subscriptions") {
		t.Errorf("a topic with a group: %v", err)
	}
}
