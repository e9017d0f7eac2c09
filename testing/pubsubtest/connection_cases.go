package pubsubtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// cut loses all connections, or skips the case.
func (k *kit) cut() {
	k.Helper()
	if k.Disconnect == nil {
		k.Skip("the harness cannot disconnect")
	}
	k.Disconnect(k.TB, k.driver)
}

// dies skips a case of what dies with a connection where nothing does.
func (k *kit) dies() {
	k.Helper()
	if k.Disconnect == nil {
		k.Skip("the harness cannot disconnect") // before anything waits for it
	}
	if k.Mends {
		k.Skip("the driver's connections mend, and nothing dies with them")
	}
}

// closer is a Topic or a Session.
type closer interface {
	Close(ctx context.Context) error
}

// reopen opens something and closes it, again and again, until it cannot be opened.
func (k *kit) reopen(open func() (closer, error)) {
	for {
		opened, err := open()
		if err != nil {
			return
		}
		_ = opened.Close(k.ctx) // its connection may have been closed before it
	}
}

var connectionCases = []Case{
	{
		Name: "connection/publish", Why: "Publishing goes on over a lost connection: broker loss is weather.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			s, p := k.subscriber(c, topic, pubsub.Group("g")), k.publisher(c, topic)
			k.publish(p, "", "before")
			k.cut()
			k.publish(p, "", "after")
			got := map[string]bool{}
			b := k.open(s, nil)
			for len(got) < 2 {
				got[string(b.next().Body)] = true
			}
		},
	},
	{
		Name: "connection/receive", Why: "Receive goes on over a lost connection, without a restart of the service.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b, p := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil), k.publisher(c, topic)
			for _, body := range numbers(3) {
				k.publish(p, "", body)
				for string(b.next().Body) != body {
					continue // a lost acknowledgement may bring the last one again
				}
				k.cut()
			}
		},
	},
	{
		Name: "connection/take-back", Why: "When a connection is lost, handlers learn that their messages are another's now, and nothing is lost.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			k.dies()
			cause := make(chan error, 1)
			var calls atomic.Int32
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(ctx context.Context, _ *pubsub.Delivery) error {
				if calls.Add(1) > 1 {
					return nil
				}
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return nil // of no account: the message is lost to this handler
			})
			k.publish(k.publisher(c, topic), "", "x")
			b.next()
			k.cut()
			if err := await(k, cause, "the end of the handler's context"); !errors.Is(err, pubsub.ErrTakenBack) {
				k.Errorf("cause is %v, want ErrTakenBack", err)
			}
			k.precise(b.next().Attempt, 2)
		},
	},
	{
		Name: "connection/dead", Why: "What dies says so, and stays dead: the engine opens the next by it.",
		needs: needsGroups,
		run: func(k *kit) {
			k.dies()
			conn, r := k.conn(), k.request(k.name("t"), false)
			m := k.join(conn, r)
			topic, err := conn.Topic(k.ctx, r.TopicRequest)
			k.must(err)
			k.cut()
			await(k, conn.Done(), "Done of the connection")
			await(k, topic.Done(), "Done of the topic")
			if conn.Err() == nil || topic.Err() == nil {
				k.Errorf("Err of the connection is %v, of the topic %v; want why they are dead", conn.Err(), topic.Err())
			}
			fate := make(chan driver.Fate, 2)
			topic.Send(k.ctx, []driver.Message{{Body: []byte("x")}}, func(_ int, f driver.Fate, _ error) { fate <- f })
			if f := await(k, fate, "a fate"); f != driver.Aborted {
				k.Errorf("a dead topic's message is %s, want aborted", f)
			}
			var in driver.Intake
			if err := m.Receive(k.ctx, &in); err == nil || k.ctx.Err() != nil {
				k.Errorf("Receive on a dead session: %v", err)
			}
			if _, err := conn.Topic(k.ctx, r.TopicRequest); err == nil {
				k.Error("a dead connection opened a topic")
			}
		},
	},
	{
		Name: "connection/close-while-opening", Why: "A connection may be closed while topics and sessions are opened on it: a service that is stopped early must neither crash nor hang.",
		needs: needsGroups,
		run: func(k *kit) {
			r := k.request(k.name("t"), false)
			k.must(k.conn().Declare(k.ctx, r))
			for range 3 {
				conn := k.conn()
				topic, err := conn.Topic(k.ctx, r.TopicRequest)
				k.must(err)
				k.must(topic.Close(k.ctx))
				var opening sync.WaitGroup
				for range 4 {
					opening.Go(func() { k.reopen(func() (closer, error) { return conn.Topic(k.ctx, r.TopicRequest) }) })
				}
				opening.Go(func() { k.reopen(func() (closer, error) { return conn.Subscribe(k.ctx, r) }) })
				k.must(conn.Close(k.ctx))
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					opening.Wait()
				}()
				await(k, ended, "an error of a connection that was closed")
			}
		},
	},
	{
		Name: "connection/context", Why: "Every wait ends with its context: a shutdown must not hang in the driver.",
		needs: needsGroups,
		run: func(k *kit) {
			conn, r := k.conn(), k.request(k.name("t"), false)
			m := k.join(conn, r)
			ctx, cancel := context.WithTimeout(k.ctx, k.Quiet)
			defer cancel()
			done := make(chan error, 1)
			go func() {
				var in driver.Intake
				done <- m.Receive(ctx, &in)
			}()
			select {
			case err := <-done:
				if err == nil || ctx.Err() == nil {
					k.Errorf("Receive returned %v with nothing to give", err)
				}
			case <-time.After(k.Quiet + k.Patience):
				k.Errorf("Receive still waits %v after its context's end", k.Patience)
				k.must(conn.Close(k.ctx))
			}
		},
	},
}
