package gocloud_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"gocloud.dev/gcerrors"
	cloud "gocloud.dev/pubsub"
	cloudriver "gocloud.dev/pubsub/driver"

	"github.com/waybill-go/waybill/drivers/gocloud"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// departure is a broker that ends what receives from it while it is closed.
type departure struct {
	wire
	closing, failing chan struct{}
	conn             driver.Conn
}

func (d *departure) Capabilities() driver.Capabilities { return driver.Capabilities{Groups: true} }

func (d *departure) Done() <-chan struct{} { return nil }

func (d *departure) Topic(context.Context, driver.TopicRequest) (*cloud.Topic, error) {
	return cloud.NewTopic(wireTopic{d.wire}, nil), nil
}

func (d *departure) Subscription(context.Context, driver.SubscribeRequest) (*cloud.Subscription, error) {
	return cloud.NewSubscription(departureEnd{wireEnd{d.wire}, d}, nil, nil), nil
}

// Close returns when a reader has seen that it failed, and not yet ended.
func (d *departure) Close(context.Context) error {
	close(d.closing)
	<-d.failing
	return nil
}

type departureEnd struct {
	wireEnd
	from *departure
}

func (e departureEnd) ReceiveBatch(ctx context.Context, _ int) ([]*cloudriver.Message, error) {
	select {
	case <-e.from.closing:
		return nil, gone{e.from}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (departureEnd) ErrorCode(error) gcerrors.ErrorCode { return gcerrors.Internal }

// gone is an error that takes its time to be understood.
type gone struct{ from *departure }

func (gone) Error() string { return "gone" }

func (g gone) As(target any) bool {
	if _, ok := target.(*driver.Coder); !ok {
		return false // gocloud.dev asks
	}
	close(g.from.failing)
	<-g.from.conn.Done()
	for range 1000 {
		runtime.Gosched() // the one who closes goes first
	}
	return false
}

// A reader may fail while the connection is closed; the race detector looks on.
func TestCloseUnderReader(t *testing.T) {
	t.Parallel()
	for range 20 {
		broker := &departure{wire: make(wire), closing: make(chan struct{}), failing: make(chan struct{})}
		d, err := gocloud.New(gocloud.Config{Connect: func(context.Context) (gocloud.Broker, error) { return broker, nil }})
		must(t, err)
		broker.conn, err = d.Open(t.Context())
		must(t, err)
		r := driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: "t"}, Group: "g"}
		s, err := broker.conn.Subscribe(t.Context(), r)
		must(t, err)
		s.Credit(1, 1<<20)
		var receiving sync.WaitGroup
		receiving.Go(func() {
			if err := s.Receive(t.Context(), &driver.Intake{}); err == nil {
				t.Error("received without an error")
			}
		})
		must(t, broker.conn.Close(t.Context()))
		receiving.Wait()
		must(t, s.Close(t.Context()))
	}
}

// slowly is a broker that opens one thing, and is asked to close meanwhile.
type slowly struct {
	departure
	opening, open chan struct{}
	early         bool // closed while something was opened
}

func (s *slowly) Subscription(ctx context.Context, r driver.SubscribeRequest) (*cloud.Subscription, error) {
	close(s.opening)
	<-s.open
	return s.departure.Subscription(ctx, r)
}

func (s *slowly) Close(context.Context) error {
	select {
	case <-s.open:
	default:
		s.early = true
	}
	return nil
}

// What is opened while the connection is closed is there for the broker to close, and nothing
// is opened after.
func TestCloseWhileItOpens(t *testing.T) {
	t.Parallel()
	broker := &slowly{departure: departure{wire: make(wire), closing: make(chan struct{})}, opening: make(chan struct{}), open: make(chan struct{})}
	d, err := gocloud.New(gocloud.Config{Connect: func(context.Context) (gocloud.Broker, error) { return broker, nil }})
	must(t, err)
	conn, err := d.Open(t.Context())
	must(t, err)
	r := driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: "t"}, Group: "g"}
	var both sync.WaitGroup
	both.Go(func() {
		if err := conn.Declare(t.Context(), r); err != nil {
			t.Errorf("declare: %v", err)
		}
	})
	<-broker.opening
	both.Go(func() {
		if err := conn.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for range 1000 {
		runtime.Gosched() // the one who closes goes first, if it can
	}
	close(broker.open)
	both.Wait()
	if broker.early {
		t.Error("the broker was closed while it opened something")
	}
	r.Group = "late"
	if err := conn.Declare(t.Context(), r); driver.CodeOf(err) != driver.CodeClosed {
		t.Errorf("after Close: %v", err)
	}
}
