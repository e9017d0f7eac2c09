package gocloud_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	cloud "gocloud.dev/pubsub"
	"gocloud.dev/pubsub/mempubsub"

	"github.com/waybill-go/waybill/drivers/gocloud"
	"github.com/waybill-go/waybill/internal/matrix"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// cellar is a broker of gocloud.dev's memory driver. A subscription of it outlives lost
// connections, and ends when the last that used it was closed.
type cellar struct {
	mu     sync.Mutex
	topics map[string]*cloud.Topic
	groups map[string]*shelf
}

type shelf struct {
	*cloud.Subscription
	users map[*tap]bool
}

// tap is a connection to it.
type tap struct {
	*cellar
	lost chan struct{}
	dry  bool
}

func newCellar() *cellar {
	return &cellar{topics: map[string]*cloud.Topic{}, groups: map[string]*shelf{}}
}

func (c *cellar) connect(context.Context) (*tap, error) {
	return &tap{cellar: c, lost: make(chan struct{})}, nil
}

func (t *tap) Capabilities() driver.Capabilities {
	return driver.Capabilities{Broker: "gocloud.dev (mempubsub)", Groups: true, Queues: true, Broadcast: true, Competing: true}
}

func (t *tap) Done() <-chan struct{} { return t.lost }

func (t *tap) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dry = true
	close(t.lost)
}

func (t *tap) Close(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.groups {
		if !s.users[t] {
			continue
		}
		delete(s.users, t)
		if len(s.users) > 0 || t.dry {
			continue
		}
		delete(t.groups, name)
		if err := s.Shutdown(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *tap) Topic(_ context.Context, r driver.TopicRequest) (*cloud.Topic, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	topic, err := t.topic(&r)
	if err == nil && r.Kind == driver.Queue {
		_, err = t.subscription(&r, "queue")
	}
	return topic, err
}

func (t *tap) topic(r *driver.TopicRequest) (*cloud.Topic, error) {
	if t.topics[r.Topic] == nil {
		if r.Topology != driver.Create {
			return nil, driver.Errorf(driver.CodeNotFound, "there is no topic %s", r.Topic)
		}
		t.topics[r.Topic] = mempubsub.NewTopic()
	}
	return t.topics[r.Topic], nil
}

func (t *tap) Subscription(_ context.Context, r driver.SubscribeRequest) (*cloud.Subscription, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case r.Kind == driver.Queue:
		return t.subscription(&r.TopicRequest, "queue")
	case r.Broadcast():
		topic, err := t.topic(&r.TopicRequest)
		if err != nil {
			return nil, err
		}
		return mempubsub.NewSubscription(topic, time.Minute), nil
	default:
		return t.subscription(&r.TopicRequest, "group "+r.Group)
	}
}

func (t *tap) subscription(r *driver.TopicRequest, name string) (*cloud.Subscription, error) {
	topic, err := t.topic(r)
	if err != nil {
		return nil, err
	}
	name += " of " + r.Topic
	if t.groups[name] == nil {
		if r.Topology == driver.Verify {
			return nil, driver.Errorf(driver.CodeNotFound, "there is no %s", name)
		}
		t.groups[name] = &shelf{mempubsub.NewSubscription(topic, time.Minute), map[*tap]bool{}}
	}
	t.groups[name].users[t] = true
	return t.groups[name].Subscription, nil
}

// cable is a driver that can be cut.
type cable struct {
	*gocloud.Driver
	mu   sync.Mutex
	live []interface{ cut() }
}

func drive[B interface {
	gocloud.Broker
	cut()
}](t testing.TB, connect func(context.Context) (B, error)) driver.Driver {
	t.Helper()
	c := &cable{}
	d, err := gocloud.New(gocloud.Config{Connect: func(ctx context.Context) (gocloud.Broker, error) {
		b, err := connect(ctx)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.live = append(c.live, b)
		return b, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.Driver = d
	return c
}

// sever cuts what a driver has open, as a network failure would.
func sever(_ testing.TB, d driver.Driver) {
	c := d.(*cable)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.live {
		b.cut()
	}
	c.live = nil
}

// hands says of a goroutine that it is gocloud.dev's and hands a batch to a Receive that
// nobody calls any more: Shutdown does not end it.
func hands(stack string) bool {
	return strings.Contains(stack, "[chan send") && strings.Contains(stack, "gocloud.dev/pubsub.(*Subscription).Receive.func")
}

func TestConformance(t *testing.T) {
	t.Parallel()
	c := newCellar()
	pubsubtest.Run(t, pubsubtest.Harness{
		Driver:     func(t testing.TB) driver.Driver { return drive(t, c.connect) },
		Disconnect: sever,
		Excuse:     hands,
		Quiet:      600 * time.Millisecond, // mempubsub polls four times a second
		Parallel:   true,
	})
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	conn, err := drive(t, newCellar().connect).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	matrix.Check(t, "gocloud.dev", conn.Capabilities())
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
