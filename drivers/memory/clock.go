package memory

import (
	"container/heap"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A moment is a time since the broker's beginning; zero: none.
type moment time.Duration

func (b *Broker) now() moment { return moment(time.Since(b.began)) } // cheaper than time.Now

func (b *Broker) time(m moment) time.Time {
	if m == 0 {
		return time.Time{}
	}
	return b.began.Add(time.Duration(m))
}

func (m moment) add(d time.Duration) moment { return m + moment(d) }

// A group has one timer, for leases that end and delays that are over. It runs
// only while there are any; it may fire early, never late.

// arm makes the timer fire at t at the latest.
func (g *group) arm(t moment) {
	if g.alarm != 0 && t >= g.alarm {
		return
	}
	g.alarm = t
	d := time.Duration(t - g.topic.broker.now())
	if g.timer == nil {
		g.timer = time.AfterFunc(d, g.tick)
	} else {
		g.timer.Reset(d)
	}
}

// tick does what is due.
func (g *group) tick() {
	g.mu.Lock()
	g.alarm = 0
	now := g.topic.broker.now()
	letters := g.expire(now)
	for len(g.later) > 0 && g.later[0].due <= now {
		e := heap.Pop(&g.later).(*entry)
		if e.lane != nil && e.lane.shut == e {
			e.lane.shut = nil
		}
		g.restore(e)
		g.wake()
	}
	if len(g.later) > 0 {
		g.arm(g.later[0].due)
	}
	if e := g.firstLeased(); e != nil {
		g.arm(e.deadline)
	}
	g.unlock()
	g.topic.send(letters)
}

// firstLeased is the entry whose lease ends first.
func (g *group) firstLeased() *entry {
	e := g.out.first
	if e == nil || e.deadline == 0 {
		return nil
	}
	return e
}

// expire takes back what is leased no longer, and tells the sessions.
func (g *group) expire(now moment) (letters []*letter) {
	for e := g.firstLeased(); e != nil && e.deadline <= now; e = g.firstLeased() {
		s := e.session
		s.expired = append(s.expired, e.tag)
		s.wake.Poke()
		g.withdraw(e)
		if l := g.comeBack(e, 0, g.topic.broker.caps.Attempts != driver.AtMost, s.deadLetter()); l != nil {
			letters = append(letters, l)
		}
		g.wake()
	}
	return letters
}

// overdue expires what the timer is late for.
func (g *group) overdue() []*letter {
	if g.firstLeased() == nil {
		return nil
	}
	return g.expire(g.topic.broker.now())
}

// punctual is overdue for those without the lock.
func (g *group) punctual() {
	g.mu.Lock()
	letters := g.overdue()
	g.unlock()
	g.topic.send(letters)
}
