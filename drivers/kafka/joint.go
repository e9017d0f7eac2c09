package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// joint is the session of a subscription with delays: its own topic's messages, and those
// whose delay is over, in one.
type joint struct {
	own, due *session
	relay    *relay
	stop     context.CancelFunc
	pumps    sync.WaitGroup
	wake     driver.Wake

	mu          sync.Mutex
	quiesced    bool
	err         error               // why one of them is dead
	ended       int                 // of them that gave all they held, after Quiesce
	said        bool                // that both have
	revocations []driver.Revocation // to be given
	deliveries  []driver.Delivery   // to be given
	held        []driver.Delivery   // that are due and have no credit
	taken       chan struct{}       // closed when what was to be given is; nil: nothing is
}

// dueAhead is how many due messages are here without credit.
const dueAhead = 64

// joint opens a subscription's two sessions and its relay.
func (c *conn) joint(ctx context.Context, r driver.SubscribeRequest, d delays) (driver.Session, error) {
	own, err := c.subscribe(ctx, r)
	if err != nil {
		return nil, err
	}
	// Its group has the topic's name.
	due, err := c.subscribe(ctx, driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: d.due, Kind: driver.Queue}})
	if err != nil {
		return nil, errors.Join(err, own.Close(ctx))
	}
	relay, err := newRelay(c, d)
	if err != nil {
		return nil, errors.Join(err, due.Close(ctx), own.Close(ctx))
	}
	pumping, stop := context.WithCancel(context.Background())
	j := &joint{own: own, due: due, relay: relay, stop: stop, wake: driver.NewWake()}
	due.Credit(dueAhead, 1<<40)
	j.pumps.Go(func() { j.pump(pumping, own, j.take) })
	j.pumps.Go(func() { j.pump(pumping, due, j.hold) })
	return j, nil
}

// pump receives from one of the sessions, as long as what it brought before was given.
func (j *joint) pump(ctx context.Context, s *session, bring func(*driver.Intake) <-chan struct{}) {
	var in driver.Intake
	for {
		err := s.Receive(ctx, &in)
		if ctx.Err() != nil {
			return
		}
		given := bring(&in)
		in.Reset()
		if errors.Is(err, driver.ErrQuiesced) { // it still tells of what is taken back
			j.mu.Lock()
			j.ended++
			j.mu.Unlock()
			j.wake.Poke()
			continue
		}
		if err != nil {
			j.mu.Lock()
			if j.err == nil {
				j.err = err
			}
			j.mu.Unlock()
			j.wake.Poke()
			return
		}
		j.wake.Poke()
		select {
		case <-given:
		case <-ctx.Done():
			return
		}
	}
}

// take brings what the topic's own session has. The channel is closed once it was given.
func (j *joint) take(in *driver.Intake) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.revocations = append(j.revocations, in.Revocations...)
	j.deliveries = append(j.deliveries, in.Deliveries...)
	if j.taken == nil {
		j.taken = make(chan struct{})
	}
	return j.taken
}

// at once: nothing is waited for.
var atOnce = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// hold brings what is due. It is given as far as there is credit.
func (j *joint) hold(in *driver.Intake) <-chan struct{} {
	for i := range in.Deliveries {
		undelay(&in.Deliveries[i])
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var back []driver.Settlement
	for _, r := range in.Revocations {
		kept := j.held[:0]
		for i := range j.held {
			if d := &j.held[i]; d.Claim == r.Claim {
				receipt := d.Receipt
				back = append(back, driver.Settlement{Receipt: &receipt, Verb: driver.Return})
			} else {
				kept = append(kept, *d)
			}
		}
		clear(j.held[len(kept):])
		j.held = kept
	}
	if len(back) > 0 { // nobody has seen them
		j.due.Settle(context.Background(), back)
		j.due.Credit(len(back), 0)
	}
	j.revocations = append(j.revocations, in.Revocations...)
	if !j.quiesced {
		j.held = append(j.held, in.Deliveries...)
	}
	j.admit()
	return atOnce
}

// admit gives what is due, as far as the topic's own session can spare the credit. It is
// called with the lock.
func (j *joint) admit() {
	for len(j.held) > 0 && j.own.spend(1, j.held[0].Size()) {
		j.pass()
	}
}

// pass gives the first that is held. It is called with the lock.
func (j *joint) pass() {
	j.deliveries = append(j.deliveries, j.held[0])
	j.held[0] = driver.Delivery{}
	j.held = j.held[1:]
	j.due.Credit(1, 0)
	j.wake.Poke()
}

// spend takes credit away that was not used; false if there is none.
func (s *session) spend(messages, bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.messages <= 0 || s.bytes <= 0 {
		return false
	}
	s.messages -= messages
	s.bytes -= bytes
	return true
}

// Credit serves one that is due first, so that a busy topic does not keep all for itself.
func (j *joint) Credit(messages, bytes int) {
	j.mu.Lock()
	if messages > 0 && len(j.held) > 0 {
		messages, bytes = messages-1, bytes-j.held[0].Size()
		j.pass()
	}
	j.mu.Unlock()
	j.own.Credit(messages, bytes)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.admit()
}

func (j *joint) Receive(ctx context.Context, in *driver.Intake) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if done, err := j.give(in); done || err != nil {
			return err
		}
		select {
		case <-j.wake:
		case <-ctx.Done():
		}
	}
}

