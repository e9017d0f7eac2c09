package pubsubtest

import (
	"context"
	"fmt"
	"sync"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Tracker knows when what was published has been settled, so that a test need not
// sleep. It observes a client: give it to pubsub.Observe when opening. Its zero value
// is ready.
type Tracker struct {
	mu        sync.Mutex
	published map[string]int
	settled   map[string]int // by reader
	changed   chan struct{}
}

// OnPublish counts what was stored.
func (t *Tracker) OnPublish(i pubsub.PublishInfo) {
	if i.Err == nil {
		t.count(&t.published, i.Topic)
	}
}

// OnSettle counts what is done with.
func (t *Tracker) OnSettle(i pubsub.SettleInfo) {
	final := i.Verb == driver.Ack || i.Verb == driver.Dead
	if final && (i.Outcome == driver.Confirmed || i.Outcome == driver.Sent || i.Outcome == driver.Accepted) {
		t.count(&t.settled, reader(i.Delivery.Topic, i.Delivery.Group))
	}
}

func (t *Tracker) count(of *map[string]int, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *of == nil {
		*of = map[string]int{}
	}
	(*of)[name]++
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

func reader(topic, group string) string { return topic + "\x00" + group }

// Wait waits until each of the groups has settled as many messages as were published
// to the topic through the observed client; without groups, the topic is a queue. It
// fails with an error that tells the counts when ctx ends first. Where a message
// is settled twice, after a lost connection for example, it may return early.
func (t *Tracker) Wait(ctx context.Context, topic string, groups ...string) error {
	if len(groups) == 0 {
		groups = []string{""}
	}
	for {
		t.mu.Lock()
		behind := ""
		for _, g := range groups {
			if n := t.settled[reader(topic, g)]; n < t.published[topic] {
				behind = fmt.Sprintf("%s/%s has settled %d of %d messages", topic, g, n, t.published[topic])
			}
		}
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		if behind == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", behind, context.Cause(ctx))
		}
	}
}
