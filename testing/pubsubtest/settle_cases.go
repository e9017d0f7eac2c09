package pubsubtest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// once fails the first attempt of each message with err.
func once(err error) pubsub.Handler {
	var failed atomic.Int32
	return func(context.Context, *pubsub.Delivery) error {
		if failed.Add(1) == 1 {
			return err
		}
		return nil
	}
}

var settleCases = []Case{
	{
		Name: "settle/acked-is-gone", Why: "What was handled does not come again to the next member: work is not done twice as a rule.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			s := k.subscriber(c, topic, pubsub.Group("g"))
			k.publish(k.publisher(c, topic), "", numbers(20)...)
			b := k.open(s, nil)
			b.take(20)
			b.close()
			k.open(k.subscriber(c, topic, pubsub.Group("g")), nil).none()
		},
	},
	{
		Name: "settle/retry", Why: "A handler's error brings the message again: a failure must not lose it.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), once(errOfTheCase))
			k.publish(k.publisher(c, topic), "", "x")
			k.same([]string{"x", "x"}, bodies(b.take(2)))
			b.none()
		},
	},
	{
		Name: "settle/retry-after", Why: "RetryAfter is not before its time: a service that is down is not hammered.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			const delay = time.Second
			var failed atomic.Int64
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(context.Context, *pubsub.Delivery) error {
				if failed.CompareAndSwap(0, time.Now().UnixNano()) {
					return pubsub.RetryAfter(delay, errOfTheCase)
				}
				return nil
			})
			k.publish(k.publisher(c, topic), "", "x")
			b.take(2)
			if after := time.Duration(time.Now().UnixNano() - failed.Load()); after < delay-delay/20 {
				k.Errorf("came again after %v, want %v", after, delay)
			}
		},
	},
	{
		Name: "settle/postpone", Why: "What was postponed comes again in its time and no attempt is charged: waiting for a service to come back must not use up a ceiling.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			const delay = time.Second / 2
			var first atomic.Int64
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(context.Context, *pubsub.Delivery) error {
				if first.CompareAndSwap(0, time.Now().UnixNano()) {
					return pubsub.Postpone(delay, errOfTheCase)
				}
				return nil
			})
			k.publish(k.publisher(c, topic), "", "x")
			for _, d := range b.take(2) {
				k.precise(d.Attempt, 1)
			}
			if after := time.Duration(time.Now().UnixNano() - first.Load()); after < delay-delay/20 {
				k.Errorf("came again after %v, want %v", after, delay)
			}
			b.none()
		},
	},
	{
		Name: "settle/permanent", Why: "What failed permanently and is dropped does not come again: poison must not loop.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), permanent)
			k.publish(k.publisher(c, topic), "", "x")
			b.next()
			b.none()
		},
	},
	{
		Name: "settle/drop", Why: "Drop settles: what is of no use must not come again.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(context.Context, *pubsub.Delivery) error {
				return pubsub.Drop(errOfTheCase)
			})
			k.publish(k.publisher(c, topic), "", "x")
			b.next()
			b.none()
		},
	},
	{
		Name: "settle/panic", Why: "A handler that panics fails one attempt, not the process, and the message comes again.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			var calls atomic.Int32
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(context.Context, *pubsub.Delivery) error {
				if calls.Add(1) == 1 {
					panic("as the case wants")
				}
				return nil
			})
			k.publish(k.publisher(c, topic), "", "x")
			b.take(2)
			b.none()
		},
	},
	{
		Name: "settle/batch", Why: "A batch that fails in part settles what succeeded and repeats the rest alone.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			s := k.subscriber(c, topic, pubsub.Group("g"))
			k.publish(k.publisher(c, topic), "", numbers(10)...)
			seen := make(chan string, 100)
			var failed atomic.Bool
			ctx, cancel := context.WithCancel(k.ctx)
			done := make(chan error, 1)
			go func() {
				done <- s.ReceiveBatch(ctx, pubsub.BatchPolicy{Messages: 10}, func(_ context.Context, batch []*pubsub.Delivery) []error {
					verdicts := make([]error, len(batch))
					for i, d := range batch {
						if string(d.Body) == "3" && failed.CompareAndSwap(false, true) {
							verdicts[i] = errOfTheCase
						}
						seen <- string(d.Body)
					}
					return verdicts
				})
			}()
			var got []string
			for range 11 {
				got = append(got, await(k, seen, "a delivery"))
			}
			k.same(append(numbers(10), "3"), got)
			cancel()
			k.must(await(k, done, "the end of ReceiveBatch"))
		},
	},
	{
		Name: "settle/dead-letter", Why: "The native dead letter keeps ID, key, headers and body, or poison cannot be looked into.",
		needs: needsDeadLetter,
		run: func(k *kit) {
			c, topic, dead := k.client(), k.name("t"), k.name("dead")
			s, err := k.trySubscriber(c, topic, pubsub.Group("g"), pubsub.NativeDeadLetter(dead, 0))
			k.must(err)
			letters := k.open(k.subscriber(c, dead, pubsub.Queue()), nil)
			b := k.open(s, permanent)
			k.must(k.publisher(c, topic).Publish(k.ctx, &pubsub.Message{ID: "id", Key: "key", Headers: map[string]string{"a": "b"}, Body: []byte("poison")}))
			b.next()
			d := letters.next()
			if d.ID != "id" || d.Key != "key" || d.Headers["a"] != "b" || string(d.Body) != "poison" {
				k.Errorf("dead letter has ID %q, key %q, headers %v, body %q", d.ID, d.Key, d.Headers, d.Body)
			}
			b.none()
		},
	},
	{
		Name: "settle/dead-letter-attempts", Why: "The native dead letter takes a message after the attempts that were asked for, not sooner or never.",
		needs: needs("does not dead-letter after exact attempts", func(c *driver.Capabilities) bool {
			return c.DeadLetter && c.Attempts == driver.Exact && c.Groups && c.Queues
		}),
		run: func(k *kit) {
			conn, r := k.conn(), k.request(k.name("t"), false)
			r.DeadLetter = &driver.DeadLetter{Topic: k.name("dead"), MaxAttempts: 3}
			m := k.join(conn, r)
			dead := driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: r.DeadLetter.Topic, Kind: driver.Queue}}
			letters := k.join(conn, dead)
			k.sendKeyed(conn, r.TopicRequest, "", "poison")
			for range 3 {
				d := m.take(1)[0]
				m.settle(&d, driver.Retry, 0)
			}
			if d := letters.take(1)[0]; string(d.Body) != "poison" {
				k.Errorf("dead letter has body %q", d.Body)
			}
			m.none(k.Quiet)
		},
	},
	{
		Name: "settle/dead-letter-refused", Why: "Asking a broker for what it cannot do fails when opening, not when the first poison comes.",
		needs: needs("can dead-letter", func(c *driver.Capabilities) bool { return !c.DeadLetter && c.Groups }),
		run: func(k *kit) {
			_, err := k.trySubscriber(k.client(), k.name("t"), pubsub.Group("g"), pubsub.NativeDeadLetter(k.name("dead"), 0))
			k.code(err, pubsub.CodeUnsupported, "open with a native dead letter")
			r := k.request(k.name("u"), false)
			r.DeadLetter = &driver.DeadLetter{Topic: k.name("dead")}
			if err := k.conn().Declare(k.ctx, r); err == nil {
				k.Error("the driver took a native dead letter that its capabilities deny")
			}
		},
	},
}

