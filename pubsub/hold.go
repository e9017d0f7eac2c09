package pubsub

import (
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// hold keeps a failed message here until it is due. Its lane waits behind it. While
// the subscription drains there is no time for that: it goes back to the broker.
func (s *session) hold(f *flight, v ruling) {
	if s.draining && f.lane == nil {
		f.stage = settling
		s.settler.add(f, driver.Retry, min(v.delay, s.caps.RetryDelay), v.err)
		return
	}
	f.stage, f.pinned = held, true
	s.waiting++
	s.settler.add(f, driver.Keep, 0, v.err)
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
		f.stage, f.lane, f.tail = settling, nil, true
		f.session.settler.add(f, driver.Return, 0, nil)
	}
}

// returnBehind gives back what waits behind a flight on its key.
func (r *receiver) returnBehind(f *flight) {
	behind := f.behind
	if f.lane.head == f {
		behind = f.lane.behind.first
	}
	for ; behind != nil; behind = behind.behind {
		if behind.stage != waiting {
			continue
		}
		r.withdraw(behind)
		if s := behind.session; !s.closed { // else it is lost itself, in a moment
			s.settler.add(behind, driver.Return, 0, nil)
		}
	}
}

// returnWaiting gives everything back that has not started, in the order in which
// it came. What waits behind a running message of its key waits for that one's
// verdict, so that it does not come back before it.
func (s *session) returnWaiting() {
	if s.closed {
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
	if r.stalled || r.waiting == 0 || r.active > 0 || r.ready.count > 0 || r.draining || !r.full() {
		return false
	}
	r.stalled = true
	return true
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
