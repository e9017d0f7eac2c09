package pubsub

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A recall is a Revocation with a grace, while something of it is in flight.
type recall struct {
	session *session
	left    int // in flight
	release func()
	timer   *time.Timer
	cause   error
}

// takenBack is the cause for handlers of what a broker took back.
func takenBack(cause error) error {
	switch {
	case cause == nil:
		return ErrTakenBack
	case errors.Is(cause, ErrLeaseLost), errors.Is(cause, ErrTakenBack):
		return cause
	default:
		return fmt.Errorf("%w: %w", ErrTakenBack, cause)
	}
}

// revoke carries out a Revocation: what it names is lost, or where there is a
// grace, what has not started is returned, and the rest may finish.
func (s *session) revoke(v *driver.Revocation) {
	c := &recall{session: s, cause: takenBack(v.Cause), release: v.Release}
	grace := time.Until(v.Grace)
	for f := s.first; f != nil; {
		next := f.next
		switch {
		case f.receipt.Claim != v.Claim || v.Tags != nil && !slices.Contains(v.Tags, f.receipt.Tag):
		case grace <= 0:
			s.lose(f, c.cause)
		default:
			if f.stage == waiting || f.stage == held {
				s.withdraw(f)
				s.settler.add(f, driver.Return, 0, nil)
			}
			f.recall = c
			c.left++
		}
		f = next
	}
	if c.left == 0 {
		c.done()
		return
	}
	c.timer = time.AfterFunc(grace, c.expire)
	s.recalls = append(slices.DeleteFunc(s.recalls, func(c *recall) bool { return c.left == 0 }), c)
}

// less is called when one flight less is left.
func (c *recall) less() {
	if c.left--; c.left == 0 {
		c.done()
	}
}

// done has the claim released, once the receiver's lock is free.
func (c *recall) done() {
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.release != nil {
		c.session.later = append(c.session.later, c.release)
		c.release = nil
	}
}

// expire loses what is left when the grace has passed. Handlers that still run
// are not waited for: their contexts have ended.
func (c *recall) expire() {
	s := c.session
	s.mu.Lock()
	for f := s.first; f != nil; {
		next := f.next
		if f.recall == c {
			s.lose(f, c.cause)
		}
		f = next
	}
	c.done()
	s.unlock()
}

// dropRecalls releases what a session that has ended still holds.
func (s *session) dropRecalls() {
	for _, c := range s.recalls {
		c.done()
	}
	s.recalls = nil
}
