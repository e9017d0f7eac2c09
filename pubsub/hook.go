package pubsub

import (
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A Hook observes a client. It has one or more of the methods of PublishHook,
// IntakeHook, HandleHook, SettleHook, LeaseHook, StallHook and ConnectHook.
// Hooks are called on the hot path, concurrently, and must not block.
type Hook any

// PublishHook sees the outcome of every message that was published.
type PublishHook interface{ OnPublish(PublishInfo) }

// IntakeHook sees what comes from the broker.
type IntakeHook interface{ OnIntake(IntakeInfo) }

// HandleHook sees every verdict.
type HandleHook interface{ OnHandle(HandleInfo) }

// SettleHook sees what became of every settlement.
type SettleHook interface{ OnSettle(SettleInfo) }

// LeaseHook sees leases extended and lost.
type LeaseHook interface{ OnLease(LeaseInfo) }

// StallHook sees that a subscription cannot go on before a held message is
// due: all that it may have in flight waits for a retry, or behind one.
type StallHook interface{ OnStall(StallInfo) }

// ConnectHook sees attempts to reach the broker, and losses of it.
type ConnectHook interface{ OnConnect(ConnectInfo) }

// PublishInfo is the outcome of one message.
type PublishInfo struct {
	Topic string
	// Kind is the topic's.
	Kind driver.Kind
	Key  string
	// Bytes is the message's Size.
	Bytes int
	// Took is the time from Publish to the outcome.
	Took time.Duration
	// Err is nil if the message is stored.
	Err error
}

// IntakeInfo is what came from the broker at once.
type IntakeInfo struct {
	Topic, Group    string
	Messages, Bytes int
}

// HandleInfo is one run of a handler.
type HandleInfo struct {
	// Delivery is what was handled. The hook must not change or keep it.
	Delivery *Delivery
	Verdict  Verdict
	// Err is what the handler returned.
	Err error
	// Took is how long it ran; for a batch handler, how long the batch did.
	Took time.Duration
}

// SettleInfo is one settlement.
type SettleInfo struct {
	// Delivery is what was settled, as of the attempt that it is about. The hook must
	// not change or keep it.
	Delivery *Delivery
	// Verb and Outcome are what was asked of the broker and what it did.
	Verb    driver.Verb
	Outcome driver.Outcome
	Err     error
	// Took is how long the driver's call took, which may have settled others too.
	Took time.Duration
}

// LeaseInfo is one round of extensions.
type LeaseInfo struct {
	Topic, Group   string
	Extended, Lost int
}

// StallInfo is a subscription that cannot go on.
type StallInfo struct {
	Topic, Group string
	// Waiting is how many messages wait for a retry, or behind one.
	Waiting int
}

// ConnectInfo is one attempt to reach the broker, or the loss of it.
type ConnectInfo struct {
	// Broker is its name and version; empty while it was never reached.
	Broker string
	// Attempts is how many attempts have failed in a row.
	Attempts int
	// Err is nil if the broker was reached, else why not, or why it was lost.
	Err error
}

// hooks are sorted by method once, so that an event nobody observes costs the
// look at a nil slice.
type hooks struct {
	publish []PublishHook
	intake  []IntakeHook
	handle  []HandleHook
	settle  []SettleHook
	lease   []LeaseHook
	stall   []StallHook
	connect []ConnectHook
}

// add sorts one hook in; false if it has no hook method.
func (s *hooks) add(h Hook) bool {
	found := addHook(&s.publish, h)
	found = addHook(&s.intake, h) || found
	found = addHook(&s.handle, h) || found
	found = addHook(&s.settle, h) || found
	found = addHook(&s.lease, h) || found
	found = addHook(&s.stall, h) || found
	return addHook(&s.connect, h) || found
}

func addHook[T any](to *[]T, h Hook) bool {
	t, ok := h.(T)
	if ok {
		*to = append(*to, t)
	}
	return ok
}
