package kafka

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// joint is the session of a subscription with delays: its own topic's messages, and those
// whose delay is over, in one. Both are read with one credit.
type joint struct {
	own, due *session
	relay    *relay

	// Receive's alone.
	dueFirst bool // the next time
	ended    int  // of them that gave all they held, after Quiesce
}

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
	due.delayed = true
	relay, err := newRelay(c, d)
	if err != nil {
		return nil, errors.Join(err, due.Close(ctx), own.Close(ctx))
	}
	return &joint{own: own, due: due, relay: relay}, nil
}

// Credit is the topic's own session's, until fill moves it.
func (j *joint) Credit(messages, bytes int) { j.own.Credit(messages, bytes) }

func (j *joint) Receive(ctx context.Context, in *driver.Intake) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if done, err := j.fill(in); done || err != nil {
			return err
		}
		select {
		case <-j.own.wake:
		case <-j.due.wake:
		case <-j.own.Done():
		case <-j.due.Done():
		case <-ctx.Done():
		}
	}
}

// fill gives what is there. They take turns to have all the credit first, so that neither
// keeps it for itself.
func (j *joint) fill(in *driver.Intake) (done bool, err error) {
	first, second := j.own, j.due
	if j.dueFirst {
		first, second = second, first
	}
	j.dueFirst = !j.dueFirst
	second.lend(first)
	given, err := j.from(first, in)
	first.lend(second)
	more, err2 := j.from(second, in)
	switch {
	case given || more:
		return true, nil // what is wrong is so the next time
	case err != nil || err2 != nil:
		return true, cmp.Or(err, err2)
	case j.ended == 2:
		j.ended = 0 // it is said once
		return true, driver.ErrQuiesced
	}
	return false, nil
}

// from gives what one of them has.
func (j *joint) from(s *session, in *driver.Intake) (given bool, err error) {
	done, err := s.fill(in)
	if errors.Is(err, driver.ErrQuiesced) {
		j.ended++
		return false, nil
	}
	return done && err == nil, err
}

// lend gives another session all of the credit.
func (s *session) lend(to *session) {
	s.mu.Lock()
	messages, bytes := s.messages, s.bytes
	s.messages, s.bytes = 0, 0
	s.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	to.messages += messages
	to.bytes += bytes
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
	return errors.Join(j.own.Quiesce(ctx), j.due.Quiesce(ctx))
}

func (j *joint) Close(ctx context.Context) error {
	j.relay.close()
	return errors.Join(j.own.Close(ctx), j.due.Close(ctx))
}
