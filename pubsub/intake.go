package pubsub

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// session is one incarnation of a subscription, and what it gave.
type session struct {
	*receiver
	incarnation driver.Session
	ctx         context.Context    //nolint:containedctx // of the calls to the driver that nobody waits for
	stop        context.CancelFunc // ends ctx
	received    bool               // gave anything

	// The receiver's mutex guards these.
	first, last *flight // all that is in flight, in the order of intake
	quiesced    bool    // intake has ended
	closed      bool    // nothing is settled any more
	intakes     uint64
	distrusted  map[string]*doubt // keys that lost a message, or are going back to the broker
	recalls     []*recall
	gate        gate
	keeper      keeper
	settler     settler
	committer   *committer // nil unless settlements are committed
}

func (r *receiver) newSession(incarnation driver.Session) *session {
	s := &session{receiver: r, incarnation: incarnation}
	s.ctx, s.stop = context.WithCancel(r.base)
	s.keeper.init(s)
	s.settler.init(s)
	s.committer = newCommitter(s)
	go s.settler.run()
	incarnation.Credit(r.config.limit.Messages, r.config.limit.Bytes)
	return s
}

// intake takes in what the session gives until ctx ends or the session dies; or until it is
// interrupted for a reason that will not heal, which the session outlives.
func (s *session) intake(ctx context.Context, a *attachment) error {
	var in driver.Intake
	interruptions := 0 // in a row
	defer s.gate.end()
	for {
		receiving, err := s.gate.enter(ctx)
		if err != nil {
			return err
		}
		err = s.incarnation.Receive(receiving, &in)
		s.take(&in)
		s.gate.leave()
		var interrupted *driver.Interrupted
		switch {
		case err == nil && interruptions > 0:
			interruptions, a.trouble = 0, trouble{}
		case err == nil:
		case receiving.Err() != nil && ctx.Err() == nil && (errors.Is(err, errGate) || errors.Is(err, context.Canceled)):
		case errors.As(err, &interrupted) && ctx.Err() == nil:
			if a.futile(s, err) || a.final(err) {
				return err
			}
			interruptions++
			s.log.Warn("waybill: intake is interrupted, trying again", "times", interruptions, "error", err)
			if err := wait(ctx, s.client.config.backoff.Delay(interruptions), nil); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// take puts an intake to work and empties it.
func (s *session) take(in *driver.Intake) {
	if len(in.Revocations)+len(in.Deliveries) == 0 {
		return
	}
	s.received = true
	now := time.Now()
	bytes := 0
	s.mu.Lock()
	s.intakes++
	for i := range in.Revocations {
		s.revoke(&in.Revocations[i])
	}
	for i := range in.Deliveries {
		f := s.adopt(&in.Deliveries[i], now)
		bytes += f.size
		if s.distrusts(f) {
			s.depart(f)
			f.pinned = true
			s.doubt(f, f.delivery.Key)
			s.settler.add(f, driver.Return, 0, nil)
		} else {
			s.enqueue(f)
		}
	}
	s.trust()
	s.wakeOne()
	s.keeper.watch()
	s.unlock()
	if n := len(in.Deliveries); n > 0 {
		for _, h := range s.hooks.intake {
			h.OnIntake(IntakeInfo{Topic: s.config.Topic, Group: s.config.group, Messages: n, Bytes: bytes})
		}
	}
	in.Reset()
}

// Deliveries are made several at a time. A handler that keeps one keeps its
// neighbours, so their number and size are bounded.
const (
	chunkSeats = 32
	chunkBytes = 64 << 10
)

// adopt makes a flight of what the driver gave.
func (s *session) adopt(from *driver.Delivery, now time.Time) *flight {
	if len(s.seats) == 0 || s.seatBytes > chunkBytes {
		s.seats, s.seatBytes = make([]seat, chunkSeats), 0
	}
	seat := &s.seats[0]
	s.seats = s.seats[1:]

	d := &seat.delivery
	d.Message = Message(from.Message)
	d.Topic, d.Group = s.config.Topic, s.config.group
	d.Attempt = max(from.Attempt, 1)
	d.PublishTime = from.PublishTime
	d.raw = from.Raw

	seat.context.base, seat.context.drain = s.base, s.drain

	f := s.spareFlight
	if f == nil {
		f = &flight{}
	} else {
		s.spareFlight, f.behind = f.behind, nil
	}
	f.id, f.attempt = d.ID, d.Attempt
	f.delivery, f.context, f.session = d, &seat.context, s
	f.receipt, f.deadline = from.Receipt, from.Deadline
	f.size, f.since, f.stage = from.Size(), now, waiting
	s.seatBytes += f.size

	if f.prev = s.last; f.prev != nil {
		f.prev.next = f
	} else {
		s.first = f
	}
	s.last = f
	s.count++
	s.bytes += f.size
	return f
}

// depart says that a flight's settlement is on its way.
func (r *receiver) depart(f *flight) {
	f.stage = settling
	r.departing++
}

// forget ends a flight that left its queue: it was settled or taken back.
func (s *session) forget(f *flight) {
	if f.stage == gone {
		return
	}
	if f.stage == settling {
		s.departing--
	}
	f.stage = gone
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		s.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		s.last = f.prev
	}
	f.next, f.prev = nil, nil
	s.count--
	s.bytes -= f.size
	s.stalled = false
	s.settler.owe(f.size)
	if f.recall != nil {
		f.recall.less()
	}
	if d := f.doubt; d != nil {
		f.doubt = nil
		d.pending--
	}
}

// reuse keeps a flight that has ended for another one. It is called where nothing
// refers to it any more: it was settled, by a batch that is done with.
func (s *session) reuse(f *flight) {
	if f.stage != gone || f.pinned || f.recall != nil || s.keeper.rounding {
		return
	}
	// What adopt sets anew is left as it is, but for what would be kept alive.
	f.id, f.delivery, f.context, f.receipt.Token, f.receipt.Raw = "", nil, nil, nil, nil
	f.tooSlow, f.tail, f.late = false, false, time.Time{}
	f.behind = s.spareFlight
	s.spareFlight = f
}

// A doubt is about one key: what comes of it goes back, for an earlier message of it
// is still on its way to the broker, or comes again and must come first.
type doubt struct {
	pending int    // settlements of the key that must be done before
	until   uint64 // the last intake that may hold what was given before a loss
}

// doubts returns the doubt of a key.
func (s *session) doubts(key string) *doubt {
	d := s.distrusted[key]
	if d == nil {
		if s.distrusted == nil {
			s.distrusted = map[string]*doubt{}
		}
		d = &doubt{}
		s.distrusted[key] = d
	}
	return d
}

// doubt has a key's later messages go back until this one has. The key is not taken from
// the delivery, which is the handler's.
func (s *session) doubt(f *flight, key string) {
	if f.doubt == nil {
		f.doubt = s.doubts(key)
		f.doubt.pending++
	}
}

// distrusts says whether a delivery was perhaps on its way here when an earlier one of
// its key was lost, or went back: that one comes again, and must come first.
func (s *session) distrusts(f *flight) bool {
	if len(s.distrusted) == 0 {
		return false
	}
	d := s.distrusted[f.delivery.Key]
	return d != nil && (d.pending > 0 || s.intakes <= d.until)
}

// trust forgets the doubts that the next intake need not know of.
func (s *session) trust() {
	for key, d := range s.distrusted {
		if d.pending == 0 && d.until <= s.intakes {
			delete(s.distrusted, key)
		}
	}
}

// lose takes a flight back. If its handler runs, its context ends, and what it
// returns is of no account. What waits behind it on its key goes back too, and so
// does what the next intake has of it: the lost one comes again, and must come first.
func (s *session) lose(f *flight, cause error) {
	if f.lane != nil && f.lost == nil {
		d := s.doubts(f.lane.key)
		d.until = s.intakes + 1
		s.returnBehind(f)
	}
	switch f.stage {
	case gone:
	case running:
		if f.lost == nil {
			f.lost = cause
			f.context.cancel(cause)
			if s.batches != nil {
				s.batches.lost(f, cause)
			}
		}
	case waiting, held:
		s.withdraw(f)
		s.forget(f)
	case settling:
		s.forget(f)
	}
}

// loseAll takes everything back.
func (s *session) loseAll(cause error) {
	for f := s.first; f != nil; {
		next := f.next
		s.lose(f, cause)
		f = next
	}
}

// die ends a session that failed: all that it gave is lost.
func (s *session) die(cause error) {
	s.halt()
	s.mu.Lock()
	s.loseAll(takenBack(cause))
	s.dropRecalls()
	s.unlock()
	ctx, cancel := context.WithTimeout(s.base, closeTimeout)
	defer cancel()
	_ = s.incarnation.Close(ctx) // frees what it may still hold
}

// halt ends the session's settler and keeper.
func (s *session) halt() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	<-s.settler.done
	s.committer.halt()
	s.keeper.halt()
}

// quiesce ends intake, and takes what the session still holds.
func (s *session) quiesce(ctx context.Context) {
	err := s.incarnation.Quiesce(ctx)
	var in driver.Intake
	for err == nil {
		err = s.incarnation.Receive(ctx, &in)
		s.take(&in)
	}
	switch {
	case errors.Is(err, driver.ErrQuiesced):
	case ctx.Err() != nil:
		// What it still holds goes back when it is closed.
		s.log.Warn("waybill: subscription drains, and the broker did not end intake in time", "error", err)
	default:
		s.log.Warn("waybill: subscription lost while it drained", "error", err)
		s.die(err)
	}
}

// guard notices what the broker takes back, and the loss of the session, while handlers run
// on after intake has ended. It ends when none does, or with ctx.
func (s *session) guard(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.mu.Lock()
	over := s.silent || s.closed
	s.unguard = stop
	s.mu.Unlock()
	if over {
		return
	}
	var in driver.Intake
	for {
		err := s.incarnation.Receive(ctx, &in)
		s.take(&in)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return
		case errors.Is(err, driver.ErrQuiesced): // a driver that tells nothing any more
			return
		default:
			s.log.Warn("waybill: subscription lost while it drained", "error", err)
			s.die(err)
			return
		}
	}
}

// close flushes settlements, and gives back what has none. A broker that is slow to take
// the settlements leaves the driver its time to give back the rest.
func (s *session) close(ctx context.Context) {
	s.flush(ctx)
	s.halt()
	s.mu.Lock()
	s.dropRecalls()
	s.unlock()
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := s.incarnation.Close(ctx); err != nil {
		s.log.Warn("waybill: subscription closed with an error", "error", err)
	}
}

// flush has the broker take the last settlements.
func (s *session) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	s.settler.flush(ctx)
	s.committer.flush(ctx)
}
