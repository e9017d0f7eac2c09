package memory

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// topic keeps nothing itself: its groups do. A queue has one, without a name.
type topic struct {
	broker  *Broker
	name    string
	kind    driver.Kind
	ordered bool

	waits atomic.Bool // pending is not empty

	mu      sync.Mutex
	groups  map[string]*group
	readers []*group // the groups and those of broadcasts
	pending []*parcel
	stock   []stored // for messages to come
}

// stored is a message as it is kept, shared by the groups that keep it, which only
// read it.
type stored struct {
	message   driver.Message
	size      int
	published time.Duration // since the broker's beginning
}

// A parcel is a message that was sent and waits for room.
type parcel struct {
	*stored
	sender *sender
	index  int
	fate   func(int, driver.Fate, error)
}

func newTopic(b *Broker, r *driver.TopicRequest) *topic {
	t := &topic{broker: b, name: r.Topic, kind: r.Kind, ordered: r.Ordered, groups: map[string]*group{}}
	if r.Kind == driver.Queue {
		g := newGroup(t, "")
		t.groups[""] = g
		t.readers = append(t.readers, g)
	}
	return t
}

// group finds a group, and makes it where that is asked.
func (t *topic) group(name string, create bool) (*group, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[name]
	if g == nil && !create {
		return nil, driver.Errorf(driver.CodeNotFound, fmt.Sprintf("topic %q has no group %q", t.name, name))
	}
	if g == nil {
		g = newGroup(t, name)
		t.groups[name] = g
		t.readers = append(t.readers, g)
	}
	return g, nil
}

// broadcast makes a group for one session.
func (t *topic) broadcast() *group {
	g := newGroup(t, "")
	g.ephemeral = true
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers = append(t.readers, g)
	return g
}

// drop forgets the group of a broadcast.
func (t *topic) drop(g *group) {
	t.mu.Lock()
	for i, other := range t.readers {
		if other == g {
			t.readers = append(t.readers[:i:i], t.readers[i+1:]...)
			break
		}
	}
	t.mu.Unlock()
	t.admit()
}

// The stock is made several at a time; one message that stays keeps its
// neighbours' names and headers, but not their bodies.
const stockSize = 32

// store copies a message.
func (t *topic) store(m *driver.Message, size int, now time.Duration) *stored {
	if len(t.stock) == 0 {
		t.stock = make([]stored, stockSize)
	}
	s := &t.stock[0]
	t.stock = t.stock[1:]
	s.message, s.size, s.published = *m, size, now
	s.message.Headers = maps.Clone(m.Headers)
	if len(m.Body) > 0 {
		s.message.Body = append(make([]byte, 0, len(m.Body)), m.Body...)
	} else {
		s.message.Body = nil
	}
	return s
}

// room says whether all groups have room for a message.
func (t *topic) room(size int) bool {
	for _, g := range t.readers {
		if !g.room(size) {
			return false
		}
	}
	return true
}

// keep gives a message to all groups.
func (t *topic) keep(s *stored) {
	for _, g := range t.readers {
		g.put(s)
	}
}

// put keeps a message whatever the backlog: a dead letter must not be lost.
func (t *topic) put(m *driver.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(t.store(m, m.Size(), time.Since(t.broker.began)))
}

// admit keeps what waited for room, and tells.
func (t *topic) admit() {
	var over []*parcel
	t.mu.Lock()
	for len(t.pending) > 0 && t.room(t.pending[0].size) {
		t.keep(t.pending[0].stored)
		over = append(over, t.pending[0])
		t.pending[0] = nil
		t.pending = t.pending[1:]
	}
	t.waits.Store(len(t.pending) > 0)
	t.mu.Unlock()
	for _, p := range over {
		p.sender.settled()
		p.fate(p.index, driver.Stored, nil)
	}
}

// sender is a driver.Topic.
type sender struct {
	conn    *conn
	request driver.TopicRequest
	done    chan struct{}
	open    atomic.Pointer[topic] // topic, while the sender lives

	mu      sync.Mutex
	topic   *topic // nil while it does not exist, with topology assume
	err     error
	pending int           // parcels
	idle    chan struct{} // closed when there is none; nil unless somebody waits
}

