package pubsub

import (
	"context"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// keeper extends the leases of a session's deliveries while they are here, and
// notices those that were lost, or are held for too long. It is one timer, which
// runs while there is anything to look after.
type keeper struct {
	session  *session
	lease    time.Duration // zero: there are none
	interval time.Duration
	longest  time.Duration // a handler may take

	// The receiver's mutex guards these.
	timer  *time.Timer
	armed  bool
	halted bool
	busy   chan struct{} // closed when the round that runs has ended

	rounding bool // a round has flights in hand
	failed   bool // the last extension left leases as they were
}

// hastier is how much sooner than usual a round can be.
const hastier = 10

func (k *keeper) init(s *session) {
	k.session, k.longest = s, s.longestHandling()
	k.lease = s.caps.Lease
	if s.config.lease > 0 {
		k.lease = s.config.lease
	}
	if k.interval = k.longest; k.lease > 0 {
		k.interval = min(k.interval, k.lease/3)
	}
}

// watch starts the timer if there is something to look after.
func (k *keeper) watch() {
	if k.armed || k.halted || k.session.first == nil {
		return
	}
	k.armed = true
	d := k.next()
	if k.timer == nil {
		k.timer = time.AfterFunc(d, k.round)
	} else {
		k.timer.Reset(d)
	}
}

// next is how long until the next round: an interval, less after an extension that
// failed, and less where a delivery will have been here for too long before.
func (k *keeper) next() time.Duration {
	d := k.interval
	if k.failed {
		d /= hastier
	}
	for f := k.session.first; f != nil; f = f.next {
		if f.tooSlow || f.stage == settling {
			continue
		}
		d = min(d, max(time.Until(f.begun().Add(k.longest)), 0))
		if f.late.IsZero() { // the oldest is first
			break
		}
	}
	return d
}

// halt ends the timer and waits for a round that runs. The session's context has
// ended before.
func (k *keeper) halt() {
	k.session.mu.Lock()
	k.halted = true
	if k.timer != nil {
		k.timer.Stop()
	}
	busy := k.busy
	k.session.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

// round looks after each delivery once.
func (k *keeper) round() {
	s := k.session
	s.mu.Lock()
	if k.halted {
		s.mu.Unlock()
		return
	}
	k.busy = make(chan struct{})
	defer close(k.busy)
	k.rounding = true
	due, lost := k.due(time.Now())
	s.unlock()

	extended := 0
	if len(due) > 0 {
		granted := k.extend(due)
		s.mu.Lock()
		k.failed = false
		for i, f := range due {
			switch {
			case f.stage == gone:
			case granted[i].Deadline.IsZero():
				s.lose(f, ErrLeaseLost)
				lost++
			case granted[i].Deadline.After(f.deadline):
				f.deadline = granted[i].Deadline
				extended++
			default:
				k.failed = true
			}
		}
		s.unlock()
	}
	if extended+lost > 0 {
		for _, h := range s.hooks.lease {
			h.OnLease(LeaseInfo{Topic: s.config.Topic, Group: s.config.group, Extended: extended, Lost: lost})
		}
	}
	s.mu.Lock()
	k.armed, k.rounding = false, false
	k.watch()
	s.mu.Unlock()
}

// due lists the deliveries whose leases must be extended in this round, and
// gives up those that are lost, which it counts, or too slow.
func (k *keeper) due(now time.Time) (due []*flight, lost int) {
	s := k.session
	for f := s.first; f != nil; {
		next := f.next
		switch {
		case f.stage == settling:
		case !f.deadline.IsZero() && !now.Before(f.deadline):
			// Nobody may have said so, but it is with somebody else by now.
			s.lose(f, ErrLeaseLost)
			lost++
		case now.Sub(f.begun()) >= k.longest:
			k.tooSlow(f)
		case !f.deadline.IsZero() && f.deadline.Sub(now) < 2*k.lease/3:
			due = append(due, f)
		}
		f = next
	}
	return due, lost
}

// tooSlow ends the keeping of a delivery.
func (k *keeper) tooSlow(f *flight) {
	s := k.session
	switch {
	case f.stage == running:
		if !f.tooSlow {
			id, attempt := f.id, f.attempt
			s.later = append(s.later, func() {
				s.log.Error("waybill: handler holds its message for too long", "id", id, "attempt", attempt, "limit", k.longest)
			})
			f.context.cancel(ErrHandlerTooSlow)
			f.tooSlow = true
			if s.batches != nil {
				s.batches.lost(f, ErrHandlerTooSlow)
			}
		}
	case f.stage == waiting && f.lane == nil:
		s.withdraw(f)
		s.settler.add(f, driver.Return, 0, nil)
	}
	f.tooSlow = true
}

// extend asks the driver, on copies: a receipt may be settled at the same time.
func (k *keeper) extend(due []*flight) []driver.Receipt {
	ctx, cancel := context.WithTimeout(k.session.ctx, k.interval)
	defer cancel()
	granted := make([]driver.Receipt, len(due))
	batch := make([]*driver.Receipt, len(due))
	k.session.mu.Lock()
	for i, f := range due {
		granted[i] = f.receipt
		granted[i].Deadline = f.deadline
		batch[i] = &granted[i]
	}
	k.session.mu.Unlock()
	k.session.incarnation.Extend(ctx, batch, k.lease)
	return granted
}