// give gives what is there.
func (j *joint) give(in *driver.Intake) (done bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	in.Revocations = append(in.Revocations, j.revocations...)
	in.Deliveries = append(in.Deliveries, j.deliveries...)
	done = len(j.revocations)+len(j.deliveries) > 0
	clear(j.deliveries)
	j.revocations, j.deliveries = nil, j.deliveries[:0]
	if j.taken != nil {
		close(j.taken)
		j.taken = nil
	}
	switch {
	case done:
		return true, nil
	case j.err != nil:
		return true, j.err
	case j.ended == 2 && !j.said:
		j.said = true
		return true, driver.ErrQuiesced
	}
	return false, nil
}

// Settle carries out retries that are delayed as copies; what they are copies of is done
// once they are stored.
func (j *joint) Settle(ctx context.Context, batch []driver.Settlement) {
	verbs := j.park(ctx, batch)
	for _, s := range []*session{j.own, j.due} {
		var part []driver.Settlement
		var at []int
		for i := range batch {
			e, ok := batch[i].Token.(*entry)
			if ok && e.claim.session == s && verbs[i] != 0 {
				part, at = append(part, batch[i]), append(at, i)
				part[len(part)-1].Verb = verbs[i]
			}
		}
		if len(part) == 0 {
			continue
		}
		s.Settle(ctx, part)
		for n, i := range at {
			batch[i].Outcome, batch[i].OutcomeErr = part[n].Outcome, part[n].OutcomeErr
		}
	}
}

// park stores copies of what is to come back later. It returns what is then to be done
// with each of the batch; zero: nothing, its outcome is known.
func (j *joint) park(ctx context.Context, batch []driver.Settlement) []driver.Verb {
	verbs := make([]driver.Verb, len(batch))
	var parcels []parcel
	var waits []time.Duration
	var at []int
	for i := range batch {
		v := &batch[i]
		verbs[i], v.Outcome, v.OutcomeErr = v.Verb, driver.Lost, nil
		if v.Verb != driver.Retry || v.Delay <= 0 {
			continue
		}
		e, ok := v.Token.(*entry)
		m := rawOf(v.Receipt)
		if !ok || m == nil || !e.tagged(v.Tag) {
			verbs[i] = 0
			continue
		}
		verbs[i] = driver.Ack
		parcels = append(parcels, delayed(m, time.Now().Add(v.Delay), e.failures()+1))
		waits, at = append(waits, v.Delay), append(at, i)
	}
	if len(parcels) == 0 {
		return verbs
	}
	left, err := j.relay.park(ctx, parcels, waits)
	for _, n := range left {
		v := &batch[at[n]]
		verbs[at[n]], v.Outcome, v.OutcomeErr = 0, driver.Again, err
		if code := driver.CodeOf(err); code == driver.CodeTooLarge || code == driver.CodePermissionDenied {
			v.Outcome = driver.Failed
		}
	}
	return verbs
}

// tagged says whether a delivery's receipt is good.
func (e *entry) tagged(tag uint64) bool {
	s := e.claim.session
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.tag == tag && !e.done && !e.claim.gone
}

// failures is how many attempts failed, this one not among them.
func (e *entry) failures() int {
	s := e.claim.session
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.attempts
}

// Extend is not called: deliveries have no lease.
func (j *joint) Extend(context.Context, []*driver.Receipt, time.Duration) {}

// Commit tells the broker what was settled.
func (j *joint) Commit(ctx context.Context) error {
	return errors.Join(j.own.Commit(ctx), j.due.Commit(ctx))
}

func (j *joint) Quiesce(ctx context.Context) error {
	j.mu.Lock()
	j.quiesced = true
	clear(j.held)
	j.held = nil // they go back with the session
	j.mu.Unlock()
	return errors.Join(j.own.Quiesce(ctx), j.due.Quiesce(ctx))
}

func (j *joint) Close(ctx context.Context) error {
	j.stop()
	j.pumps.Wait()
	j.relay.close()
	return errors.Join(j.own.Close(ctx), j.due.Close(ctx))
}