// Send keeps each message, or lets it wait for room: it never blocks.
func (s *sender) Send(_ context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
	t, err := s.find()
	if err != nil {
		f := driver.Aborted
		if driver.CodeOf(err) == driver.CodeNotFound {
			f = driver.Refused
		}
		for i := range batch {
			fate(i, f, err)
		}
		return
	}
	now := time.Since(s.conn.broker.began) // cheaper than time.Now
	for i := range batch {
		m := &batch[i]
		size := m.Size()
		if err := s.conn.broker.refuses(m, size, t.ordered); err != nil {
			fate(i, driver.Refused, err)
			continue
		}
		t.mu.Lock()
		stored := t.store(m, size, now)
		wait := len(t.pending) > 0 || !t.room(size)
		if !wait {
			t.keep(stored)
		} else if err = s.postpone(t, &parcel{stored, s, i, fate}); err == nil {
			t.waits.Store(true)
		}
		t.mu.Unlock()
		switch {
		case !wait:
			fate(i, driver.Stored, nil)
		case err != nil:
			fate(i, driver.Aborted, err)
		}
	}
}

// find returns the topic, or why it cannot be sent to.
func (s *sender) find() (*topic, error) {
	if t := s.open.Load(); t != nil {
		return t, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if s.topic == nil {
		t, err := s.conn.broker.topic(&s.request)
		if err != nil {
			return nil, err
		}
		s.topic = t
	}
	s.open.Store(s.topic)
	return s.topic, nil
}

// postpone queues a parcel, unless the sender is dead. It is called with the
// topic's lock.
func (s *sender) postpone(t *topic, p *parcel) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	t.pending = append(t.pending, p)
	s.pending++
	return nil
}

// settled counts a parcel that has its fate.
func (s *sender) settled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending--; s.pending == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

func (s *sender) Done() <-chan struct{} { return s.done }

func (s *sender) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sender) Close(ctx context.Context) error {
	s.mu.Lock()
	idle := s.idle
	if s.err == nil && s.pending > 0 && idle == nil {
		idle = make(chan struct{})
		s.idle = idle
	}
	s.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
		}
	}
	s.end(errClosed)
	s.conn.forgetSender(s)
	return nil
}

// end makes the sender dead: what waits for room is not kept.
func (s *sender) end(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	t := s.topic
	s.open.Store(nil)
	close(s.done)
	s.mu.Unlock()
	if t == nil {
		return
	}
	var aborted []*parcel
	t.mu.Lock()
	var left []*parcel
	for _, p := range t.pending {
		if p.sender == s {
			aborted = append(aborted, p)
		} else {
			left = append(left, p)
		}
	}
	t.pending = left
	t.waits.Store(len(left) > 0)
	t.mu.Unlock()
	for _, p := range aborted {
		s.settled()
		p.fate(p.index, driver.Aborted, err)
	}
	t.admit()
}

// refuses says why a message cannot be kept, if so.
func (b *Broker) refuses(m *driver.Message, size int, ordered bool) error {
	c := &b.caps
	switch {
	case c.MessageBytes > 0 && size > c.MessageBytes:
		return driver.Errorf(driver.CodeTooLarge, fmt.Sprintf("message has %d bytes; the limit is %d", size, c.MessageBytes))
	case c.Headers > 0 && len(m.Headers) > c.Headers:
		return driver.Errorf(driver.CodeTooLarge, fmt.Sprintf("message has %d headers; the limit is %d", len(m.Headers), c.Headers))
	case c.KeyBytes > 0 && len(m.Key) > c.KeyBytes:
		return driver.Errorf(driver.CodeTooLarge, fmt.Sprintf("key has %d bytes; the limit is %d", len(m.Key), c.KeyBytes))
	case m.Delay > c.PublishDelay:
		return b.cannot("delay a message for so long")
	case m.Delay > 0 && ordered && m.Key != "":
		return driver.Errorf(driver.CodeInvalid, "a message with a key cannot be delayed on an ordered topic")
	}
	return nil
}
