package pubsub

import (
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// hold keeps a message that failed, or was postponed, here until it is due. Its lane
// waits behind it. While the subscription drains there is no time for that: it goes
// back to the broker.
func (s *session) hold(f *flight, v ruling) {
	if s.draining && f.lane == nil {
		s.depart(f)
		if v.postponed {
			s.settler.add(f, driver.Return, 0, nil)
		} else {
			s.settler.add(f, driver.Retry, min(v.delay, s.longestRetry(f)), v.err)
		}
		return
	}
	f.stage, f.pinned, f.postponed = held, true, v.postponed
	s.waiting++
	if !v.postponed { // else the broker has nothing to count
		s.settler.add(f, driver.Keep, 0, v.err)
	}
	if !s.draining { // else finish returns it with its lane
		f.timer = time.AfterFunc(v.delay, func() { s.resume(f) })
	}
}

// resume makes a held message ready again.
func (s *session) resume(f *flight) {
	s.mu.Lock()
	if f.stage == held && !s.draining {
		s.waiting--
		f.again()
		s.ready.push(f)
		s.wakeOne()
	}
	s.unlock()
}

// returnTail gives the rest of a key back, behind the Retry of its head.
func (r *receiver) returnTail(l *lane) {
	for f := l.behind.pop(); f != nil; f = l.behind.pop() {
		r.depart(f)
		f.lane, f.tail = nil, true
		f.session.doubt(f, l.key)
		f.session.settler.add(f, driver.Return, 0, nil)
	}
}

// returnBehind gives back what waits behind a flight on its key.
func (r *receiver) returnBehind(f *flight) {
	l, behind := f.lane, f.behind
	if l.head == f {
		behind = l.behind.first
	}
	for ; behind != nil; behind = behind.behind {
		if behind.stage != waiting {
			continue
		}
		r.withdraw(behind)
		if s := behind.session; !s.closed { // else it is lost itself, in a moment
			s.doubt(behind, l.key)
			s.settler.add(behind, driver.Return, 0, nil)
		}
	}
}

// returnWaiting gives everything back that has not started, in the order in which
// it came, once intake has ended: it could come right back before. What waits behind a
// running message of its key waits for that one's verdict, so that it does not come back
// before it.
func (r *receiver) returnWaiting() {
	s := r.leaving
	if s == nil || s.closed || !s.quiesced {
		return
	}
	for f := s.first; f != nil; {
		next := f.next
		if (f.stage == waiting || f.stage == held) && (f.lane == nil || f.lane.head.stage != running) {
			s.withdraw(f)
			s.settler.add(f, driver.Return, 0, nil)
		}
		f = next
	}
}

// stalls says whether nothing can go on before a held message is due, once an
// occasion. It is called with the lock.
func (r *receiver) stalls() bool {
	if !r.stalling() {
		return false
	}
	r.stalled = true
	return true
}

func (r *receiver) stalling() bool {
	return !r.stalled && r.waiting > 0 && r.active == 0 && r.ready.count == 0 && r.departing == 0 && !r.draining && r.full()
}

// tellStall is called without the lock.
func (r *receiver) tellStall(waiting int) {
	r.log.Warn("waybill: subscription stalls: all that may be in flight waits for a retry, or behind one", "waiting", waiting)
	for _, h := range r.hooks.stall {
		h.OnStall(StallInfo{Topic: r.config.Topic, Group: r.config.group, Waiting: waiting})
	}
}

// full says whether the broker may give nothing more.
func (r *receiver) full() bool {
	return r.count >= r.config.limit.Messages || r.bytes >= r.config.limit.Bytes
}
