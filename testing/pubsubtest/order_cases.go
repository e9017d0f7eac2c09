package pubsubtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// journal notes per key what was handled, and whether two handlers of a key ran at
// a time.
type journal struct {
	mu      sync.Mutex
	bodies  map[string][]string
	running map[string]bool
	overlap string
	total   chan struct{}
}

func newJournal() *journal {
	return &journal{bodies: map[string][]string{}, running: map[string]bool{}, total: make(chan struct{}, 10_000)}
}

// handle notes a delivery around what inner does.
func (j *journal) handle(inner pubsub.Handler) pubsub.Handler {
	return func(ctx context.Context, d *pubsub.Delivery) error {
		j.mu.Lock()
		if j.running[d.Key] {
			j.overlap = d.Key
		}
		j.running[d.Key] = true
		j.mu.Unlock()
		var err error
		if inner != nil {
			err = inner(ctx, d)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.running[d.Key] = false
		if err == nil {
			j.bodies[d.Key] = append(j.bodies[d.Key], string(d.Body))
			j.total <- struct{}{}
		}
		return err
	}
}

func (j *journal) check(k *kit, keys, each int) {
	k.Helper()
	for range keys * each {
		await(k, j.total, "a message")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.overlap != "" {
		k.Errorf("two handlers of key %q ran at a time", j.overlap)
	}
	for key, got := range j.bodies {
		if !slices.Equal(got, numbers(each)) {
			k.Errorf("key %q was handled in the order %s", key, short(got))
		}
	}
}

// publishKeys publishes each numbers for every key, in turn.
func (k *kit) publishKeys(p *pubsub.Topic, keys, each int) {
	k.Helper()
	for _, body := range numbers(each) {
		for key := range keys {
			k.publish(p, fmt.Sprint("key-", key), body)
		}
	}
}

var orderCases = []Case{
	{
		Name: "order/key", Why: "Messages of a key are handled in publish order: state machines and balances depend on it.",
		needs: needsOrder,
		run: func(k *kit) {
			c, topic, j := k.client(), k.name("t"), newJournal()
			k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.Ordered()), j.handle(nil))
			k.publishKeys(k.publisher(c, topic, pubsub.Ordered()), 5, 40)
			j.check(k, 5, 40)
		},
	},
	{
		Name: "order/async", Why: "Pipelined messages of a key keep their order: speed must not cost it.",
		needs: needsOrder,
		run: func(k *kit) {
			c, topic, j := k.client(), k.name("t"), newJournal()
			k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.Ordered()), j.handle(nil))
			p := k.publisher(c, topic, pubsub.Ordered())
			for _, body := range numbers(100) {
				for _, key := range []string{"a", "b"} {
					p.PublishAsync(k.ctx, &pubsub.Message{Key: key, Body: []byte(body)}, func(err error) {
						if err != nil {
							k.Errorf("publish: %v", err)
						}
					})
				}
			}
			j.check(k, 2, 100)
		},
	},
	{
		Name: "order/parallel", Why: "Different keys run in parallel: one slow customer must not stop the others.",
		needs: needsOrder,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			free := make(chan struct{})
			b := k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.Ordered()), func(ctx context.Context, d *pubsub.Delivery) error {
				if d.Key == "slow" {
					select {
					case <-free:
					case <-ctx.Done():
					}
				}
				return nil
			})
			p := k.publisher(c, topic, pubsub.Ordered())
			k.publish(p, "slow", "slow")
			b.next()
			k.publish(p, "slow", "behind")
			k.publish(p, "quick", "quick")
			k.same([]string{"quick"}, bodies(b.take(1)))
			b.none()
			close(free)
			k.same([]string{"behind"}, bodies(b.take(1)))
		},
	},
	{
		Name: "order/retry", Why: "A message that waits for its retry holds back its own key, and that key alone.",
		needs: needsOrder,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			s := k.subscriber(c, topic, pubsub.Group("g"), pubsub.Ordered())
			p := k.publisher(c, topic, pubsub.Ordered())
			k.publish(p, "a", "a1", "a2", "a3")
			k.publish(p, "b", "b1")
			// The first of a fails once, and then until the other key was handled, which comes never
			// if that waits for it.
			var calls atomic.Int32
			var handled sync.Once
			other := make(chan struct{})
			b := k.open(s, func(_ context.Context, d *pubsub.Delivery) error {
				switch string(d.Body) {
				case "b1":
					handled.Do(func() { close(other) })
				case "a1":
					first := calls.Add(1) == 1
					select {
					case <-other:
						if !first {
							return nil
						}
					default:
					}
					return pubsub.RetryAfter(100*time.Millisecond, errOfTheCase)
				}
				return nil
			})
			var got []string
			for deadline := time.Now().Add(k.Patience); len(got) == 0 || got[len(got)-1] != "a3"; {
				if body := string(b.next().Body); body != "b1" {
					got = append(got, body)
				}
				if time.Now().After(deadline) {
					k.Fatalf("key a was handled as %s within %v, and the other key not at all", short(got), k.Patience)
				}
			}
			if len(got) < 4 || !slices.Equal(slices.Compact(slices.Clone(got)), []string{"a1", "a2", "a3"}) {
				k.Errorf("key a was handled as %v", got)
			}
		},
	},
	{
		Name: "order/members", Why: "Order holds while members of the group share the keys.",
		needs: needsOrder,
		run: func(k *kit) {
			c, topic, j := k.client(), k.name("t"), newJournal()
			for range 3 {
				k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.Ordered()), j.handle(nil))
			}
			k.publishKeys(k.publisher(c, topic, pubsub.Ordered()), 6, 30)
			j.check(k, 6, 30)
		},
	},
	{
		Name: "order/takeover", Why: "Order holds when a member leaves in the middle and another takes its keys.",
		needs: needsOrder,
		run: func(k *kit) {
			conn, r := k.conn(), k.request(k.name("t"), true)
			first := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "a", numbers(10)...)
			d := first.take(1)[0]
			first.done(&d, driver.Ack)
			second := k.join(conn, r)
			first.leave()
			second.finish(numbers(10)[1:]...)
		},
	},
	{
		Name: "order/exclusive", Why: "A key is with one member at a time: two at once would race.",
		needs: needsOrder,
		run: func(k *kit) {
			conn, r := k.conn(), k.request(k.name("t"), true)
			owner := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "a", "1")
			d := owner.take(1)[0]
			other := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "a", "2")
			other.none(k.Quiet)
			owner.done(&d, driver.Ack)
		},
	},
	{
		Name: "order/unkeyed", Why: "Messages without a key do not wait for each other on an ordered topic.",
		needs: needsOrder,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			var together sync.WaitGroup
			together.Add(3)
			b := k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.Ordered()), func(context.Context, *pubsub.Delivery) error {
				together.Done()
				together.Wait()
				return nil
			})
			k.publish(k.publisher(c, topic, pubsub.Ordered()), "", numbers(3)...)
			b.take(3)
			all := make(chan struct{})
			go func() { together.Wait(); close(all) }()
			await(k, all, "three handlers at a time")
		},
	},
	{
		Name: "order/refused", Why: "A broker without order refuses an ordered topic: silence would be a lie.",
		needs: needs("keeps order", func(c *driver.Capabilities) bool { return !c.Ordered }),
		run: func(k *kit) {
			_, err := k.client().Publisher(k.ctx, k.name("t"), pubsub.Ordered())
			k.code(err, pubsub.CodeUnsupported, "open an ordered topic")
			if _, err := k.conn().Topic(k.ctx, driver.TopicRequest{Topic: k.name("u"), Ordered: true}); err == nil {
				k.Error("the driver opened an ordered topic that its capabilities deny")
			}
		},
	},
}
