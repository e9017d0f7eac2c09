package memory

import (
	"container/heap"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A group has one timer, for leases that end and delays that are over. It runs
// only while there are any; it may fire early, never late.

// arm makes the timer fire at t at the latest.
func (g *group) arm(t time.Time) {
	if !g.alarm.IsZero() && !t.Before(g.alarm) {
		return
	}
	g.alarm = t
	if g.timer == nil {
		g.timer = time.AfterFunc(time.Until(t), g.tick)
	} else {
		g.timer.Reset(time.Until(t))
	}
}

// tick does what is due.
func (g *group) tick() {
	g.mu.Lock()
	g.alarm = time.Time{}
	now := time.Now()
	letters := g.expire(now)
	for len(g.later) > 0 && !g.later[0].due.After(now) {
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
	g.mu.Unlock()
	g.topic.send(letters)
}

// firstLeased is the entry whose lease ends first.
func (g *group) firstLeased() *entry {
	e := g.out.first
	if e == nil || e.deadline.IsZero() {
		return nil
	}
	return e
}

// expire takes back what is leased no longer, and tells the sessions.
func (g *group) expire(now time.Time) (letters []*letter) {
	for e := g.firstLeased(); e != nil && !e.deadline.After(now); e = g.firstLeased() {
		s := e.session
		s.expired = append(s.expired, e.tag)
		s.poke()
		g.withdraw(e)
		if l := g.comeBack(e, 0, g.topic.broker.caps.Attempts != driver.AtMost, s.deadLetter()); l != nil {
			letters = append(letters, l)
		}
		g.wake()
	}
	return letters
}