var attemptCases = []Case{
	{
		Name: "attempt/first", Why: "Attempt begins at 1: policies compare with it.",
		needs: needsGroups,
		run: func(k *kit) {
			if got := k.echo(&pubsub.Message{})[0].Attempt; got != 1 {
				k.Errorf("first attempt is %d", got)
			}
		},
	},
	{
		Name: "attempt/counts", Why: "Attempt counts every failure, as precisely as claimed: ceilings and backoffs follow it.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			var failures atomic.Int32
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(context.Context, *pubsub.Delivery) error {
				if failures.Add(1) <= 3 {
					return errOfTheCase
				}
				return nil
			})
			k.publish(k.publisher(c, topic), "", "x")
			for i, d := range b.take(4) {
				k.precise(d.Attempt, i+1)
			}
		},
	},
	{
		Name: "attempt/survives", Why: "Attempt goes on counting with the next member: a crash loop must reach its ceiling.",
		needs: needs("loses its count with the member", func(c *driver.Capabilities) bool { return c.Attempts >= driver.AtLeast && c.Groups }),
		run: func(k *kit) {
			conn, r := k.conn(), k.request(k.name("t"), false)
			first := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "", "x")
			d := first.take(1)[0]
			first.done(&d, driver.Keep)
			first.leave()
			k.precise(k.join(conn, r).take(1)[0].Attempt, 2)
		},
	},
	{
		Name: "attempt/ceiling", Why: "MaxAttempts is the number of calls: one more or less is a wrong promise.",
		needs: needsExact,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.MaxAttempts(3)), func(context.Context, *pubsub.Delivery) error {
				return errOfTheCase
			})
			k.publish(k.publisher(c, topic), "", "x")
			b.take(3)
			b.none()
		},
	},
	{
		Name: "attempt/returned", Why: "What was fetched and never started is not charged an attempt: prefetching must not use up a ceiling.",
		needs: needsExact,
		run: func(k *kit) {
			conn, r, m := k.reader("x")
			for range 3 {
				d := m.take(1)[0]
				k.precise(d.Attempt, 1)
				m.done(&d, driver.Return)
			}
			m.take(1)
			m.leave() // returns it too
			k.precise(k.join(conn, r).take(1)[0].Attempt, 1)
		},
	},
}

