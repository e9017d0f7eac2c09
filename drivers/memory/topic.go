package memory

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// topic keeps nothing itself: its groups do. A queue has one, without a name.
type topic struct {
	broker  *Broker
	name    string
	kind    driver.Kind
	ordered bool

	waits atomic.Bool // pending is not empty

	journal journal

	mu      sync.Mutex
	groups  map[string]*group
	readers []*group // the groups and those of broadcasts
	room    room     // that all readers have at least
	pending []*parcel
	stock   []stored // for messages to come
}

// room is how much more may be kept.
type room struct{ messages, bytes int }

// stored is a message as it is kept, shared by the groups that keep it, which only
// read it.
type stored struct {
	message   driver.Message
	size      int
	published moment
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
	t.journal.last = &segment{}
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
		return nil, driver.Errorf(driver.CodeNotFound, "topic %q has no group %q", t.name, name)
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
	t.readers = slices.DeleteFunc(t.readers, func(other *group) bool { return other == g })
	t.mu.Unlock()
	t.admit()
}

// The stock is made several at a time; one message that stays keeps its
// neighbours' names and headers, but not their bodies.
const stockSize = 32

// store copies a message.
func (t *topic) store(m *driver.Message, size int, now moment) *stored {
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

// fits says whether all groups have room for a message. One that has nothing takes any.
func (t *topic) fits(size int) bool {
	if t.room.messages > 0 && t.room.bytes >= size {
		return true
	}
	c := &t.broker.config
	t.room = room{c.BacklogMessages, c.BacklogBytes}
	fits := true
	for _, g := range t.readers {
		kept := g.kept()
		left := room{c.BacklogMessages - kept, c.BacklogBytes - g.bytes()}
		fits = fits && (kept == 0 || left.messages > 0 && left.bytes >= size)
		t.room = room{min(t.room.messages, left.messages), min(t.room.bytes, left.bytes)}
	}
	return fits
}

// full says whether a message must wait for room; waits is set then. Readers make room
// without the topic's lock, and look at waits after that: so this looks at the room once
// more after it has set it.
func (t *topic) full(size int) bool {
	if len(t.pending) > 0 {
		return true
	}
	if t.fits(size) {
		return false
	}
	t.waits.Store(true)
	if !t.fits(size) {
		return true
	}
	t.waits.Store(false)
	return false
}

// keep gives a message to all groups.
func (t *topic) keep(s *stored) {
	if len(t.readers) == 0 {
		return
	}
	t.journal.add(s)
	t.room = room{t.room.messages - 1, t.room.bytes - s.size}
	for _, g := range t.readers {
		g.notice(s.message.Delay > 0)
	}
}

// put keeps a message whatever the backlog: a dead letter must not be lost.
func (t *topic) put(m *driver.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(t.store(m, m.Size(), t.broker.now()))
}

// admit keeps what waited for room, and tells.
func (t *topic) admit() {
	var over []*parcel
	t.mu.Lock()
	for len(t.pending) > 0 && t.fits(t.pending[0].size) {
		t.keep(t.pending[0].stored)
		over = append(over, t.pending[0])
		t.pending[0] = nil
		t.pending = t.pending[1:]
	}
	t.waits.Store(len(t.pending) > 0)
	t.mu.Unlock()
	for _, p := range over {
		p.fate(p.index, driver.Stored, nil)
	}
}

// sender is a driver.Topic.
type sender struct {
	driver.Life
	conn    *conn
	request driver.TopicRequest
	open    atomic.Pointer[topic] // topic, while the sender lives

	mu    sync.Mutex
	topic *topic // nil while it does not exist, with topology assume
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
	now := s.conn.broker.now()
	for i := range batch {
		m := &batch[i]
		size := m.Size()
		t.mu.Lock()
		dead, wait := s.open.Load() == nil, false // what waited is not kept then, nor what is behind it
		if !dead {
			stored := t.store(m, size, now)
			if wait = t.full(size); !wait {
				t.keep(stored)
			} else {
				dead = !s.postpone(t, &parcel{stored, s, i, fate})
			}
		}
		t.mu.Unlock()
		switch {
		case dead:
			fate(i, driver.Aborted, s.Err())
		case !wait:
			fate(i, driver.Stored, nil)
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
	if err := s.Err(); err != nil {
		return nil, err
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

// postpone queues a parcel, unless the sender is dead: false then. It is called with the
// topic's lock.
func (s *sender) postpone(t *topic, p *parcel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err() != nil {
		return false
	}
	t.pending = append(t.pending, p)
	return true
}

func (s *sender) Close(context.Context) error {
	s.end(errClosed)
	s.conn.forgetSender(s)
	return nil
}

// end makes the sender dead: what waits for room is not kept.
func (s *sender) end(err error) {
	s.mu.Lock()
	s.End(err)
	t := s.topic
	s.open.Store(nil)
	s.mu.Unlock()
	if t == nil {
		return
	}
	var aborted []*parcel
	t.mu.Lock()
	t.pending = slices.DeleteFunc(t.pending, func(p *parcel) bool {
		if p.sender == s {
			aborted = append(aborted, p)
		}
		return p.sender == s
	})
	t.waits.Store(len(t.pending) > 0)
	t.mu.Unlock()
	for _, p := range aborted {
		p.fate(p.index, driver.Aborted, err)
	}
	t.admit()
}
