package memory

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A session that is opened while its connection is cut is dead, and leaves nothing behind.
func TestSubscribeWhileTheConnectionIsCut(t *testing.T) {
	t.Parallel()
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	requests := []driver.SubscribeRequest{{}, {Group: "g"}}
	for round := range 3000 {
		c, err := b.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var work sync.WaitGroup
		for _, r := range requests {
			r.Topic = "t"
			work.Go(func() {
				if s, err := c.Subscribe(t.Context(), r); err == nil {
					var in driver.Intake
					ctx, cancel := context.WithCancel(t.Context())
					s.Credit(1, 1)
					work.Go(func() { _ = s.Receive(ctx, &in) })
					_ = s.Close(t.Context())
					cancel()
				}
			})
		}
		for range round % 4 {
			runtime.Gosched()
		}
		b.Disconnect(nil)
		work.Wait()
	}
	topic := b.topics["t"]
	for _, g := range topic.readers {
		if g.ephemeral || len(g.sessions) > 0 {
			t.Errorf("group %q, of a broadcast: %t, has %d sessions", g.name, g.ephemeral, len(g.sessions))
		}
	}
}

// What is sent by a topic that dies meanwhile is not stored once an earlier message was not.
func TestSendWhileTheConnectionIsCut(t *testing.T) {
	t.Parallel()
	b, err := New(Config{BacklogMessages: 1})
	if err != nil {
		t.Fatal(err)
	}
	open := func() driver.Conn {
		c, err := b.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r := driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: "t", Ordered: true}, Group: "g"}
	c := open()
	if err := c.Declare(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	topic, err := c.Topic(t.Context(), r.TopicRequest)
	if err != nil {
		t.Fatal(err)
	}
	var fates [3]driver.Fate
	topic.Send(t.Context(), []driver.Message{{Key: "k"}, {Key: "k"}, {Key: "k"}}, func(i int, f driver.Fate, _ error) {
		fates[i] = f
		switch i {
		case 0:
			b.Disconnect(nil)
		case 1: // makes room for the last
			s, err := open().Subscribe(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			s.Credit(1, 1000)
			var in driver.Intake
			if err := s.Receive(t.Context(), &in); err != nil {
				t.Error(err)
				return
			}
			s.Settle(t.Context(), []driver.Settlement{{Receipt: &in.Deliveries[0].Receipt, Verb: driver.Ack}})
		}
	})
	if want := [3]driver.Fate{driver.Stored, driver.Aborted, driver.Aborted}; fates != want {
		t.Errorf("fates %v, want %v", fates, want)
	}
}

// A key that a quiesced session has nothing of any more goes to another, though the session
// has other messages for long.
func TestQuiescedSessionKeepsNoKeys(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{false, true} {
		b, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := b.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: "t", Ordered: true}, Group: "g"}
		open := func() driver.Session {
			s, err := c.Subscribe(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			s.Credit(2, 1000)
			return s
		}
		leaving := open()
		topic, err := c.Topic(t.Context(), r.TopicRequest)
		if err != nil {
			t.Fatal(err)
		}
		send := func(keys ...string) {
			for _, k := range keys {
				topic.Send(t.Context(), []driver.Message{{Key: k}}, func(int, driver.Fate, error) {})
			}
		}
		send("a", "b")
		var in driver.Intake
		if err := leaving.Receive(t.Context(), &in); err != nil || len(in.Deliveries) != 2 {
			t.Fatalf("%d deliveries, %v", len(in.Deliveries), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		other := open()
		got := make(chan driver.Intake, 1)
		go func() {
			var next driver.Intake
			_ = other.Receive(ctx, &next)
			got <- next
		}()
		for b.topics["t"].groups["g"].waiting.Load() == 0 {
			runtime.Gosched()
		}
		if early {
			send("b")
		}
		if err := leaving.Quiesce(ctx); err != nil {
			t.Fatal(err)
		}
		if !early {
			send("b")
		}
		leaving.Settle(ctx, []driver.Settlement{{Receipt: &in.Deliveries[1].Receipt, Verb: driver.Ack}})
		if next := <-got; len(next.Deliveries) != 1 || next.Deliveries[0].Key != "b" {
			t.Errorf("early %t: another session got %d deliveries", early, len(next.Deliveries))
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
