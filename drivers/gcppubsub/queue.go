package gcppubsub

import (
	"maps"
	"time"
)

// longest is how long a lease can be.
const longest = 600 * time.Second

// A queue is what is known of one key of an ordered subscription, while any of its
// messages is here or comes again.
//
// When a message comes again, Google gives all that is behind it on its key again as well,
// in order. Until it does, what is here of those, and what is on its way, must not pass:
// the queue has a bar.
type queue struct {
	order map[string]uint64 // places of messages, by id: the tags they had first
	here  int               // holdings
	soon  time.Time         // no lease of a given holding ends before
	bar   uint64            // the place from which all comes again; zero: none
	until time.Time         // when all that was on its way here has surely come
}

// barred says whether a place is behind the bar.
func (q *queue) barred(order uint64, now time.Time) bool {
	return q != nil && q.bar != 0 && order > q.bar && now.Before(q.until)
}

// place gives a message its place in its key's queue, or says that it is behind a bar:
// then it comes again. It is called with the lock.
func (s *session) place(id, key string, now time.Time) (order uint64, ok bool) {
	if key == "" || !s.plan.request.Ordered {
		return s.tag, true
	}
	q := s.queues[key]
	if q == nil {
		q = &queue{order: map[string]uint64{}, soon: now.Add(longest)}
		s.queues[key] = q
	}
	order, known := q.order[id]
	if !known {
		order = s.tag
	}
	if q.barred(order, now) && !s.quiesced {
		return 0, false
	}
	q.bar = 0
	q.order[id] = order
	q.here++
	return order, true
}

// leave takes a holding out of its key's queue. It is called with the lock.
func (s *session) leave(h *holding) {
	q := s.queues[h.key]
	if q == nil {
		return
	}
	if q.here--; q.here == 0 && q.bar == 0 {
		delete(s.queues, h.key)
	}
}

// setBar keeps what is behind a holding from passing it. It is called with the lock.
func (s *session) setBar(h *holding, now time.Time) {
	q := s.queues[h.key]
	if q == nil || s.quiesced {
		return
	}
	if q.bar == 0 || h.order < q.bar {
		q.bar = h.order
	}
	q.until = now.Add(s.plan.lease + leastLease)
}

// barKey sets a bar, and forgets what is behind it and was not given. It returns the
// acknowledgement ids of that, which go back. It is called with the lock.
func (s *session) barKey(h *holding, now time.Time) []string {
	s.setBar(h, now)
	return s.purge(h)
}

// purge forgets what is behind a holding on its key and was not given, and returns the
// acknowledgement ids of that. It is called with the lock.
func (s *session) purge(h *holding) []string {
	if s.queues[h.key] == nil || s.quiesced {
		return nil
	}
	return s.drop(func(o *holding) bool { return !o.given && o.key == h.key && o.order > h.order })
}

// mayPass says whether a holding may be given: not when it waited here for too long, or one
// before it of its key is lost or comes again. Then it comes again too. It is called with
// the lock.
func (s *session) mayPass(h *holding, now time.Time) bool {
	q := s.queues[h.key]
	if q != nil && !now.Before(q.soon) {
		s.lapse(h.key, q, now)
	}
	switch {
	case h.void || q.barred(h.order, now):
		return false
	case now.Before(h.deadline):
		return true
	default:
		s.setBar(h, now)
		return false
	}
}

// lapse looks for leases of a key that ended unnoticed. It is called with the lock.
func (s *session) lapse(key string, q *queue, now time.Time) {
	q.soon = now.Add(longest)
	for _, h := range s.held {
		switch {
		case h.key != key || !h.given:
		case now.Before(h.deadline):
			if h.deadline.Before(q.soon) {
				q.soon = h.deadline
			}
		default:
			s.lose(h)
			s.setBar(h, now)
			s.release(h)
		}
	}
}

// sweep forgets queues whose messages did not come again: somebody else has them. It is
// called with the lock.
func (s *session) sweep(now time.Time) {
	maps.DeleteFunc(s.queues, func(_ string, q *queue) bool { return q.here == 0 && now.After(q.until) })
}
