package kafka

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A claim is a partition while this member owns it. The session's mutex guards it.
type claim struct {
	session   *session
	id        uint64
	topic     string
	partition int32

	place
	window
	pending      []*haul // fetched, not given
	pendingBytes int
	sight        sight         // of the first of them
	given        []*haul       // of which some is undone
	spare        [][]byte      // buffers for fetches to come
	expected     *entry        // the next of those that are to be read again
	again        []*entry      // to be given again, in order; before what is pending
	blocked      bool          // what is pending does not fit into the note
	failed       chan struct{} // closed when it cannot be read on
	failure      error         // why
	ending       bool          // gives nothing more
	gone         bool          // another's now: receipts are void
	idle         chan struct{} // closed when ending and nothing of it is out
	released     bool          // idle is closed

	version   uint64 // counts changes
	committed uint64 // the version that the broker has
}

// claims have numbers of their own in the process, from 1.
var claimNumbers atomic.Uint64

func newClaim(s *session, topic string, partition int32) *claim {
	return &claim{
		session: s, id: claimNumbers.Add(1), topic: topic, partition: partition,
		failed: make(chan struct{}), idle: make(chan struct{}),
	}
}

// name is the claim's in sarama's terms.
func (c *claim) name() map[string][]int32 { return map[string][]int32{c.topic: {c.partition}} }

// readAgain takes a message that the last owner had: it is given if it was left undone.
func (c *claim) readAgain(found *sight) {
	c.missed(found.offset)
	if e := c.expected; e != nil && e.offset == found.offset {
		c.expected = e.next
		e.record, e.written = bytes.Clone(found.record), found.written
		c.again = insert(c.again, e)
	}
}

// missed gives up what was to be read again before an offset: it was compacted away since.
func (c *claim) missed(before int64) {
	for c.expected != nil && c.expected.offset < before {
		gone := c.expected
		c.expected = gone.next
		c.remove(gone)
		c.version++
	}
}

// fail says that a claim cannot be read on. It is called with the lock, once.
func (c *claim) fail(err error) {
	c.failure = err
	close(c.failed)
}

// next takes the message to give next; nil if there is none, or none that fits into
// the note of a commit: then the partition waits for its slowest message.
func (c *claim) next() (*entry, *parts) {
	if c.ending {
		return nil, nil
	}
	for {
		if len(c.again) > 0 {
			e := c.again[0]
			c.again[0] = nil
			c.again = c.again[1:]
			p, _ := split(e.record)
			return e, &p
		}
		found := c.look()
		if found == nil {
			return nil, nil
		}
		if found.offset < c.head {
			c.readAgain(found)
			c.pass()
			continue
		}
		c.missed(found.offset)
		if c.blocked = !c.fits(found.offset, c.session.capacity); c.blocked {
			return nil, nil
		}
		e := c.session.seat()
		e.claim, e.record, e.offset, e.written = c, found.record, found.offset, found.written
		e.haul = c.pending[0]
		e.haul.undone++
		c.pass()
		c.push(e)
		return e, &c.sight.parts
	}
}

// settle carries out one settlement. What changes the note goes to the broker with the
// next commit.
func (c *claim) settle(e *entry, v *driver.Settlement) {
	if c.gone || e.tag != v.Tag || e.done {
		return
	}
	v.Outcome = driver.Accepted
	switch v.Verb {
	case driver.Ack:
		e.done = true
		c.let(e)
		c.remove(e)
		c.version++
		c.leave()
		if c.blocked {
			c.session.wake.Poke()
		}
	case driver.Keep:
		e.attempts++
		c.version++
	case driver.Retry:
		e.attempts++
		c.version++
		c.back(e)
	case driver.Return:
		c.back(e)
		v.Outcome = driver.Confirmed
	default:
		v.Outcome = driver.Failed
		v.OutcomeErr = errorf(driver.CodeUnsupported, "%s is not among what Kafka can do", v.Verb)
	}
}

// back makes a message one to be given again.
func (c *claim) back(e *entry) {
	e.tag = 0
	c.again = insert(c.again, e)
	c.leave()
	c.session.wake.Poke()
}

// leave counts one less with the engine.
func (c *claim) leave() {
	c.out--
	c.idles()
}

// idles tells when a claim that ends has nothing out any more.
func (c *claim) idles() {
	if c.ending && c.out == 0 && !c.released {
		c.released = true
		close(c.idle)
	}
}

// end gives nothing more.
func (c *claim) end() {
	c.ending = true
	c.pending, c.pendingBytes, c.given, c.spare, c.again = nil, 0, nil, nil, nil
	c.sight.record = nil
	c.idles()
}

// abandon ends a claim for good: it is another's now.
func (c *claim) abandon() {
	c.gone = true
	for e := c.first; e != nil; e = e.next {
		e.record, e.haul = nil, nil
	}
}

// revoke takes the claim back: what is out may finish within the grace, then what is
// done is committed, and the claim is gone.
func (c *claim) revoke(grace time.Duration, cause error) {
	s := c.session
	s.mu.Lock()
	closing := c.ending // the session: all of it is settled, and perhaps not committed
	c.end()
	released := make(chan struct{})
	out := c.out
	if closing {
		out = 0
	}
	if out > 0 {
		v := driver.Revocation{Claim: c.id, Cause: cause}
		if grace > 0 {
			v.Grace = time.Now().Add(grace)
			v.Release = func() { close(released) }
		}
		s.revocations = append(s.revocations, v)
		s.wake.Poke()
	}
	s.mu.Unlock()
	if out > 0 && grace > 0 {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-released:
		case <-c.idle:
		case <-s.Done():
		case <-timer.C:
		}
	}
	if grace > 0 {
		_ = s.flush(context.Background(), min(grace, time.Second)) // what is not committed comes again
	}
	s.mu.Lock()
	c.abandon()
	delete(s.claims, c.id)
	s.relist()
	s.mu.Unlock()
}
