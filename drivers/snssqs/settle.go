package snssqs

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// valid returns a receipt that may still be settled, or nil.
func (s *session) valid(r *driver.Receipt) *receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := r.Token.(*receipt)
	if !ok || s.out[t.tag] != t || s.Err() != nil || !time.Now().Before(t.deadline) {
		return nil
	}
	return t
}

// spend makes a receipt void.
func (s *session) spend(t *receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.out, t.tag)
}

func (s *session) Settle(ctx context.Context, batch []driver.Settlement) {
	var deletions, dead []*driver.Settlement
	var changes []change
	for i := range batch {
		v := &batch[i]
		t := s.valid(v.Receipt)
		if t == nil {
			v.Outcome = driver.Lost
			continue
		}
		v.Outcome = driver.Confirmed
		verb := v.Verb
		if last := s.plan.attempts > 0 && t.attempt >= s.plan.attempts; last && (verb == driver.Keep || verb == driver.Retry) {
			verb = driver.Dead
		}
		switch verb {
		case driver.Ack:
			deletions = append(deletions, v)
		case driver.Dead:
			dead = append(dead, v)
		case driver.Keep:
			t.attempt++
			s.conn.counts.Add(t.id, 1)
		case driver.Retry:
			changes = append(changes, change{receipt: t, settlement: v, seconds: seconds(v.Delay)})
		case driver.Return:
			changes = append(changes, change{receipt: t, settlement: v})
		default:
			v.Outcome, v.OutcomeErr = driver.Failed, invalid("verb %d is not known", v.Verb)
		}
	}
	deletions = append(deletions, s.bury(ctx, dead)...)
	s.delete(ctx, deletions)
	s.visibility.Lock()
	s.changeVisibility(ctx, changes)
	s.visibility.Unlock()
}

// conclude sets an outcome after Amazon's answer about an entry or a request.
func (s *session) conclude(v *driver.Settlement, err error) {
	t := v.Token.(*receipt)
	v.Conclude(driver.Confirmed, err)
	if err == nil && (v.Verb == driver.Ack || v.Verb == driver.Dead) {
		s.conn.counts.Set(t.id, 0)
		s.conn.deaths.Set(t.id, 0)
	}
	if err == nil && v.Verb == driver.Keep {
		v.Outcome = driver.Lost // it was the last attempt, and went to the dead letter
	}
	if v.Outcome == driver.Confirmed || v.Outcome == driver.Lost {
		s.spend(t)
	}
}

// delete deletes messages. It comes before polls: what was handled is to be gone before more
// is fetched.
func (s *session) delete(ctx context.Context, list []*driver.Settlement) {
	s.mu.Lock()
	s.deletions += (len(list) + batchMessages - 1) / batchMessages
	s.mu.Unlock()
	entries(ctx, s, list, s.conn.config.Parallel, "sqs:DeleteMessage", func(ctx context.Context, part []*driver.Settlement) (map[string]failure, error) {
		defer s.deleted(ctx)
		in := &sqs.DeleteMessageBatchInput{QueueUrl: &s.queue.url}
		for i, v := range part {
			in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{
				Id: entryIDs[i], ReceiptHandle: &v.Token.(*receipt).handle,
			})
		}
		out, err := s.conn.sqs.DeleteMessageBatch(ctx, in)
		if err != nil {
			return nil, err
		}
		return failures(len(part), out.Successful, func(d *types.DeleteMessageBatchResultEntry) *string { return d.Id }, out.Failed, failed), nil
	}, s.conclude)
}

// deleted lets a poll run where a request deleted.
func (s *session) deleted(ctx context.Context) {
	s.mu.Lock()
	s.deletions--
	s.mu.Unlock()
	s.poll(ctx)
}

// entries makes requests for a list, ten entries each, some of them beside one another, and
// tells of each entry what became of it.
func entries[T any](ctx context.Context, s *session, list []T, parallel int, action string,
	request func(context.Context, []T) (map[string]failure, error), tell func(T, error)) {
	on := quoted("queue", s.queue.name)
	var wait sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for part := range slices.Chunk(list, batchMessages) {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			failed, err := request(ctx, part)
			err = s.conn.fail(action, on, err)
			for i, v := range part {
				if f, bad := failed[*entryIDs[i]]; bad {
					tell(v, s.conn.fail(action, on, f.cause()))
				} else {
					tell(v, err)
				}
			}
		})
	}
	wait.Wait()
}

// A change is one of a message's visibility.
type change struct {
	receipt    *receipt
	settlement *driver.Settlement // nil for those that nobody asks after
	seconds    int32
	extended   func(error) // for extensions
}

// changeVisibility shows and hides messages. On FIFO the newest go first, one request after
// the other: while the oldest is not visible, nothing of its key is delivered, so that it
// comes first.
func (s *session) changeVisibility(ctx context.Context, list []change) {
	parallel := s.conn.config.Parallel
	if s.plan.fifo {
		parallel = 1
		slices.SortStableFunc(list, func(a, b change) int { return cmp.Compare(b.receipt.tag, a.receipt.tag) })
	}
	entries(ctx, s, list, parallel, "sqs:ChangeMessageVisibility", func(ctx context.Context, part []change) (map[string]failure, error) {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &s.queue.url}
		for i, c := range part {
			left := seconds(longestHidden - time.Since(c.receipt.since))
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: entryIDs[i], ReceiptHandle: &c.receipt.handle, VisibilityTimeout: max(0, min(c.seconds, left-1)),
			})
		}
		out, err := s.conn.sqs.ChangeMessageVisibilityBatch(ctx, in)
		if err != nil {
			return nil, err
		}
		return failures(len(part), out.Successful, func(d *types.ChangeMessageVisibilityBatchResultEntry) *string { return d.Id }, out.Failed, failed), nil
	}, func(c change, err error) {
		switch {
		case c.extended != nil:
			c.extended(err)
		case c.settlement != nil:
			s.conclude(c.settlement, err)
			if err == nil && c.settlement.Verb == driver.Return {
				s.conn.counts.Add(c.receipt.id, -1)
			}
		}
	})
}

// Extend extends leases.
func (s *session) Extend(ctx context.Context, batch []*driver.Receipt, d time.Duration) {
	s.visibility.Lock()
	defer s.visibility.Unlock()
	now := time.Now()
	var list []change
	for _, r := range batch {
		t := s.valid(r)
		if t == nil {
			r.Deadline = time.Time{}
			continue
		}
		last := t.since.Add(longestHidden - time.Second)
		granted := now.Add(time.Duration(seconds(d)) * time.Second)
		if granted.After(last) {
			granted = last
		}
		if !granted.After(now) {
			continue
		}
		list = append(list, change{receipt: t, seconds: seconds(d), extended: func(err error) {
			switch {
			case err == nil:
				s.mu.Lock()
				t.deadline = granted
				s.mu.Unlock()
				r.Deadline = granted
			case driver.CodeOf(err) == driver.CodeLost:
				s.spend(t)
				r.Deadline = time.Time{}
			}
		}})
	}
	s.changeVisibility(ctx, list)
}
