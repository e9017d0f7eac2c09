package pubsubtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// kit is what a case works with.
type kit struct {
	testing.TB
	Harness
	driver driver.Driver
	caps   driver.Capabilities
	ctx    context.Context //nolint:containedctx // of the case
	prefix string
}

func newKit(t testing.TB, h Harness) *kit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 6*h.Patience)
	t.Cleanup(cancel)
	k := &kit{TB: t, Harness: h, driver: h.Driver(t), ctx: ctx, prefix: "wb-" + strings.ToLower(rand.Text()[:8])}
	conn := k.conn()
	k.caps = conn.Capabilities()
	return k
}

// name makes a name that no other case uses.
func (k *kit) name(of string) string { return k.prefix + "-" + of }

// must fails the case on an error.
func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// code fails the case unless err has the code.
func (k *kit) code(err error, want pubsub.Code, doing string) {
	k.Helper()
	if err == nil || pubsub.CodeOf(err) != want {
		k.Errorf("%s: got error %v (code %s), want code %s", doing, err, pubsub.CodeOf(err), want)
	}
}

// client opens a client that is closed at the end.
func (k *kit) client(options ...pubsub.ClientOption) *pubsub.Client {
	k.Helper()
	options = append([]pubsub.ClientOption{
		pubsub.Logger(slog.New(slog.DiscardHandler)),
		pubsub.ReconnectBackoff(pubsub.Backoff{Min: 5 * time.Millisecond, Max: 200 * time.Millisecond}),
	}, options...)
	c, err := pubsub.New(k.ctx, k.driver, options...)
	k.must(err)
	k.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), k.Patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			k.Errorf("close client: %v", err)
		}
	})
	return c
}

// publisher opens a topic for publishing.
func (k *kit) publisher(c *pubsub.Client, topic string, options ...pubsub.PublisherOption) *pubsub.Topic {
	k.Helper()
	p, err := c.Publisher(k.ctx, topic, append([]pubsub.PublisherOption{pubsub.TopicOptions(k.TopicOptions...)}, options...)...)
	k.must(err)
	return p
}

// trySubscriber opens a subscription that retries soon.
func (k *kit) trySubscriber(c *pubsub.Client, topic string, options ...pubsub.SubscriberOption) (*pubsub.Subscription, error) {
	return c.Subscriber(k.ctx, topic, append([]pubsub.SubscriberOption{
		pubsub.TopicOptions(k.TopicOptions...),
		pubsub.RetryBackoff(pubsub.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}),
	}, options...)...)
}

// subscriber is trySubscriber, which drops what fails permanently, and must work.
func (k *kit) subscriber(c *pubsub.Client, topic string, options ...pubsub.SubscriberOption) *pubsub.Subscription {
	k.Helper()
	s, err := k.trySubscriber(c, topic, append([]pubsub.SubscriberOption{pubsub.DropPermanent()}, options...)...)
	k.must(err)
	return s
}

// publish publishes messages with these bodies, one after the other.
func (k *kit) publish(p *pubsub.Topic, key string, bodies ...string) {
	k.Helper()
	for _, body := range bodies {
		k.must(p.Publish(k.ctx, &pubsub.Message{Key: key, Body: []byte(body)}))
	}
}

// A box is a Receive that runs, and what its handler saw.
type box struct {
	kit    *kit
	seen   chan *pubsub.Delivery
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	once   sync.Once
}

// open receives, with a handler that shows each delivery, then does as verdict says;
// nil says that all is done.
func (k *kit) open(s pubsub.Subscriber, verdict pubsub.Handler) *box {
	k.Helper()
	ctx, cancel := context.WithCancel(k.ctx)
	b := &box{kit: k, seen: make(chan *pubsub.Delivery, 10_000), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.err = s.Receive(ctx, func(ctx context.Context, d *pubsub.Delivery) error {
			b.seen <- d
			if verdict == nil {
				return nil
			}
			return verdict(ctx, d)
		})
	}()
	k.Cleanup(func() { b.close() })
	return b
}

// close ends the Receive, which must return nil.
func (b *box) close() {
	b.kit.Helper()
	b.cancel()
	select {
	case <-b.done:
	case <-time.After(b.kit.Patience):
		b.kit.Errorf("Receive did not return within %v of its context's end", b.kit.Patience)
		return
	}
	b.once.Do(func() {
		if b.err != nil {
			b.kit.Errorf("Receive: %v", b.err)
		}
	})
}

// next waits for a delivery.
func (b *box) next() *pubsub.Delivery {
	b.kit.Helper()
	select {
	case d := <-b.seen:
		return d
	case <-b.done:
		b.kit.Fatalf("Receive ended: %v", b.err)
	case <-time.After(b.kit.Patience):
		b.kit.Fatalf("no delivery within %v", b.kit.Patience)
	}
	return nil
}

// take waits for n deliveries.
func (b *box) take(n int) []*pubsub.Delivery {
	b.kit.Helper()
	list := make([]*pubsub.Delivery, n)
	for i := range list {
		list[i] = b.next()
	}
	return list
}

// none watches that nothing more comes.
func (b *box) none() {
	b.kit.Helper()
	select {
	case d := <-b.seen:
		b.kit.Errorf("unexpected delivery %q, attempt %d", d.Body, d.Attempt)
	case <-time.After(b.kit.Quiet):
	}
}

// bodies lists the bodies of deliveries.
func bodies(list []*pubsub.Delivery) []string {
	s := make([]string, len(list))
	for i, d := range list {
		s[i] = string(d.Body)
	}
	return s
}

// numbers makes the bodies 0 to n-1.
func numbers(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprint(i)
	}
	return s
}

// await waits until a channel is closed or sends.
func await[T any](k *kit, ch <-chan T, what string) T {
	k.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(k.Patience):
		k.Fatalf("%s: not within %v", what, k.Patience)
		panic("unreachable")
	}
}

// until looks again and again whether something is so that no event tells of; false if it
// is not within the harness's patience.
func (k *kit) until(is func() bool) bool {
	k.Helper()
	return until(k.Patience, is)
}

func until(patience time.Duration, is func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}
