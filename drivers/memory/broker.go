package memory

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Broker keeps topics in memory. It is a driver.Driver; its methods may be called
// concurrently.
//
// Locks, in the order in which they are taken: Broker, conn, topic, group. Fates and
// dead letters are told and moved without any of them.
type Broker struct {
	config Config
	caps   driver.Capabilities
	began  time.Time // a nanosecond before, so that no moment of its life is zero

	mu      sync.Mutex
	topics  map[string]*topic
	conns   map[*conn]bool
	refusal error
}

// New makes an empty broker. It fails with CodeInvalid on a Config that makes no sense.
func New(c Config) (*Broker, error) {
	c = c.withDefaults()
	caps, err := c.capabilities()
	if err != nil {
		return nil, err
	}
	return &Broker{config: c, caps: caps, began: time.Now().Add(-1), topics: map[string]*topic{}, conns: map[*conn]bool{}}, nil
}

// Open makes a connection.
func (b *Broker) Open(ctx context.Context) (driver.Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal != nil {
		return nil, b.refusal
	}
	c := &conn{Life: driver.NewLife(nil), broker: b, senders: map[*sender]bool{}, sessions: map[*session]bool{}}
	b.conns[c] = true
	return c, nil
}

// Disconnect cuts all connections, as a network or a broker that fails would: what
// was delivered and not settled is delivered again, and the attempt counts. err is
// the reason that they tell; nil: a plain CodeUnavailable.
func (b *Broker) Disconnect(err error) {
	if err == nil {
		err = driver.Errorf(driver.CodeUnavailable, "memory: disconnected")
	}
	b.mu.Lock()
	conns := b.conns
	b.conns = map[*conn]bool{}
	b.mu.Unlock()
	for c := range conns {
		c.die(err)
	}
}

// Refuse makes Open fail with err, until Refuse(nil).
func (b *Broker) Refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusal = err
}

// topic finds a topic, and makes or verifies it as the request says.
func (b *Broker) topic(r *driver.TopicRequest) (*topic, error) {
	switch {
	case len(r.Settings) > 0:
		return nil, driver.Errorf(driver.CodeInvalid, "memory knows no settings, and so none of type %T", r.Settings[0])
	case r.Ordered && !b.caps.Ordered:
		return nil, driver.Errorf(driver.CodeUnsupported, "%s cannot keep order", b.caps.String())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[r.Topic]
	switch {
	case t == nil && r.Topology != driver.Create:
		return nil, driver.Errorf(driver.CodeNotFound, "topic %q does not exist; create it, or open it with topology create", r.Topic)
	case t == nil:
		t = newTopic(b, r)
		b.topics[r.Topic] = t
	case t.kind != r.Kind:
		return nil, driver.Errorf(driver.CodeConflict, "topic %q is of kind %s, not %s: whoever opens it must say the same", r.Topic, t.kind, r.Kind)
	case t.ordered != r.Ordered:
		return nil, driver.Errorf(driver.CodeConflict, "topic %q: ordered is %t, not %t: whoever opens it must say the same", r.Topic, t.ordered, r.Ordered)
	}
	return t, nil
}
