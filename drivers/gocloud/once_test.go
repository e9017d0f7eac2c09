package gocloud_test

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"gocloud.dev/gcerrors"
	cloud "gocloud.dev/pubsub"
	cloudriver "gocloud.dev/pubsub/driver"

	"github.com/waybill-go/waybill/drivers/gocloud"
	"github.com/waybill-go/waybill/pubsub"
)

// wire is a broker that takes nothing back, as NATS: a channel.
type wire chan *cloudriver.Message

func (w wire) OpenTopicURL(context.Context, *url.URL) (*cloud.Topic, error) {
	return cloud.NewTopic(wireTopic{w}, nil), nil
}

func (w wire) OpenSubscriptionURL(context.Context, *url.URL) (*cloud.Subscription, error) {
	return cloud.NewSubscription(wireEnd{w}, nil, nil), nil
}

type wireTopic struct{ wire }

func (w wireTopic) SendBatch(_ context.Context, batch []*cloudriver.Message) error {
	for _, m := range batch {
		switch string(m.Body) {
		case "illegal":
			return illegal{}
		case "cut":
			return io.ErrUnexpectedEOF
		}
		w.wire <- m
	}
	return nil
}

type illegal struct{}

func (illegal) Error() string { return "the body is illegal" }

type wireEnd struct{ wire }

func (w wireEnd) ReceiveBatch(ctx context.Context, _ int) ([]*cloudriver.Message, error) {
	select {
	case m := <-w.wire:
		m.LoggableID, m.AsFunc = "m", func(any) bool { return false }
		return []*cloudriver.Message{m}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (wireEnd) CanNack() bool { return false }

func (wireEnd) SendAcks(context.Context, []cloudriver.AckID) error { return nil }

func (wireEnd) SendNacks(context.Context, []cloudriver.AckID) error {
	return errors.New("a nack to what takes none")
}

func (wire) IsRetryable(error) bool { return false }

func (wire) As(any) bool { return false }

func (wire) ErrorAs(error, any) bool { return false }

func (wire) ErrorCode(err error) gcerrors.ErrorCode {
	if errors.Is(err, illegal{}) {
		return gcerrors.InvalidArgument
	}
	return gcerrors.Unknown
}

func (wire) Close() error { return nil }

func wired(t *testing.T, atMostOnce bool) (*pubsub.Topic, *pubsub.Subscription) {
	t.Helper()
	w := make(wire, 100)
	return through(t, w, w, atMostOnce)
}

// through opens a topic through its opener, and a subscription of the wire.
func through(t *testing.T, topics cloud.TopicURLOpener, w wire, atMostOnce bool) (*pubsub.Topic, *pubsub.Subscription) {
	t.Helper()
	var mux cloud.URLMux
	mux.RegisterTopic("wire", topics)
	mux.RegisterSubscription("wire", w)
	d, err := gocloud.New(gocloud.Config{
		Connect:    gocloud.URLs{Topic: "wire://{topic}", Group: "wire://{topic}/{group}", Mux: &mux}.Connect,
		AtMostOnce: atMostOnce,
	})
	must(t, err)
	c, err := pubsub.New(t.Context(), d)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close(context.Background())) })
	topic, err := c.Publisher(t.Context(), "t", pubsub.Topology(pubsub.Assume))
	must(t, err)
	s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.Topology(pubsub.Assume), pubsub.DropPermanent())
	must(t, err)
	return topic, s
}

// What cannot give messages back is refused, and the error says how to take it all the same.
func TestAtMostOnceIsSaid(t *testing.T) {
	t.Parallel()
	topic, s := wired(t, false)
	must(t, topic.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}))
	err := s.Receive(t.Context(), func(context.Context, *pubsub.Delivery) error { return nil })
	if pubsub.CodeOf(err) != pubsub.CodeUnsupported || !strings.Contains(err.Error(), "at-most-once=true") {
		t.Errorf("got %v", err)
	}
}

// Said, what fails is tried again here, counted, though nothing goes back.
func TestAtMostOnce(t *testing.T) {
	t.Parallel()
	topic, s := wired(t, true)
	must(t, topic.Publish(t.Context(), &pubsub.Message{Body: []byte("x"), Headers: map[string]string{"a": "b"}}))
	seen := receive(t, s, func(_ context.Context, d *pubsub.Delivery) error {
		if d.Attempt < 4 {
			d.Headers["a"] = "changed by the handler"
			return pubsub.RetryAfter(0, errors.New("again"))
		}
		return nil
	})
	for want := 1; want <= 4; want++ {
		if d := next(t, seen); d.Attempt != want || string(d.Body) != "x" {
			t.Errorf("got %q, attempt %d; want attempt %d", d.Body, d.Attempt, want)
		}
	}
}

// What comes while nobody receives waits for who does, since it cannot go back.
func TestAtMostOnceBetweenReceives(t *testing.T) {
	t.Parallel()
	topic, s := wired(t, true)
	for _, body := range []string{"a", "b", "c"} {
		ctx, stop := context.WithCancel(t.Context())
		must(t, topic.Publish(ctx, &pubsub.Message{Body: []byte(body)}))
		var got string
		must(t, s.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
			got = string(d.Body)
			stop()
			return nil
		}))
		if got != body {
			t.Errorf("got %q, want %q", got, body)
		}
	}
}

// gocloud.dev tells one error to a whole batch; the engine finds the message at fault.
func TestOneFailureIsOnesOwn(t *testing.T) {
	t.Parallel()
	topic, s := wired(t, true)
	seen := receive(t, s, func(context.Context, *pubsub.Delivery) error { return nil })
	err := topic.Publish(t.Context(), &pubsub.Message{Body: []byte("a")}, &pubsub.Message{Body: []byte("illegal")}, &pubsub.Message{Body: []byte("b")})
	var partial *pubsub.PublishError
	if !errors.As(err, &partial) || len(partial.Failed) != 1 || partial.Failed[0].Index != 1 || !errors.Is(err, illegal{}) {
		t.Errorf("got %v; want message 1 alone", err)
	}
	for got := map[string]bool{}; len(got) < 2; {
		got[string(next(t, seen).Body)] = true
	}
}

// tellingOpener tells of each topic that it opens.
type tellingOpener struct {
	wire
	opened chan struct{}
}

func (o tellingOpener) OpenTopicURL(ctx context.Context, u *url.URL) (*cloud.Topic, error) {
	o.opened <- struct{}{}
	return o.wire.OpenTopicURL(ctx, u)
}

// An error that may heal opens the topic again, until the context ends.
func TestTopicIsOpenedAgain(t *testing.T) {
	t.Parallel()
	o := tellingOpener{make(wire, 100), make(chan struct{}, 1000)}
	topic, _ := through(t, o, o.wire, true)
	next(t, o.opened)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- topic.Publish(ctx, &pubsub.Message{Body: []byte("cut")}) }()
	next(t, o.opened)
	cancel()
	if err := next(t, failed); !errors.Is(err, pubsub.ErrUnconfirmed) {
		t.Errorf("got %v", err)
	}
	must(t, topic.Publish(t.Context(), &pubsub.Message{Body: []byte("whole")}))
}
