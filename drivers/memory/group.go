package memory

import (
	"container/heap"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// group keeps its own entries of a topic's messages, and gives them to its sessions.
type group struct {
	topic     *topic
	name      string
	ephemeral bool // of a broadcast

	settled totals          // of the journal, what is kept no longer, or was there before
	waiting atomic.Int32    // waiters
	_       [cacheLine]byte // publishers read what is above, and readers write what is below

	mu     sync.Mutex
	unread cursor
	seq    uint64
	tag    uint64 // of the last delivery
	freed  freed
	ready  list // without a lane
	lanes  map[string]*lane
	open   queue // lanes whose first entry may go to any session
	out    list  // by deadline
	later  delays
	spare  *entry // for use again

	sessions []*session
	waiters  []*session // in Receive, with credit, and nothing for them
	timer    *time.Timer
	alarm    moment // when timer fires; zero: it does not
}

const cacheLine = 64

// totals counts messages and their bytes.
type totals struct{ messages, bytes atomic.Int64 }

// freed is what was forgotten and still counts as kept: publishers are told of
// many at once.
type freed struct{ messages, bytes int64 }

// newGroup makes a group that reads what is published from now on. It is called with
// the topic's lock, or before there is anybody else.
func newGroup(t *topic, name string) *group {
	g := &group{topic: t, name: name, unread: t.journal.end()}
	g.settled.messages.Store(t.journal.messages.Load())
	g.settled.bytes.Store(t.journal.bytes.Load())
	if t.ordered {
		g.lanes = map[string]*lane{}
	}
	return g
}

// kept is how many messages wait or are out.
func (g *group) kept() int { return int(g.topic.journal.messages.Load() - g.settled.messages.Load()) }

// bytes is how large they are.
func (g *group) bytes() int { return int(g.topic.journal.bytes.Load() - g.settled.bytes.Load()) }

// notice tells a group that the journal has more, if it must know at once. A session
// that has just begun to wait looks into the journal after that.
func (g *group) notice(delayed bool) {
	if delayed || g.waiting.Load() > 0 {
		g.mu.Lock()
		g.collect()
		g.wake()
		g.unlock()
	}
}

// collect takes in what the journal has more.
func (g *group) collect() {
	for s := g.unread.next(); s != nil; s = g.unread.next() {
		g.add(s)
	}
}

// add makes an entry of a message.
func (g *group) add(s *stored) {
	e := g.spare
	if e == nil {
		g.stock()
		e = g.spare
	}
	g.spare = e.next
	e.next = nil
	g.seq++
	e.stored, e.seq = s, g.seq
	if key := s.message.Key; key != "" && g.lanes != nil {
		l := g.lanes[key]
		if l == nil {
			l = &lane{key: key}
			g.lanes[key] = l
		}
		e.lane = l
	}
	if s.message.Delay > 0 {
		g.delay(e, s.published.add(s.message.Delay))
	} else {
		g.restore(e)
	}
}

const entryStock = 64

// stock makes entries, several at a time.
func (g *group) stock() {
	entries := make([]entry, entryStock)
	for i := range entries {
		entries[i].next, g.spare = g.spare, &entries[i]
	}
}

// forget ends an entry that is in no list. Its room is free with unlock.
func (g *group) forget(e *entry) {
	g.freed.messages++
	g.freed.bytes += int64(e.size)
	if l := e.lane; l != nil {
		g.tidy(l)
	}
	// put sets the rest anew; a receipt of before is void by its tag.
	e.stored, e.lane, e.session, e.attempts, e.place = nil, nil, nil, 0, free
	e.next, g.spare = g.spare, e
}

// unlock gives the lock back, and their room to publishers.
func (g *group) unlock() {
	if g.freed.messages > 0 {
		g.settled.messages.Add(g.freed.messages)
		g.settled.bytes.Add(g.freed.bytes)
		g.freed = freed{}
	}
	g.mu.Unlock()
}

// restore makes an entry ready, in its old place.
func (g *group) restore(e *entry) {
	e.place = ready
	if e.lane == nil {
		g.ready.restore(e)
		return
	}
	e.lane.list.restore(e)
	g.offer(e.lane)
}

// delay keeps an entry away until it is due.
func (g *group) delay(e *entry, due moment) {
	e.place, e.due = delayed, due
	heap.Push(&g.later, e)
	g.arm(due)
}

// offer lists a lane where a session may find it. That of a session which takes nothing more
// is listed when nothing of it is out any more.
func (g *group) offer(l *lane) {
	if l.queue != nil || l.shut != nil || l.list.count == 0 || l.holder != nil && l.holder.quiesced {
		return
	}
	if l.holder != nil {
		l.holder.lanes.push(l)
		l.holder.wake.Poke()
	} else {
		g.open.push(l)
	}
}

// tidy takes a lane from a session that has nothing of it any more, and may have no credit for
// what is left, and forgets it when it is empty.
func (g *group) tidy(l *lane) {
	if l.out == 0 && l.holder != nil {
		l.holder = nil
		l.leave()
	}
	switch {
	case l.out > 0 || l.shut != nil:
	case l.list.count > 0:
		g.offer(l)
	case g.lanes[l.key] == l && !g.delays(l):
		delete(g.lanes, l.key)
	}
}

// delays says whether any of a lane is delayed without shutting it.
func (g *group) delays(l *lane) bool {
	if g.topic.broker.caps.OrderedRetry == driver.WithTail {
		return false
	}
	return slices.ContainsFunc(g.later, func(e *entry) bool { return e.lane == l })
}

// next takes the first entry that a session may have, or nil.
func (g *group) next(s *session) *entry {
	l := s.lanes.first
	if l == nil {
		l = g.open.first
	}
	e := g.ready.first
	if l != nil && (e == nil || l.list.first.seq < e.seq) {
		e = l.list.first
		e.unlink()
		l.leave()
		l.holder = s
		l.out++
		g.offer(l) // what is left is behind the other lanes
	} else if e != nil {
		e.unlink()
	}
	return e
}

// wake gets a session that waits to look.
func (g *group) wake() {
	if len(g.waiters) == 0 || g.ready.first == nil && g.open.first == nil {
		return
	}
	s := g.waiters[0]
	g.waiters[0] = nil
	g.waiters = g.waiters[1:]
	g.waiting.Add(-1)
	s.queued = false
	s.wake.Poke()
}

// deliver hands an entry to a session.
func (g *group) deliver(e *entry, s *session, now, deadline moment) {
	g.tag++
	e.place, e.session, e.tag, e.since, e.deadline, e.accepted = out, s, g.tag, now, deadline, false
	g.out.lease(e)
}

// deadline is when a lease of d ends; the broker's longest hold bounds it.
func (g *group) deadline(d time.Duration, since, now moment) moment {
	hold := g.topic.broker.caps.Hold
	switch {
	case d > 0 && (hold <= 0 || now.add(d) < since.add(hold) || hold == driver.Unlimited):
		return now.add(d)
	case hold <= 0 || hold == driver.Unlimited:
		return 0
	default:
		return since.add(hold)
	}
}

// withdraw takes an entry back from the session that has it.
func (g *group) withdraw(e *entry) {
	e.unlink()
	e.session = nil
	if e.lane != nil {
		e.lane.out--
	}
}

// comeBack makes a withdrawn entry ready again after d. It returns a letter if the
// entry goes to the dead letter instead.
func (g *group) comeBack(e *entry, d time.Duration, counts bool, policy *driver.DeadLetter) *letter {
	if counts {
		e.attempts++
		if policy != nil && policy.MaxAttempts > 0 && e.attempts >= policy.MaxAttempts {
			return g.bury(e, policy, nil)
		}
	}
	l := e.lane
	if d == 0 {
		g.restore(e)
	} else {
		g.delay(e, g.topic.broker.now().add(d))
		if l != nil && g.topic.broker.caps.OrderedRetry == driver.WithTail && (l.shut == nil || e.seq < l.shut.seq) {
			l.shut = e
			l.leave()
		}
	}
	if l != nil {
		g.tidy(l)
	}
	return nil
}

// join adds a session.
func (g *group) join(s *session) {
	g.mu.Lock()
	defer g.unlock()
	g.sessions = append(g.sessions, s)
}

// forgetWaiter takes a session out of those to be woken.
func (g *group) forgetWaiter(s *session) {
	g.waiters = slices.DeleteFunc(g.waiters, func(other *session) bool { return other == s })
	g.waiting.Store(int32(len(g.waiters))) //nolint:gosec // members of a group
	s.queued = false
}

// leave takes a session out, with all that it has; attempts count unless it left in
// good order.
func (g *group) leave(s *session, counts bool) {
	var letters []*letter
	g.mu.Lock()
	g.sessions = slices.DeleteFunc(g.sessions, func(other *session) bool { return other == s })
	g.forgetWaiter(s)
	var back []*entry
	for e := g.out.first; e != nil; e = e.next {
		if e.session == s {
			back = append(back, e)
		}
	}
	for _, e := range back {
		g.withdraw(e)
	}
	for _, e := range back {
		if l := g.comeBack(e, 0, counts, s.deadLetter()); l != nil {
			letters = append(letters, l)
		}
	}
	for range back {
		g.wake()
	}
	if g.timer != nil && g.ephemeral {
		g.timer.Stop()
	}
	g.unlock()
	g.topic.send(letters)
	if g.ephemeral {
		g.topic.drop(g)
	}
}
