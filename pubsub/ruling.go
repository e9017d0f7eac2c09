package pubsub

import (
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A ruling is what becomes of a message after an attempt.
type ruling struct {
	verb  driver.Verb
	delay time.Duration // of a Retry by the broker, or of a Keep by us
	err   error
	tail  bool // the rest of the key goes back with the Retry
}

// rule goes from a handler's error to what becomes of its message. It is called
// without the lock.
func (r *receiver) rule(f *flight, err error) ruling {
	if err == nil {
		return ruling{verb: driver.Ack}
	}
	d := f.delivery
	r.logPanic(d, err)
	err = r.config.ceiling(d, err)
	verdict, delay := VerdictOf(err)
	switch verdict {
	case VerdictDone:
		return ruling{verb: driver.Ack}
	case VerdictDrop:
		r.log.Warn("waybill: message dropped by its handler", "id", d.ID, "attempt", d.Attempt, "error", err)
		return ruling{verb: driver.Ack, err: err}
	case VerdictPermanent:
		switch {
		case r.config.poison&poisonNative != 0:
			return ruling{verb: driver.Dead, err: err}
		case r.config.poison&poisonDrop != 0:
			r.log.Error("waybill: message dropped: it failed permanently", "id", d.ID, "attempt", d.Attempt, "error", err)
			return ruling{verb: driver.Ack, err: err}
		}
		r.log.Error("waybill: a permanent failure came past the dead-letter middleware; list that first. The message is tried again",
			"id", d.ID, "attempt", d.Attempt, "error", err)
	}
	if delay < 0 {
		delay = r.config.retry.Delay(d.Attempt)
	}
	return r.retry(f, delay, err)
}

// retry chooses who keeps a failed message until it is due: the broker where it
// can, and where it can without breaking the order of the key; else the engine.
func (r *receiver) retry(f *flight, delay time.Duration, err error) ruling {
	keyed := f.lane != nil
	native := r.caps.RetryDelay
	if keyed && r.caps.OrderedRetry != driver.WithTail {
		native = -1
	}
	here := r.longestHold() - time.Since(f.since)
	if most := max(native, here, 0); delay > most {
		r.log.Warn("waybill: a retry comes earlier than asked for: neither the broker nor a hold lasts that long",
			"asked", delay, "delay", most, "id", f.delivery.ID)
		delay = most
	}
	switch {
	case !keyed && delay <= native:
		return ruling{verb: driver.Retry, delay: delay, err: err}
	case delay <= max(here, 0) || native < 0:
		return ruling{verb: driver.Keep, delay: delay, err: err}
	default:
		return ruling{verb: driver.Retry, delay: delay, err: err, tail: keyed}
	}
}

// longestHold is how long a message may stay here unsettled.
func (r *receiver) longestHold() time.Duration {
	if r.caps.Hold == 0 {
		return min(r.config.maxHandling, time.Minute)
	}
	return min(r.config.maxHandling, r.caps.Hold)
}

// longestHandling is when a handler is told that it is too slow.
func (r *receiver) longestHandling() time.Duration {
	if r.caps.Hold == 0 {
		return r.config.maxHandling
	}
	return min(r.config.maxHandling, r.caps.Hold)
}
