package pubsubtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Cases that look at the contract itself speak to the driver without the engine.

// conn opens a connection that is closed at the end.
func (k *kit) conn() driver.Conn {
	k.Helper()
	c, err := k.driver.Open(k.ctx)
	k.must(err)
	k.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), k.Patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			k.Errorf("close connection: %v", err)
		}
	})
	return c
}

// request is for a group of an event topic.
func (k *kit) request(topic string, ordered bool) driver.SubscribeRequest {
	r := driver.SubscribeRequest{Group: "g"}
	r.Topic, r.Ordered = topic, ordered
	return r
}

// member is a session that a case reads by hand.
type member struct {
	kit *kit
	driver.Session
}

// join declares and opens a session with plenty of credit.
func (k *kit) join(c driver.Conn, r driver.SubscribeRequest) *member {
	k.Helper()
	m := k.joinWithout(c, r)
	m.Credit(1000, 1<<30)
	return m
}

// reader joins a group of a new topic, and then publishes messages there, without keys.
func (k *kit) reader(bodies ...string) (driver.Conn, driver.SubscribeRequest, *member) {
	k.Helper()
	c, r := k.conn(), k.request(k.name("t"), false)
	m := k.join(c, r)
	k.sendKeyed(c, r.TopicRequest, "", bodies...)
	return c, r, m
}

// joinWithout is join without credit.
func (k *kit) joinWithout(c driver.Conn, r driver.SubscribeRequest) *member {
	k.Helper()
	k.must(c.Declare(k.ctx, r))
	s, err := c.Subscribe(k.ctx, r)
	k.must(err)
	return &member{k, s}
}

// send publishes through a driver's topic, and waits for the fates.
func (k *kit) send(c driver.Conn, r driver.TopicRequest, messages ...driver.Message) []driver.Fate {
	k.Helper()
	t, err := c.Topic(k.ctx, r)
	k.must(err)
	fates := make([]driver.Fate, len(messages))
	told := make(chan struct{}, len(messages))
	t.Send(k.ctx, messages, func(i int, f driver.Fate, _ error) {
		fates[i] = f
		told <- struct{}{}
	})
	for range messages {
		await(k, told, "the fate of a message")
	}
	k.must(t.Close(k.ctx))
	return fates
}

// sendKeyed sends messages with a key and these bodies.
func (k *kit) sendKeyed(c driver.Conn, r driver.TopicRequest, key string, bodies ...string) {
	k.Helper()
	for _, body := range bodies {
		for _, f := range k.send(c, r, driver.Message{Key: key, Body: []byte(body)}) {
			if f != driver.Stored {
				k.Fatalf("message %s is %s, want stored", body, f)
			}
		}
	}
}

// take receives n deliveries.
func (m *member) take(n int) []driver.Delivery {
	m.kit.Helper()
	list, _ := m.intake(n)
	return list
}

// first waits for a delivery to any of some members.
func (k *kit) first(members ...*member) driver.Delivery {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.ctx, k.Patience)
	defer cancel()
	found := make(chan driver.Delivery, len(members))
	var all sync.WaitGroup
	for _, m := range members {
		all.Go(func() {
			for ctx.Err() == nil {
				var in driver.Intake
				err := m.Receive(ctx, &in)
				if len(in.Deliveries) > 0 {
					found <- in.Deliveries[0]
					cancel()
				}
				if err != nil && ctx.Err() == nil {
					k.Errorf("Receive: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case d := <-found:
		return d
	default:
		k.Fatalf("no delivery within %v", k.Patience)
		panic("unreachable")
	}
}

// intake receives n deliveries and the revocations that come with them.
func (m *member) intake(n int) (list []driver.Delivery, revoked []driver.Revocation) {
	m.kit.Helper()
	ctx, cancel := context.WithTimeout(m.kit.ctx, m.kit.Patience)
	defer cancel()
	var in driver.Intake
	for len(list) < n {
		err := m.Receive(ctx, &in)
		list = append(list, in.Deliveries...)
		revoked = append(revoked, in.Revocations...)
		if err != nil {
			m.kit.Fatalf("%d of %d deliveries, then %v", len(list), n, err)
		}
		in.Reset()
	}
	return list, revoked
}

// finish receives these, in this order, and acknowledges each.
func (m *member) finish(bodies ...string) {
	m.kit.Helper()
	for i := 0; i < len(bodies); {
		for _, d := range m.take(1) {
			if i == len(bodies) || string(d.Body) != bodies[i] {
				m.kit.Fatalf("got %q after %d of %q", d.Body, i, bodies)
			}
			m.done(&d, driver.Ack)
			i++
		}
	}
}

// none watches that no delivery comes for a while.
func (m *member) none(d time.Duration) {
	m.kit.Helper()
	ctx, cancel := context.WithTimeout(m.kit.ctx, d)
	defer cancel()
	var in driver.Intake
	for {
		err := m.Receive(ctx, &in)
		for i := range in.Deliveries {
			m.kit.Errorf("unexpected delivery %q, attempt %d", in.Deliveries[i].Body, in.Deliveries[i].Attempt)
		}
		if err != nil {
			if ctx.Err() == nil {
				m.kit.Errorf("Receive: %v", err)
			}
			return
		}
		in.Reset()
	}
}

// settle settles one delivery and returns the outcome.
func (m *member) settle(d *driver.Delivery, verb driver.Verb, delay time.Duration) driver.Outcome {
	batch := []driver.Settlement{{Receipt: &d.Receipt, Verb: verb, Delay: delay}}
	m.Settle(m.kit.ctx, batch)
	return batch[0].Outcome
}

// done settles one delivery, which must work.
func (m *member) done(d *driver.Delivery, verb driver.Verb) {
	m.kit.Helper()
	want := driver.Sent
	switch {
	case m.kit.caps.SettleCommits:
		want = driver.Accepted
	case m.kit.caps.SettleConfirmed:
		want = driver.Confirmed
	}
	if got := m.settle(d, verb, 0); got != want && verb == driver.Ack {
		m.kit.Errorf("outcome of %s is %s, want %s as the capabilities claim", verb, got, want)
	} else if got == driver.Lost || got == driver.Failed || got == driver.Again || got == 0 {
		m.kit.Errorf("outcome of %s is %s", verb, got)
	}
}

// commit brings what was accepted to the broker.
func (m *member) commit() {
	m.kit.Helper()
	c, ok := m.Session.(driver.Committer)
	if !ok {
		m.kit.Fatal("the session is no Committer, as SettleCommits claims")
	}
	m.kit.must(c.Commit(m.kit.ctx))
}

// leave closes a session.
func (m *member) leave() {
	m.kit.Helper()
	m.kit.must(m.Close(m.kit.ctx))
}

var errOfTheCase = errors.New("as the case wants")

// permanent fails every delivery for good.
func permanent(context.Context, *pubsub.Delivery) error { return pubsub.Permanent(errOfTheCase) }
