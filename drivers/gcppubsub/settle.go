package gcppubsub

import (
	"context"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A share is settlements that go in one request.
type share struct {
	ids   []string
	of    []*driver.Settlement
	delay int32 // of what goes back
}

// add is called with the lock.
func (h *share) add(v *driver.Settlement) {
	h.ids, h.of = append(h.ids, v.Token.(*holding).ack), append(h.of, v)
}

// Settle sends acknowledgements first, and then what goes back, in order.
func (s *session) Settle(ctx context.Context, batch []driver.Settlement) {
	var acks share
	var returns []share // by delay, in a row
	var letters []*driver.Settlement
	var back []string
	now := time.Now()
	s.mu.Lock()
	for i := range batch {
		v := &batch[i]
		h := s.valid(v.Receipt, now)
		if h == nil {
			v.Outcome = driver.Lost
			continue
		}
		switch v.Verb {
		case driver.Ack:
			acks.add(v)
		case driver.Keep:
			s.tally.failed.Add(h.id, 1)
			v.Outcome = s.done()
		case driver.Retry, driver.Return:
			delay := int32(0)
			if v.Verb == driver.Retry {
				delay = seconds(v.Delay)
			}
			if n := len(returns); n == 0 || returns[n-1].delay != delay {
				returns = append(returns, share{delay: delay})
			}
			returns[len(returns)-1].add(v)
			h.leaving = true
			s.count(v, h, 1)
			back = append(back, s.barKey(h, now)...)
		case driver.Dead:
			letters = append(letters, v)
		default:
			v.Outcome, v.OutcomeErr = driver.Failed, driver.Errorf(driver.CodeInvalid, "unknown verb")
		}
	}
	s.mu.Unlock()
	for _, v := range letters {
		if s.bury(ctx, v) {
			s.mu.Lock() // its lease may be renewed meanwhile
			acks.add(v)
			s.mu.Unlock()
		}
	}
	if len(acks.ids) > 0 {
		s.conclude(&acks, s.acknowledge(ctx, acks.ids))
	}
	for i := range returns {
		s.conclude(&returns[i], s.modify(ctx, returns[i].ids, returns[i].delay))
	}
	_ = s.giveBack(ctx, back)
}

// done is the outcome of what was done.
func (s *session) done() driver.Outcome {
	if s.exact {
		return driver.Confirmed
	}
	return driver.Sent
}

// conclude sets the outcomes of one request.
func (s *session) conclude(h *share, err error) {
	single := results(err)
	err = failure("settle", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range h.of {
		o := v.Token.(*holding)
		result, named := single[h.ids[i]]
		switch {
		case named && !strings.HasPrefix(result, "TRANSIENT_"):
			v.Outcome = driver.Lost
			s.release(o)
		case err != nil && o.leaving && o.void:
			v.Outcome = s.done() // it came again: it was done
		case err != nil && (single != nil || driver.CodeOf(err).Heals()):
			v.Outcome, v.OutcomeErr = driver.Again, err
			s.stay(v, o)
		case err != nil && driver.CodeOf(err) == driver.CodeNotFound:
			v.Outcome = driver.Lost // with its subscription, as the stream tells
			s.release(o)
		case err != nil:
			v.Outcome, v.OutcomeErr = driver.Failed, err
			s.stay(v, o)
		case !o.leaving && o.ack != h.ids[i]:
			// It came again meanwhile: that lease is to be settled too.
			v.Outcome, v.OutcomeErr = driver.Again, driver.Errorf(driver.CodeAborted, "redelivered while it was settled")
		default:
			v.Outcome = s.done()
			s.release(o)
			s.after(v, o)
		}
	}
}

// count counts what goes back, before it can come again.
func (s *session) count(v *driver.Settlement, h *holding, n int) {
	if v.Verb == driver.Retry {
		s.tally.failed.Add(h.id, n)
	} else {
		s.tally.returned.Add(h.id, n)
	}
}

// stay undoes the leaving of what could not be returned.
func (s *session) stay(v *driver.Settlement, h *holding) {
	if h.leaving {
		h.leaving = false
		s.count(v, h, -1)
	}
}

// after notes a settlement that was done.
func (s *session) after(v *driver.Settlement, h *holding) {
	switch {
	case v.Verb == driver.Ack || v.Verb == driver.Dead:
		s.tally.forget(h.id)
		if q := s.queues[h.key]; q != nil {
			delete(q.order, h.id)
		}
	case v.Verb == driver.Retry && v.Delay > 0 && !s.plan.request.Ordered:
		// Google counts what is delayed as outstanding on its stream: a new one starts
		// from nothing.
		if s.parked++; 2*s.parked >= s.window.Messages {
			s.parked = 0
			s.grow.Poke()
		}
	}
}

// bury publishes a dead letter; it is acknowledged after that.
func (s *session) bury(ctx context.Context, v *driver.Settlement) bool {
	h := v.Token.(*holding)
	if h.letter == nil {
		v.Outcome, v.OutcomeErr = driver.Failed, driver.Errorf(driver.CodeInvalid, "the subscription has no native dead letter")
		return false
	}
	s.mu.Lock()
	attempts := s.tally.attempt(h.id, h.attempts)
	s.mu.Unlock()
	m := proto.CloneOf(h.letter)
	m.MessageId, m.PublishTime = "", nil
	mark(m, s.plan.request.Topic, s.plan.request.Group, attempts, v.Err)
	if m.OrderingKey != "" { // the dead letter's topic has no order
		if m.Attributes == nil {
			m.Attributes = map[string]string{}
		}
		m.Attributes[attributeKey], m.OrderingKey = m.OrderingKey, ""
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.conn.client.Topics.Publish(ctx, &pubsubpb.PublishRequest{Topic: s.plan.dead, Messages: []*pubsubpb.PubsubMessage{m}})
	if err != nil {
		v.Outcome, v.OutcomeErr = driver.Again, failure("dead letter", err)
		return false
	}
	return true
}

func (s *session) acknowledge(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.conn.client.Subscriptions.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: s.plan.subscription, AckIds: ids})
}

func (s *session) modify(ctx context.Context, ids []string, seconds int32) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.conn.client.Subscriptions.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: s.plan.subscription, AckIds: ids, AckDeadlineSeconds: seconds,
	})
}

