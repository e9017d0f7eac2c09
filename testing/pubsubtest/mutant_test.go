package pubsubtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// A mutant is a driver that is wrong in one way, and the case that must see it.
type mutant struct {
	name, fails string
	config      memory.Config
	breaks      func(t testing.TB, b *broken)
}

func turned(turn func(*driver.Capabilities)) memory.Config { return memory.Config{Turn: turn} }

var mutants = []mutant{
	{name: "loses-on-nack", fails: "settle/retry", breaks: func(_ testing.TB, b *broken) {
		b.settle = verbs(func(v *driver.Settlement) {
			if v.Verb == driver.Retry {
				v.Verb = driver.Ack
			}
		})
	}},
	{name: "acks-what-goes-back-with-its-batch", fails: "receipt/among-acks", breaks: func(_ testing.TB, b *broken) {
		b.settle = func(s driver.Session, ctx context.Context, batch []driver.Settlement) {
			if len(batch) > 1 && batch[0].Verb == driver.Ack {
				for i := range batch {
					batch[i].Verb = driver.Ack
				}
			}
			s.Settle(ctx, batch)
		}
	}},
	{name: "acks-early", fails: "drain/returns", breaks: func(_ testing.TB, b *broken) {
		b.receive = func(s driver.Session, ctx context.Context, in *driver.Intake) error {
			err := s.Receive(ctx, in)
			acks := make([]driver.Settlement, len(in.Deliveries))
			for i := range in.Deliveries {
				acks[i] = driver.Settlement{Receipt: &in.Deliveries[i].Receipt, Verb: driver.Ack}
			}
			s.Settle(ctx, acks)
			return err
		}
	}},
	{name: "redelivers-acked", fails: "settle/acked-is-gone", breaks: func(_ testing.TB, b *broken) {
		b.settle = verbs(func(v *driver.Settlement) {
			if v.Verb == driver.Ack {
				v.Verb, v.Delay = driver.Retry, 10*time.Millisecond
			}
		})
	}},
	{name: "reorders-on-receive", fails: "drain/order", breaks: func(_ testing.TB, b *broken) {
		b.receive = func(s driver.Session, ctx context.Context, in *driver.Intake) error {
			err := s.Receive(ctx, in)
			slices.Reverse(in.Deliveries)
			return err
		}
	}},
	{name: "reorders-on-send", fails: "order/async", config: turned(memory.LikeKafka), breaks: func(_ testing.TB, b *broken) {
		b.send = func(t driver.Topic, ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
			for i := range slices.Backward(batch) {
				t.Send(ctx, batch[i:i+1], func(_ int, f driver.Fate, err error) { fate(i, f, err) })
			}
		}
	}},
	{name: "shares-bodies", fails: "group/unshared", breaks: func(_ testing.TB, b *broken) {
		var shared sync.Map
		b.receive = deliveries(func(d *driver.Delivery) {
			body, _ := shared.LoadOrStore(string(d.Body), d.Body)
			d.Body = body.([]byte)
		})
	}},
	{name: "shares-headers", fails: "group/redelivery-unshared", breaks: func(_ testing.TB, b *broken) {
		var shared sync.Map
		b.receive = deliveries(func(d *driver.Delivery) {
			headers, _ := shared.LoadOrStore(string(d.Body), d.Headers)
			d.Headers = headers.(map[string]string)
		})
	}},
	{name: "forgets-attempts", fails: "attempt/counts", breaks: func(_ testing.TB, b *broken) {
		b.receive = deliveries(func(d *driver.Delivery) { d.Attempt = 1 })
	}},
	{name: "counts-from-zero", fails: "attempt/counts", breaks: func(_ testing.TB, b *broken) {
		b.receive = deliveries(func(d *driver.Delivery) { d.Attempt-- })
	}},
	{name: "counts-what-was-returned", fails: "attempt/returned", breaks: func(_ testing.TB, b *broken) {
		b.settle = verbs(func(v *driver.Settlement) {
			if v.Verb == driver.Return {
				v.Verb = driver.Retry
			}
		})
	}},
	{name: "loses-what-was-returned", fails: "drain/postponed", breaks: func(_ testing.TB, b *broken) {
		b.settle = verbs(func(v *driver.Settlement) {
			if v.Verb == driver.Return {
				v.Verb = driver.Ack
			}
		})
	}},
	{name: "gives-again-what-is-held", fails: "settle/postpone", breaks: func(_ testing.TB, b *broken) {
		b.receive = func(s driver.Session, ctx context.Context, in *driver.Intake) error {
			err := s.Receive(ctx, in)
			again := make([]driver.Delivery, len(in.Deliveries))
			for i := range in.Deliveries {
				again[i] = in.Deliveries[i]
				again[i].Attempt++
			}
			in.Deliveries = append(in.Deliveries, again...)
			return err
		}
	}},
	{name: "forgets-kept-attempts", fails: "attempt/survives", breaks: func(_ testing.TB, b *broken) {
		b.settle = func(s driver.Session, ctx context.Context, batch []driver.Settlement) {
			for i := range batch {
				if batch[i].Verb == driver.Keep {
					batch[i].Outcome = driver.Confirmed
				} else {
					s.Settle(ctx, batch[i:i+1])
				}
			}
		}
	}},
	{name: "stores-every-other", fails: "publish/many", breaks: func(_ testing.TB, b *broken) {
		var n atomic.Int32
		b.send = func(t driver.Topic, ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
			for i := range batch {
				if n.Add(1)%2 == 0 {
					fate(i, driver.Stored, nil)
					continue
				}
				t.Send(ctx, batch[i:i+1], func(_ int, f driver.Fate, err error) { fate(i, f, err) })
			}
		}
	}},
	{name: "tells-a-fate-twice", fails: "publish/one-fate", breaks: func(_ testing.TB, b *broken) {
		b.send = func(t driver.Topic, ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
			t.Send(ctx, batch, func(i int, f driver.Fate, err error) {
				fate(i, f, err)
				fate(i, f, err)
			})
		}
	}},
	{name: "tells-earlier-fates-again", fails: "publish/one-fate", breaks: func(_ testing.TB, b *broken) {
		again := func() {}
		b.send = func(t driver.Topic, ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
			again()
			again = func() { fate(0, driver.Stored, nil) }
			t.Send(ctx, batch, fate)
		}
	}},
	{name: "forgets-a-fate", fails: "publish/one-fate", breaks: func(_ testing.TB, b *broken) {
		b.send = func(t driver.Topic, ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
			t.Send(ctx, batch, func(i int, f driver.Fate, err error) {
				if i > 0 {
					fate(i, f, err)
				}
			})
		}
	}},
	{name: "keeps-the-callers-buffer", fails: "publish/buffer-reused", breaks: func(_ testing.TB, b *broken) {
		// The stored copy is replaced at delivery by what the publisher's memory says then.
		var sent sync.Map
		b.send = func(t driver.Topic, ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
			for i := range batch {
				sent.Store(string(batch[i].Body), batch[i].Body)
			}
			t.Send(ctx, batch, fate)
		}
		b.receive = deliveries(func(d *driver.Delivery) {
			if body, ok := sent.Load(string(d.Body)); ok {
				d.Body = body.([]byte)
			}
		})
	}},
	{name: "cuts-bodies", fails: "publish/big-body", breaks: func(_ testing.TB, b *broken) {
		b.send = messages(func(m *driver.Message) { m.Body = m.Body[:min(len(m.Body), 256<<10)] })
	}},
	{name: "makes-bodies-text", fails: "publish/binary-body", breaks: func(_ testing.TB, b *broken) {
		b.send = messages(func(m *driver.Message) { m.Body = bytes.ToValidUTF8(m.Body, []byte("?")) })
	}},
	{name: "keeps-ten-headers", fails: "publish/many-headers", breaks: func(_ testing.TB, b *broken) {
		b.send = messages(func(m *driver.Message) {
			kept := map[string]string{}
			for k, v := range m.Headers {
				if len(kept) < 10 {
					kept[k] = v
				}
			}
			m.Headers = kept
		})
	}},
	{name: "folds-header-case", fails: "publish/odd-headers", breaks: func(_ testing.TB, b *broken) {
		b.send = messages(func(m *driver.Message) {
			folded := map[string]string{}
			for k, v := range m.Headers {
				folded[strings.ToLower(k)] = v
			}
			m.Headers = folded
		})
	}},
	{name: "drops-ids", fails: "publish/intact", breaks: func(_ testing.TB, b *broken) {
		b.send = messages(func(m *driver.Message) { m.ID = "" })
	}},
	{name: "ignores-publish-delay", fails: "publish/delay", breaks: func(_ testing.TB, b *broken) {
		b.send = messages(func(m *driver.Message) { m.Delay = 0 })
	}},
	{name: "dates-from-1970", fails: "publish/time", breaks: func(_ testing.TB, b *broken) {
		b.receive = deliveries(func(d *driver.Delivery) { d.PublishTime = time.Unix(1, 0) })
	}},
	{name: "retries-too-soon", fails: "receipt/retry-delay", breaks: func(_ testing.TB, b *broken) {
		b.settle = verbs(func(v *driver.Settlement) { v.Delay = 0 })
	}},
	{name: "confirms-what-is-lost", fails: "receipt/twice", breaks: func(_ testing.TB, b *broken) {
		b.settle = func(s driver.Session, ctx context.Context, batch []driver.Settlement) {
			s.Settle(ctx, batch)
			for i := range batch {
				batch[i].Outcome = driver.Confirmed
			}
		}
	}},
	{name: "acks-a-strangers-message", fails: "receipt/twice", breaks: func(_ testing.TB, b *broken) {
		var mu sync.Mutex
		var given []driver.Receipt
		b.receive = deliveries(func(d *driver.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			given = append(given, d.Receipt)
		})
		b.settle = func(s driver.Session, ctx context.Context, batch []driver.Settlement) {
			s.Settle(ctx, batch)
			mu.Lock()
			defer mu.Unlock()
			for i := range batch {
				if batch[i].Outcome != driver.Lost {
					continue
				}
				for j := range given { // tags begin at 1 again: it hits another
					s.Settle(ctx, []driver.Settlement{{Receipt: &given[j], Verb: driver.Ack}})
				}
			}
		}
	}},
	{name: "tells-no-outcome", fails: "receipt/outcome", breaks: func(_ testing.TB, b *broken) {
		b.settle = func(s driver.Session, ctx context.Context, batch []driver.Settlement) {
			s.Settle(ctx, batch)
			for i := range batch {
				batch[i].Outcome = 0
			}
		}
	}},
	{name: "claims-confirmation", fails: "receipt/outcome", config: turned(func(c *driver.Capabilities) { c.SettleConfirmed = false }),
		breaks: func(_ testing.TB, b *broken) {
			b.capabilities = func(c *driver.Capabilities) { c.SettleConfirmed = true }
		}},
	{name: "forgets-to-commit", fails: "receipt/commit", config: turned(memory.LikeKafka), breaks: func(_ testing.TB, b *broken) {
		b.commit = func(driver.Session, context.Context) error { return nil }
	}},
	{name: "commits-what-was-not-settled", fails: "receipt/commit", config: turned(memory.LikeKafka), breaks: func(_ testing.TB, b *broken) {
		var mu sync.Mutex
		var given []driver.Receipt
		b.receive = deliveries(func(d *driver.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			given = append(given, d.Receipt)
		})
		b.commit = func(s driver.Session, ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			for i := range given {
				s.Settle(ctx, []driver.Settlement{{Receipt: &given[i], Verb: driver.Ack}})
			}
			return s.(driver.Committer).Commit(ctx)
		}
	}},
	{name: "waits-where-it-should-accept", fails: "receipt/outcome", config: turned(memory.LikeKafka), breaks: func(_ testing.TB, b *broken) {
		b.settle = func(s driver.Session, ctx context.Context, batch []driver.Settlement) {
			s.Settle(ctx, batch)
			_ = s.(driver.Committer).Commit(ctx)
			for i := range batch {
				batch[i].Outcome = driver.Confirmed
			}
		}
	}},
	{name: "claims-order", fails: "order/exclusive", breaks: func(_ testing.TB, b *broken) {
		b.topic = func(r *driver.TopicRequest) { r.Ordered = false }
	}},
	{name: "claims-exact-attempts", fails: "attempt/counts", config: turned(func(c *driver.Capabilities) { c.Attempts = driver.None }),
		breaks: func(_ testing.TB, b *broken) {
			b.capabilities = func(c *driver.Capabilities) { c.Attempts = driver.Exact }
		}},
	{name: "blocks-though-it-claims-not", fails: "claim/never-blocks", breaks: func(t testing.TB, b *broken) {
		end := make(chan struct{})
		t.Cleanup(func() { close(end) })
		b.send = func(driver.Topic, context.Context, []driver.Message, func(int, driver.Fate, error)) { <-end }
	}},
	{name: "tells-half-the-backlog", fails: "claim/backlog", breaks: func(testing.TB, *broken) {}},
	{name: "groups-steal", fails: "group/each", breaks: func(_ testing.TB, b *broken) {
		b.subscribe = func(r *driver.SubscribeRequest) { r.Group = "all" }
	}},
	{name: "gives-twice", fails: "queue/once", breaks: func(_ testing.TB, b *broken) {
		b.receive = func(s driver.Session, ctx context.Context, in *driver.Intake) error {
			err := s.Receive(ctx, in)
			in.Deliveries = append(in.Deliveries, in.Deliveries...)
			return err
		}
	}},
	{name: "broadcast-shares", fails: "broadcast/each", breaks: func(_ testing.TB, b *broken) {
		b.subscribe = func(r *driver.SubscribeRequest) {
			if r.Broadcast() {
				r.Group = "all"
			}
		}
	}},
	{name: "subscribes-late", fails: "group/kept", breaks: func(_ testing.TB, b *broken) {
		var n atomic.Int32 // each session reads a group that was made for it
		b.subscribe = func(r *driver.SubscribeRequest) {
			if r.Group != "" {
				r.Group = fmt.Sprint(r.Group, n.Add(1))
			}
		}
	}},
	{name: "dead-letters-into-nothing", fails: "settle/dead-letter", breaks: func(_ testing.TB, b *broken) {
		b.settle = verbs(func(v *driver.Settlement) {
			if v.Verb == driver.Dead {
				v.Verb = driver.Ack
			}
		})
	}},
	{name: "dead-letter-loses-its-key", fails: "settle/dead-letter", breaks: func(_ testing.TB, b *broken) {
		b.receive = deliveries(func(d *driver.Delivery) {
			if d.Headers["dead-letter-topic"] != "" {
				d.Key = ""
			}
		})
	}},
	{name: "never-dead-letters-by-attempts", fails: "settle/dead-letter-attempts", breaks: func(_ testing.TB, b *broken) {
		b.subscribe = func(r *driver.SubscribeRequest) {
			if r.DeadLetter != nil {
				d := *r.DeadLetter
				d.MaxAttempts = 0
				r.DeadLetter = &d
			}
		}
	}},
	{name: "extends-in-words", fails: "lease/deadline", breaks: func(_ testing.TB, b *broken) {
		b.extend = func(_ driver.Session, _ context.Context, batch []*driver.Receipt, d time.Duration) {
			for _, r := range batch {
				r.Deadline = time.Now().Add(d)
			}
		}
	}},
	{name: "never-extends", fails: "lease/kept", breaks: func(_ testing.TB, b *broken) {
		b.extend = func(driver.Session, context.Context, []*driver.Receipt, time.Duration) {}
	}},
	{name: "extends-what-is-settled", fails: "lease/lost-is-told", breaks: func(_ testing.TB, b *broken) {
		b.extend = func(s driver.Session, ctx context.Context, batch []*driver.Receipt, d time.Duration) {
			s.Extend(ctx, batch, d)
			for _, r := range batch {
				r.Deadline = time.Now().Add(d)
			}
		}
	}},
	{name: "leases-for-ever", fails: "lease/expires", config: memory.Config{Lease: time.Hour}, breaks: func(_ testing.TB, b *broken) {
		b.subscribe = func(r *driver.SubscribeRequest) { r.Lease = 0 }
	}},
	{name: "ignores-credit", fails: "limit/credit", breaks: func(_ testing.TB, b *broken) {
		b.credit = func(s driver.Session, messages, bytes int) { s.Credit(messages*1000, bytes*1000) }
	}},
	{name: "ignores-cancel", fails: "connection/context", breaks: func(_ testing.TB, b *broken) {
		b.receive = func(s driver.Session, ctx context.Context, in *driver.Intake) error {
			return s.Receive(context.WithoutCancel(ctx), in)
		}
	}},
	{name: "dies-in-silence", fails: "connection/dead", breaks: func(_ testing.TB, b *broken) {
		b.done = make(chan struct{})
	}},
	{name: "leaks-a-goroutine", fails: "drain/leaves-nothing", breaks: func(t testing.TB, b *broken) {
		end := make(chan struct{})
		t.Cleanup(func() { close(end) })
		b.close = func(s driver.Session, ctx context.Context) error {
			go func() { <-end }()
			return s.Close(ctx)
		}
	}},
	{name: "quiesces-in-words", fails: "drain/quiesce", breaks: func(_ testing.TB, b *broken) {
		b.quiesce = func(driver.Session, context.Context) error { return nil }
	}},
	{name: "says-again-that-it-is-quiesced", fails: "drain/quiesce", breaks: func(_ testing.TB, b *broken) {
		var said sync.Map
		b.receive = func(s driver.Session, ctx context.Context, in *driver.Intake) error {
			if _, ok := said.Load(s); ok {
				return driver.ErrQuiesced
			}
			err := s.Receive(ctx, in)
			if errors.Is(err, driver.ErrQuiesced) {
				said.Store(s, true)
			}
			return err
		}
	}},
	{name: "tells-no-loss-once-it-is-quiesced", fails: "drain/lost", breaks: func(_ testing.TB, b *broken) {
		var said sync.Map
		b.receive = func(s driver.Session, ctx context.Context, in *driver.Intake) error {
			if _, ok := said.Load(s); ok {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			err := s.Receive(ctx, in)
			if errors.Is(err, driver.ErrQuiesced) {
				said.Store(s, true)
			}
			return err
		}
	}},
	{name: "keeps-what-it-has-at-close", fails: "order/takeover", breaks: func(_ testing.TB, b *broken) {
		b.close = func(driver.Session, context.Context) error { return nil }
	}},
	{name: "verify-creates", fails: "open/missing-topic", breaks: func(_ testing.TB, b *broken) {
		b.topic = func(r *driver.TopicRequest) { r.Topology = driver.Create }
	}},
	{name: "ignores-settings", fails: "open/settings", breaks: func(_ testing.TB, b *broken) {
		b.topic = func(r *driver.TopicRequest) { r.Settings = nil }
	}},
	{name: "ignores-conflicts", fails: "open/conflict", breaks: func(_ testing.TB, b *broken) {
		b.open = func(c driver.Conn, r driver.TopicRequest) (driver.Topic, error) {
			t, err := c.Topic(context.Background(), r)
			if driver.CodeOf(err) == driver.CodeConflict {
				r.Ordered = !r.Ordered
				return c.Topic(context.Background(), r)
			}
			return t, err
		}
	}},
}

// TestMutant shows that the kit can fail: each broken driver fails the case that is
// meant for it.
func TestMutant(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			h := harness(m.config)
			h.Patience, h.Quiet = time.Second, time.Second // what is caught ends the case at once
			good := h.Driver
			h.Driver = func(tb testing.TB) driver.Driver {
				b := &broken{Driver: good(tb)}
				m.breaks(t, b)
				return b
			}
			h.Disconnect = func(_ testing.TB, d driver.Driver) { d.(*broken).Driver.(*memory.Broker).Disconnect(nil) }
			failed, skipped, output := pubsubtest.RunRecorded(t, h, m.fails)
			if !failed || skipped {
				t.Errorf("case %s let it pass (skipped: %t)\n%s", m.fails, skipped, output)
			}
			if failed && !strings.Contains(output, "what this proves: ") {
				t.Errorf("the failure does not say what it proves:\n%s", output)
			}
		})
	}
}
