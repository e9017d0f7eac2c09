package pubsub

import (
	"context"
	"slices"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// settler sends a session's settlements, in order, in batches: what comes while
// one batch is on its way makes up the next. It gives credit back as it goes.
type settler struct {
	session *session
	batch   driver.Batch
	wake    driver.Wake
	done    chan struct{} // closed when run has ended

	// The receiver's mutex guards these.
	pending  []driver.Settlement
	flights  []owner // of pending, one each
	acks     int     // of pending
	messages int     // credit owed
	bytes    int
	flushing bool
	asleep   bool      // run waits, or is about to: what comes now must wake it
	until    time.Time // until when a batch lingers; zero: none does
	sent     time.Time // when the last batch was; only where batches linger

	// Of run alone: what it has in hand, and how often in a row not all of it was done.
	hand     []driver.Settlement
	owners   []owner // of hand, one each
	failures int
}

// An owner is the flight of a settlement, which may be at its next attempt already
// when a Keep is carried out.
type owner struct {
	*flight
	attempt *Delivery
	took    time.Duration // of the driver's call; only where hooks see it
}

// settleBackoff is for settlements that a broker did not take.
var settleBackoff = Backoff{Min: 50 * time.Millisecond, Max: time.Second}

func (t *settler) init(s *session) {
	t.session = s
	t.wake, t.done = driver.NewWake(), make(chan struct{})
	t.batch, _ = s.config.batch.over(s.caps.SettleBatch, "settle batch") // was checked at opening
}

// add takes a settlement. It is called with the lock.
func (t *settler) add(f *flight, verb driver.Verb, delay time.Duration, err error) {
	t.pending = append(t.pending, driver.Settlement{Receipt: &f.receipt, Verb: verb, Delay: delay, Err: err})
	t.flights = append(t.flights, owner{flight: f, attempt: f.delivery})
	if verb == driver.Ack {
		t.acks++
	}
	n := len(t.pending)
	if t.asleep && (n == 1 || n == t.batch.Messages || n == t.requests() || t.batch.Linger > 0 && t.presses()) {
		t.wake.Poke()
	}
}

// owe gives back the credit of a delivery, soon. It is called with the lock.
func (t *settler) owe(bytes int) {
	t.messages++
	t.bytes += bytes
	if t.asleep && t.messages == 1 {
		t.wake.Poke()
	}
}

// run ends when the session does, or when all is flushed.
func (t *settler) run() {
	defer close(t.done)
	s := t.session
	for s.ctx.Err() == nil {
		s.mu.Lock()
		linger := t.linger()
		if linger == 0 {
			t.load(len(t.pending))
		} else if n := t.requests(); n > 0 {
			t.load(n)
			t.until = time.Time{} // the rest has just begun to wait
		}
		messages, bytes := 0, 0
		if !s.committer.behind() {
			messages, bytes = t.messages, t.bytes
			t.messages, t.bytes = 0, 0
		}
		returns := t.returns()
		flushed := t.flushing && len(t.hand) == 0
		draining := s.draining
		t.asleep = len(t.hand) == 0 && !flushed
		s.unlock()
		if messages > 0 && !draining {
			s.incarnation.Credit(messages, bytes)
		}
		switch {
		case flushed:
			return
		case len(t.hand) == 0:
			t.await(linger)
		default:
			if returns {
				s.gate.shut(s.ctx)
				s.mu.Lock()
				t.load(len(t.pending)) // with what the Receive that was under way carried
				s.unlock()
			}
			t.send()
			t.conclude()
		}
	}
}

// returns says whether messages of keys go back to the broker with what is in hand.
func (t *settler) returns() bool {
	if len(t.session.distrusted) == 0 {
		return false
	}
	for i := range t.owners {
		if t.owners[i].doubt != nil {
			return true
		}
	}
	return false
}

// await waits until there is something to do, or for d unless that is zero.
func (t *settler) await(d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-t.wake:
	case <-timeout:
	case <-t.session.ctx.Done():
	}
}

// linger is how long a batch that is not full waits for company: for messages that are
// with their handlers, and in a stream of such that handlers are done with at once.
func (t *settler) linger() time.Duration {
	if t.batch.Linger <= 0 || t.session.committer != nil || t.flushing || len(t.hand) > 0 || len(t.pending) == 0 ||
		t.batch.Messages > 0 && len(t.pending) >= t.batch.Messages || t.presses() {
		t.until = time.Time{}
		return 0
	}
	now := time.Now()
	if t.until.IsZero() && (t.session.active > 0 || now.Sub(t.sent) < t.batch.Linger) {
		t.until = now.Add(t.batch.Linger)
	}
	if d := t.until.Sub(now); d > 0 {
		return d
	}
	t.until = time.Time{}
	return 0
}

// presses says whether nothing can come before what is pending is settled: the window is
// used up, or the broker may give the next of a key only then. It is called with the lock.
func (t *settler) presses() bool {
	s := t.session
	return s.active == 0 && s.ready.count == 0 && (s.config.Ordered || s.full())
}