// idsPerRequest is how many acknowledgement ids one request has at most.
const idsPerRequest = 1000

// giveBack returns messages, in order. What it cannot return comes again when its
// lease ends.
func (s *session) giveBack(ctx context.Context, ids []string) error {
	for part := range slices.Chunk(ids, idsPerRequest) {
		if err := s.modify(ctx, part, 0); err != nil && results(err) == nil {
			return failure("return messages; they come again when their leases end", err)
		}
	}
	return nil
}

// Extend moves deadlines, in whole seconds.
func (s *session) Extend(ctx context.Context, batch []*driver.Receipt, d time.Duration) {
	for part := range slices.Chunk(batch, idsPerRequest) {
		s.extend(ctx, part, seconds(d))
	}
}

func (s *session) extend(ctx context.Context, batch []*driver.Receipt, d int32) {
	now := time.Now()
	ids := make([]string, 0, len(batch))
	good := make([]*driver.Receipt, 0, len(batch))
	s.mu.Lock()
	for _, r := range batch {
		h := s.valid(r, now)
		if h == nil {
			r.Deadline = time.Time{}
			continue
		}
		ids, good = append(ids, h.ack), append(good, r)
	}
	s.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	err := s.modify(ctx, ids, d)
	single := results(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range good {
		h := r.Token.(*holding)
		result, named := single[ids[i]]
		switch {
		case named && !strings.HasPrefix(result, "TRANSIENT_") && h.ack == ids[i]:
			r.Deadline = time.Time{}
			s.release(h)
		case err != nil:
		case !h.void:
			h.deadline = now.Add(time.Duration(d) * time.Second)
			r.Deadline = h.deadline
		}
	}
}
