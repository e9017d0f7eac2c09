package gocloud

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	cloud "gocloud.dev/pubsub"
	cloudriver "gocloud.dev/pubsub/driver"
	"gocloud.dev/pubsub/drivertest"

	_ "github.com/waybill-go/waybill/drivers/memory" // registers memory://
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// shelf is gocloud.dev's harness over a client of Waybill's.
type shelf struct{ client *pubsub.Client }

var shelves atomic.Int64

func newShelf(ctx context.Context, _ *testing.T) (drivertest.Harness, error) {
	c, err := pubsub.Open(ctx, fmt.Sprintf("memory://shelf-%d", shelves.Add(1)))
	return &shelf{c}, err
}

func (s *shelf) CreateTopic(ctx context.Context, name string) (cloudriver.Topic, func(), error) {
	t, err := s.client.Publisher(ctx, name)
	return newTopic(t, TopicOptions{}), func() {}, err
}

func (s *shelf) CreateSubscription(ctx context.Context, t cloudriver.Topic, _ string) (cloudriver.Subscription, func(), error) {
	r, err := s.client.Subscriber(ctx, t.(*topic).to.(*pubsub.Topic).Name(),
		pubsub.Group(fmt.Sprint("g", shelves.Add(1))), pubsub.DropPermanent(), pubsub.Concurrency(100))
	return newPull(r), func() {}, err
}

// missing is a topic and a subscription that do not exist.
type missing struct{}

var errMissing error = &pubsub.Error{Code: pubsub.CodeNotFound, Op: "open", Target: "nothing", Err: errors.New("there is no such thing")}

func (missing) Publish(context.Context, ...*pubsub.Message) error { return errMissing }

func (missing) PublishAsync(_ context.Context, _ *pubsub.Message, done func(error)) { done(errMissing) }

func (missing) Receive(context.Context, pubsub.Handler) error { return errMissing }

func (s *shelf) MakeNonexistentTopic(context.Context) (cloudriver.Topic, error) {
	return newTopic(missing{}, TopicOptions{}), nil
}

func (s *shelf) MakeNonexistentSubscription(context.Context) (cloudriver.Subscription, func(), error) {
	return newPull(missing{}), func() {}, nil
}

func (s *shelf) Close() { _ = s.client.Close(context.Background()) }

func (s *shelf) MaxBatchSizes() (int, int) { return 0, 0 }

func (s *shelf) SupportsMultipleSubscriptions() bool { return true }

// reach is the drivertest of As.
type reach struct{}

func (reach) Name() string { return "Waybill's own types" }

func (reach) TopicCheck(t *cloud.Topic) error {
	var p pubsub.Publisher
	if !t.As(&p) || p == nil {
		return errors.New("As gives no Publisher")
	}
	return nil
}

func (reach) SubscriptionCheck(s *cloud.Subscription) error {
	var r pubsub.Subscriber
	if !s.As(&r) || r == nil {
		return errors.New("As gives no Subscriber")
	}
	return nil
}

func (reach) TopicErrorCheck(t *cloud.Topic, err error) error {
	var e *pubsub.Error
	if !t.ErrorAs(err, &e) || e.Code != pubsub.CodeNotFound {
		return fmt.Errorf("ErrorAs finds no Error of ours: %w", err)
	}
	return nil
}

func (reach) SubscriptionErrorCheck(s *cloud.Subscription, err error) error {
	var e *pubsub.Error
	if !s.ErrorAs(err, &e) || e.Code != pubsub.CodeNotFound {
		return fmt.Errorf("ErrorAs finds no Error of ours: %w", err)
	}
	return nil
}

func (reach) MessageCheck(m *cloud.Message) error {
	var d *pubsub.Delivery
	if !m.As(&d) || d.Key != "set before sending" {
		return fmt.Errorf("As gives %v", d)
	}
	return nil
}

func (reach) BeforeSend(as func(any) bool) error {
	var m *pubsub.Message
	if !as(&m) {
		return errors.New("BeforeSend gives no Message")
	}
	m.Key = "set before sending"
	return nil
}

func (reach) AfterSend(func(any) bool) error { return nil }

// TestExport runs gocloud.dev's own conformance tests.
func TestExport(t *testing.T) {
	if testing.Short() {
		t.Skip("a case of theirs waits for half a minute")
	}
	drivertest.RunConformanceTests(t, newShelf, []drivertest.AsTest{reach{}})
}

var _ driver.Driver = (*Driver)(nil)