// requests is how many of those that are pending need no company: they fill requests. It is
// none where there is more than acknowledgements, which the driver would ask for apart. It is
// called with the lock.
func (t *settler) requests() int {
	size := t.session.caps.SettleRequest
	if size == 0 || t.acks < len(t.pending) {
		return 0
	}
	return len(t.pending) - len(t.pending)%size
}

// load takes the first n that are pending into hand, without what was taken back since.
func (t *settler) load(n int) {
	if len(t.hand) == 0 && n == len(t.pending) {
		t.hand, t.pending = t.pending, t.hand
		t.owners, t.flights = t.flights, t.owners
		t.acks = 0
	} else {
		for i := range t.pending[:n] {
			if t.pending[i].Verb == driver.Ack {
				t.acks--
			}
		}
		t.hand = append(t.hand, t.pending[:n]...)
		t.owners = append(t.owners, t.flights[:n]...)
		t.pending = slices.Delete(t.pending, 0, n)
		t.flights = slices.Delete(t.flights, 0, n)
	}
	t.keep(func(i int) bool { return t.owners[i].stage != gone })
}

// keep drops from hand what is not wanted any more.
func (t *settler) keep(wanted func(i int) bool) {
	n := 0
	for i := range t.hand {
		if !wanted(i) {
			continue
		}
		if n != i {
			t.hand[n], t.owners[n] = t.hand[i], t.owners[i]
		}
		n++
	}
	clear(t.hand[n:])
	clear(t.owners[n:])
	t.hand, t.owners = t.hand[:n], t.owners[:n]
}

// send hands over what is in hand, as much at a time as the driver takes.
func (t *settler) send() {
	for i := 0; i < len(t.hand); {
		end := len(t.hand)
		if t.batch.Messages > 0 && i+t.batch.Messages < end {
			for end = i + t.batch.Messages; end < len(t.hand) && t.owners[end].tail; {
				end++
			}
		}
		t.settle(i, end)
		i = end
	}
	if t.batch.Linger > 0 {
		t.sent = time.Now()
	}
}

// settle makes one call to the driver.
func (t *settler) settle(from, to int) {
	s := t.session
	if len(s.hooks.settle) == 0 {
		s.incarnation.Settle(s.ctx, t.hand[from:to])
		return
	}
	began := time.Now()
	s.incarnation.Settle(s.ctx, t.hand[from:to])
	took := time.Since(began)
	for i := from; i < to; i++ {
		t.owners[i].took = took
	}
}

// conclude acts on the outcomes. What is to be tried again stays in hand.
func (t *settler) conclude() {
	s := t.session
	var infos []SettleInfo
	accepted := 0
	s.mu.Lock()
	for i := range t.hand {
		if t.hand[i].Outcome == driver.Accepted {
			accepted++
		}
		if len(s.hooks.settle) > 0 {
			infos = append(infos, SettleInfo{
				Delivery: t.owners[i].attempt, Took: t.owners[i].took,
				Verb: t.hand[i].Verb, Outcome: t.hand[i].Outcome, Err: t.hand[i].OutcomeErr,
			})
		}
		t.outcome(&t.hand[i], t.owners[i].flight)
	}
	if accepted > 0 && s.committer != nil {
		s.committer.accept(accepted)
	}
	asked := len(t.hand)
	t.keep(func(i int) bool { return t.hand[i].Outcome == driver.Again && t.owners[i].stage != gone })
	if s.batches != nil {
		s.wakeOne() // a batch waits no longer for company where there is still no room for any
	}
	s.unlock()
	s.gate.open()
	for i := range infos {
		for _, h := range s.hooks.settle {
			h.OnSettle(infos[i])
		}
	}
	if len(t.hand) == 0 {
		t.failures = 0
		return
	}
	if len(t.hand) < asked {
		t.failures = 0 // the broker takes others: these do not slow them down
	}
	t.failures++
	s.log.Warn("waybill: the broker did not take settlements, trying again", "settlements", len(t.hand), "error", t.hand[0].OutcomeErr)
	_ = wait(s.ctx, settleBackoff.Delay(t.failures), nil)
}

// outcome ends a flight that is settled. It is called with the lock.
func (t *settler) outcome(v *driver.Settlement, f *flight) {
	s := t.session
	switch v.Outcome {
	case driver.Again:
		return
	case driver.Confirmed, driver.Sent, driver.Accepted:
	case driver.Lost:
		verb, id := v.Verb, f.id
		s.later = append(s.later, func() { s.log.Debug("waybill: settlement came too late", "verb", verb, "id", id) })
	default:
		verb, id, err := v.Verb, f.id, v.OutcomeErr
		s.later = append(s.later, func() { s.log.Error("waybill: settlement failed", "verb", verb, "id", id, "error", err) })
	}
	switch {
	case v.Verb != driver.Keep:
		s.forget(f)
		s.reuse(f)
	case v.Outcome == driver.Lost:
		s.lose(f, ErrLeaseLost)
	}
}

// flush waits, within ctx, until everything is sent, and ends run.
func (t *settler) flush(ctx context.Context) {
	t.session.mu.Lock()
	t.flushing = true
	t.session.mu.Unlock()
	t.wake.Poke()
	select {
	case <-t.done:
	case <-ctx.Done():
	}
}
