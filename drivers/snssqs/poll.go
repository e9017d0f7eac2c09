package snssqs

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// shortWait is how long polls wait that run beside another: no longer than it takes SQS
// to ask all of its servers, so that an idle session soon has one long poll alone.
const shortWait = time.Second

// poll starts as many polls as make sense.
//
// A poll asks for ten. Only one that is alone asks for less: requests cost money, and
// credit comes back in batches.
func (s *session) poll(context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ending && s.polls < s.most() {
		n := min(batchMessages, s.Room()-s.reserved)
		if n <= 0 || s.polls > 0 && n < batchMessages {
			return
		}
		wait := shortWait
		if s.polls == 0 {
			wait = s.conn.config.Wait
		}
		s.polls++
		s.reserved += n
		s.polling.Go(func() { s.receive(n, wait) })
	}
}

// most is how many polls may run: of the requests that are wanted, deletions come first. It
// is called with the lock.
func (s *session) most() int { return max(1, s.want-s.deletions) }

// receive makes one poll, and takes what it brought.
func (s *session) receive(n int, wait time.Duration) {
	name := s.pollName()
	got, full, err := s.ask(s.ctx, name, n, wait)
	if err != nil && s.ctx.Err() != nil && s.plan.fifo && s.temp == nil {
		// It was cut: what was on its way is had under the same name, and goes back. Until
		// then it would block its groups.
		if got, _, err = s.ask(s.conn.Context(), name, n, shortWait); err != nil {
			got = nil // it comes again when its visibility ends
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.adapt(full, n)
	case s.ctx.Err() == nil:
		if name != "" && !notSent(err) {
			s.unheard = append(s.unheard, name)
		}
		on := quoted("queue", s.queue.name)
		s.suffer(s.conn.patient(on, s.conn.fail("sqs:ReceiveMessage", on, err)))
	}
	s.Put(got...)
	s.polls--
	s.reserved -= n
}

// ask makes one request. It returns what is to be delivered, and how many came.
func (s *session) ask(ctx context.Context, name string, n int, wait time.Duration) (list []driver.Delivery, came int, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait+requestTimeout)
	defer cancel()
	out, err := s.conn.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &s.queue.url, MaxNumberOfMessages: int32(n), //nolint:gosec // at most ten
		WaitTimeSeconds: seconds(wait), VisibilityTimeout: seconds(s.lease), ReceiveRequestAttemptId: unlessEmpty(name),
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		return nil, 0, err
	}
	return s.accept(ctx, out.Messages), len(out.Messages), nil
}

// adapt goes by how full a poll came back. With a backlog, half as many requests as may be
// are soon wanted, and then one more whenever as many polls were full: at a backlog's end,
// each that runs asks for nothing. It is called with the lock.
func (s *session) adapt(got, asked int) {
	parallel := s.conn.config.Parallel
	switch {
	case got == asked && s.want <= parallel/4:
		s.want *= 2
	case got == asked:
		if s.full++; s.full >= s.want {
			s.want, s.full = min(s.want+1, parallel), 0
		}
	case got == 0:
		s.want = 1
	case got < batchMessages/2:
		s.want = max(1, s.want-1)
	}
}

// suffer notes a poll's error: the end, or something that passes, after which the
// engine asks again in a while. It is called with the lock.
func (s *session) suffer(err error) {
	s.want = 1
	if driver.CodeOf(err).Heals() {
		s.Interrupt(err)
	} else {
		s.End(err)
	}
}

// pollName names a poll of FIFO, for ReceiveRequestAttemptId. One whose answer was lost
// keeps its name, and so gets the messages that were on their way.
func (s *session) pollName() string {
	if !s.plan.fifo {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.unheard); n > 0 {
		name := s.unheard[n-1]
		s.unheard = s.unheard[:n-1]
		return name
	}
	return rand.Text()
}

// accept makes deliveries of messages, without those that are not due yet, or that died
// of too many attempts.
func (s *session) accept(ctx context.Context, messages []types.Message) []driver.Delivery {
	now := time.Now()
	list := make([]driver.Delivery, 0, len(messages))
	var early []change
	var dead []*driver.Settlement
	s.mu.Lock()
	if now.Sub(s.swept) > s.lease {
		s.sweep(now)
	}
	for i := range messages {
		m := &messages[i]
		var d driver.Delivery
		due := decode(m, s.plan.fifo, &d)
		r := &receipt{handle: aws.ToString(m.ReceiptHandle), id: aws.ToString(m.MessageId), message: m, since: now, deadline: now.Add(s.lease)}
		count, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
		r.attempt = count - s.conn.before(m, r.id, count) + s.conn.counts.Of(r.id)
		if first := milliseconds(m.Attributes[string(types.MessageSystemAttributeNameApproximateFirstReceiveTimestamp)]); first.Before(due) && !due.Before(first) && now.After(due) {
			r.attempt-- // the first receipt was too early
		}
		r.attempt = max(r.attempt, 1)
		if left := due.Sub(now); left > 0 {
			early = append(early, change{receipt: r, seconds: seconds(left)})
			continue
		}
		s.tags++
		r.tag = s.tags
		d.Attempt = r.attempt
		d.Receipt = driver.Receipt{Tag: r.tag, Token: r, Deadline: r.deadline, Raw: *m}
		if s.plan.attempts > 0 && s.plan.fifo && r.attempt > s.plan.attempts+redriveSlack {
			// Members die of it, and SQS does not move FIFO's messages to a standard queue.
			dead = append(dead, &driver.Settlement{Receipt: &d.Receipt, Verb: driver.Dead})
			continue
		}
		s.out[r.tag] = r
		list = append(list, d)
	}
	s.mu.Unlock()
	s.changeVisibility(ctx, early)
	s.delete(ctx, s.bury(ctx, dead))
	return list
}