// precise compares an attempt with what the capabilities claim of it.
func (k *kit) precise(got, want int) {
	k.Helper()
	ok, claim := false, fmt.Sprint(want)
	switch k.caps.Attempts {
	case driver.Exact:
		ok = got == want
	case driver.AtLeast:
		ok, claim = got >= want, "at least "+claim
	case driver.AtMost:
		ok, claim = got >= 1 && got <= want, "at most "+claim
	default:
		ok, claim = true, "anything" // the engine may count what it holds
	}
	if !ok {
		k.Errorf("attempt is %d, want %s (the broker counts %q)", got, claim, k.caps.Attempts)
	}
}

var receiptCases = []Case{
	{
		Name: "receipt/twice", Why: "A receipt that was used is void: settling it again must not touch another message.",
		needs: needsGroups,
		run: func(k *kit) {
			conn, r, m := k.reader("a", "b")
			list := m.take(2)
			m.done(&list[0], driver.Ack)
			if got := m.settle(&list[0], driver.Ack, 0); got != driver.Lost && got != driver.Sent {
				k.Errorf("second settlement is %s, want lost", got)
			}
			m.leave()
			rest := k.join(conn, r)
			if d := rest.take(1)[0]; string(d.Body) != string(list[1].Body) {
				k.Errorf("got %q, want %q, which was not settled", d.Body, list[1].Body)
			}
			rest.none(k.Quiet)
		},
	},
	{
		Name: "receipt/stale", Why: "A receipt from before a redelivery must not settle the message in its new owner's hands.",
		needs: needsGroups,
		run: func(k *kit) {
			conn, r, m := k.reader("a")
			old := m.take(1)[0]
			m.done(&old, driver.Return)
			m.take(1)
			if got := m.settle(&old, driver.Ack, 0); got == driver.Confirmed || got == driver.Accepted {
				k.Errorf("a stale receipt's settlement is %s, want lost", got)
			}
			m.leave()
			if d := k.join(conn, r).take(1)[0]; string(d.Body) != "a" {
				k.Errorf("got %q", d.Body)
			}
		},
	},
	{
		Name: "receipt/among-acks", Why: "What goes back amid acknowledgements is not acknowledged with them: settlements are merged.",
		needs: needsGroups,
		run: func(k *kit) {
			conn, r, m := k.reader(numbers(5)...)
			list := m.take(5)
			for _, i := range []int{0, 1, 3} {
				m.done(&list[i], driver.Ack)
			}
			m.Settle(k.ctx, []driver.Settlement{
				{Receipt: &list[4].Receipt, Verb: driver.Ack},
				{Receipt: &list[2].Receipt, Verb: driver.Return},
			})
			m.leave()
			rest := k.join(conn, r)
			if d := rest.take(1)[0]; string(d.Body) != string(list[2].Body) {
				k.Errorf("got %q, want %q, which went back", d.Body, list[2].Body)
			}
			rest.none(k.Quiet)
		},
	},
	{
		Name: "receipt/outcome", Why: "Each settlement has an outcome, as the capabilities claim: the engine repeats what was not done.",
		needs: needsGroups,
		run: func(k *kit) {
			_, _, m := k.reader(numbers(5)...)
			for _, d := range m.take(5) {
				m.done(&d, driver.Ack)
			}
			m.none(k.Quiet)
		},
	},
	{
		Name: "receipt/commit", Why: "What was committed is done though its reader dies without a word; what was not, comes again.",
		needs: needs("does not commit", func(c *driver.Capabilities) bool { return c.SettleCommits && c.Groups }),
		run: func(k *kit) {
			k.dies()
			_, r, m := k.reader(numbers(5)...)
			list := m.take(5)
			for _, i := range []int{0, 1, 3} {
				m.done(&list[i], driver.Ack)
			}
			m.commit()
			k.cut()
			rest := k.join(k.conn(), r)
			var got []string
			for _, d := range rest.take(2) {
				got = append(got, string(d.Body))
			}
			k.same([]string{string(list[2].Body), string(list[4].Body)}, got)
			rest.none(k.Quiet)
		},
	},
	{
		Name: "receipt/retry-delay", Why: "A native retry is delayed as claimed: the engine leaves the wait to the broker.",
		needs: needs("does not delay a retry", func(c *driver.Capabilities) bool { return c.RetryDelay > 0 && c.Groups }),
		run: func(k *kit) {
			_, _, m := k.reader("a")
			d := m.take(1)[0]
			delay := min(time.Second, k.caps.RetryDelay)
			began := time.Now()
			if got := m.settle(&d, driver.Retry, delay); got == driver.Lost || got == driver.Failed {
				k.Fatalf("retry is %s", got)
			}
			again := m.take(1)[0]
			if after := time.Since(began); after < delay-delay/20 {
				k.Errorf("came again after %v, want %v", after, delay)
			}
			k.precise(again.Attempt, 2)
		},
	},
}
