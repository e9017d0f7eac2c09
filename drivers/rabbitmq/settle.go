package rabbitmq

import (
	"context"
	"maps"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Settle carries out settlements: acknowledgements first, several as one where no gap is
// beneath, then the rest in order, then copies of what is to come back later.
func (s *session) Settle(ctx context.Context, batch []driver.Settlement) {
	var later []*driver.Settlement
	ended := 0
	dead := s.Err() != nil
	s.conn.incoming.socket.hold()
	for i := range batch {
		v := &batch[i]
		v.Outcome, v.OutcomeErr = driver.Sent, nil
		f, ok := v.Token.(*feed)
		if !ok || f.session != s || dead {
			v.Outcome = driver.Lost
			continue
		}
		if v.Verb == driver.Retry && v.Delay > 0 && !s.last(f, v) {
			later = append(later, v)
			continue
		}
		f.settle(v)
		if v.Verb != driver.Keep || v.Outcome == driver.Lost {
			ended++
		}
	}
	for _, f := range s.feeds {
		f.flush()
	}
	s.conn.incoming.socket.release()
	ended += len(later)
	if len(later) > 0 {
		s.delay(ctx, later)
	}
	s.mu.Lock()
	s.window -= ended
	s.mu.Unlock()
}

// last says whether a failed attempt used up those that the dead-letter policy allows.
func (s *session) last(f *feed, v *driver.Settlement) bool {
	p := s.request.DeadLetter
	if p == nil || p.MaxAttempts == 0 {
		return false
	}
	return f.attempts(v.Receipt) >= p.MaxAttempts
}

// attempts counts those of a delivery that is in hand, the present one included.
func (f *feed) attempts(r *driver.Receipt) int {
	var d driver.Delivery
	raw, _ := r.Raw.(*amqp.Delivery)
	n := describe(raw, &d) + 1
	f.mu.Lock()
	defer f.mu.Unlock()
	if st := f.find(r.Tag); st != nil {
		n += int(st.kept)
	}
	return n
}

// settle carries out one settlement. An Ack is only noted, for flush.
func (f *feed) settle(v *driver.Settlement) {
	s := f.session
	dead := v.Verb == driver.Dead || (v.Verb == driver.Keep || v.Verb == driver.Retry) && s.last(f, v)
	f.mu.Lock()
	st := f.find(v.Tag)
	if st == nil {
		f.mu.Unlock()
		v.Outcome = driver.Lost
		return
	}
	if v.Verb == driver.Dead && s.request.DeadLetter == nil {
		f.mu.Unlock()
		v.Outcome, v.OutcomeErr = driver.Failed, invalid("rabbitmq: the subscription has no native dead letter")
		return
	}
	switch {
	case dead:
	case v.Verb == driver.Keep:
		st.kept++
		f.mu.Unlock()
		return
	case v.Verb == driver.Ack:
		st.settled = true
		f.acks = append(f.acks, v.Tag)
		f.mu.Unlock()
		return
	case v.Verb == driver.Return && f.exclusive && s.draining.Load():
		f.mu.Unlock() // goes back when the channel closes; now it would only come here again
		return
	}
	f.mu.Unlock()
	f.flush() // in the order of the batch
	left, err := f.leave(v.Tag, func() error {
		switch {
		case dead:
			return f.ch.Reject(v.Tag, false)
		case v.Verb == driver.Retry:
			return f.ch.Reject(v.Tag, true) // counts on every version
		default:
			return f.ch.Nack(v.Tag, false, true)
		}
	})
	if !left || err != nil || dead && v.Verb == driver.Keep {
		v.Outcome = driver.Lost // the channel is gone, and the tag with it; or the engine lets go of a dead one
	}
}

// flush sends the acknowledgements that were noted: one for all up to a tag beneath which
// everything is settled, and one each for the others.
func (f *feed) flush() {
	f.mu.Lock()
	acks := f.acks
	low := f.advance()
	f.acks = f.acks[:0]
	f.mu.Unlock()
	var highest uint64
	for _, tag := range acks {
		if tag <= low {
			highest = max(highest, tag)
		}
	}
	if highest > 0 {
		_ = f.ch.Ack(highest, true)
	}
	for _, tag := range acks {
		if tag > low {
			_ = f.ch.Ack(tag, false)
		}
	}
}

// delay publishes copies that come back later, and lets go of the sources of those that
// are confirmed.
func (s *session) delay(ctx context.Context, list []*driver.Settlement) {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	var copies []delayed
	live := list[:0]
	for _, v := range list {
		f := v.Token.(*feed) //nolint:forcetypeassert // it was looked at
		if !f.holds(v.Tag) {
			v.Outcome = driver.Lost
			continue
		}
		live = append(live, v)
		copies = append(copies, delayed{f.again(v.Receipt), f.queue, v.Delay})
	}
	failures, err := driver.Within(ctx, s.conn.calls, func() ([]error, error) { return s.conn.publishLater(ctx, copies), nil }, nil)
	for i, v := range live {
		failure := err
		if err == nil {
			failure = failures[i]
		}
		if failure != nil {
			v.Outcome, v.OutcomeErr = driver.Again, driver.Wrap(driver.CodeUnavailable, "rabbitmq: copy for a delayed retry", failure)
			continue
		}
		f := v.Token.(*feed) //nolint:forcetypeassert // it was looked at
		_, _ = f.leave(v.Tag, func() error { return f.ch.Ack(v.Tag, false) })
	}
}

// copyTimeout bounds how long acknowledgements wait for the copies of one batch.
const copyTimeout = 5 * time.Second

// A delayed message comes back to a queue.
type delayed struct {
	message *amqp.Publishing
	queue   string
	after   time.Duration
}

// A copier publishes the delayed messages of all sessions of a connection.
type copier struct {
	room chan struct{} // a place for each message that may be unconfirmed

	mu     sync.Mutex
	sender *sender // opened at the first need
}

// publishLater publishes delayed messages, and says of each why it failed. It returns when
// all have their fates; ctx bounds only how long they wait to be written.
func (c *conn) publishLater(ctx context.Context, list []delayed) []error {
	failures := make([]error, len(list))
	var wait sync.WaitGroup
	for i, m := range list {
		wait.Add(1)
		c.copier.room <- struct{}{}
		told := func(_ int, f driver.Fate, err error) {
			if f != driver.Stored {
				failures[i] = err
			}
			<-c.copier.room
			wait.Done()
		}
		if err := c.post(ctx, m, told); err != nil {
			told(0, driver.Aborted, err)
		}
	}
	wait.Wait()
	return failures
}

// post publishes a delayed message, unless the broker takes none.
func (c *conn) post(ctx context.Context, m delayed, fate func(int, driver.Fate, error)) error {
	select {
	case <-*c.clear.Load():
	default:
		return driver.Errorf(driver.CodeUnavailable, "rabbitmq: the broker blocks publishers, and with them delayed retries")
	}
	to, err := c.delayQueue(ctx, m.queue, "", m.queue, m.after)
	if err != nil {
		return err
	}
	c.copier.mu.Lock()
	defer c.copier.mu.Unlock()
	s := c.copier.sender
	if s == nil || s.Err() != nil {
		if s, err = c.sender(ctx, "", &layout{mandatory: true}); err != nil {
			return err
		}
		c.copier.sender = s
	}
	if _, err := s.turn(ctx); err != nil {
		return err
	}
	s.publish(context.Background(), []parcel{{copy: m.message, to: to, fate: fate}})
	return nil
}

// again is a delivery as a message that remembers its attempts.
func (f *feed) again(r *driver.Receipt) *amqp.Publishing {
	raw, _ := r.Raw.(*amqp.Delivery)
	headers := amqp.Table{}
	for name, value := range raw.Headers {
		if !passing[name] {
			headers[name] = value
		}
	}
	if dead, ok := buried(raw.Headers); ok { // the copy does not have it from the broker
		maps.DeleteFunc(headers, func(name string, _ any) bool { return driver.TellsOfDeath(name) })
		for name, value := range dead.headers() {
			headers[name] = value
		}
	}
	headers[headerFailed] = int64(f.attempts(r))
	return &amqp.Publishing{
		Headers: headers, ContentType: raw.ContentType, ContentEncoding: raw.ContentEncoding, DeliveryMode: amqp.Persistent,
		Priority: raw.Priority, CorrelationId: raw.CorrelationId, ReplyTo: raw.ReplyTo, MessageId: raw.MessageId,
		Timestamp: raw.Timestamp, Type: raw.Type, AppId: raw.AppId, Body: raw.Body,
	}
}
