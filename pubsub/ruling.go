package pubsub

import (
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A ruling is what becomes of a message after an attempt.
type ruling struct {
	verb      driver.Verb
	delay     time.Duration // of a Retry by the broker, or of a Keep by us
	err       error
	tail      bool // the rest of the key goes back with the Retry or Return
	postponed bool // a Keep that the broker does not hear of: the attempt does not count
}

// rule goes from a handler's error to what becomes of its message. It is called
// without the lock.
func (r *receiver) rule(f *flight, err error) ruling {
	if err == nil {
		return ruling{verb: driver.Ack}
	}
	r.logPanic(f, err)
	err = r.config.ceiling(f.attempt, err)
	verdict, delay := VerdictOf(err)
	switch verdict {
	case VerdictDone:
		return ruling{verb: driver.Ack}
	case VerdictDrop:
		r.log.Warn("waybill: message dropped by its handler", "id", f.id, "attempt", f.attempt, "error", err)
		return ruling{verb: driver.Ack, err: err}
	case VerdictPermanent:
		switch {
		case r.config.poison&poisonNative != 0:
			return ruling{verb: driver.Dead, err: err}
		case r.config.poison&poisonDrop != 0:
			r.log.Error("waybill: message dropped: it failed permanently", "id", f.id, "attempt", f.attempt, "error", err)
			return ruling{verb: driver.Ack, err: err}
		}
		r.log.Error("waybill: a permanent failure came past the dead-letter middleware; list that first. The message is tried again",
			"id", f.id, "attempt", f.attempt, "error", err)
	case VerdictPostpone:
		return r.postpone(f, delay, err)
	}
	if delay < 0 {
		delay = r.config.retry.Delay(f.attempt)
	}
	return r.retry(f, delay, err)
}

// retry chooses who keeps a failed message until it is due: the broker where it
// can, and where it can without breaking the order of the key; else the engine.
func (r *receiver) retry(f *flight, delay time.Duration, err error) ruling {
	keyed := f.lane != nil
	native, here := r.longest(f)
	if native < 0 && here <= 0 {
		return r.overstay(f, ruling{verb: driver.Keep, delay: delay, err: err})
	}
	delay = r.cut(f, delay, native, here)
	switch {
	case !keyed && delay <= native && (delay == 0 || delay >= r.caps.RetryLeast || delay > here):
		return ruling{verb: driver.Retry, delay: delay, err: err}
	case delay <= max(here, 0) || native < 0:
		return ruling{verb: driver.Keep, delay: delay, err: err}
	default:
		return ruling{verb: driver.Retry, delay: delay, err: err, tail: keyed}
	}
}

// longestRetry is how long the broker can keep a failed message.
func (r *receiver) longestRetry(f *flight) time.Duration {
	if !r.caps.RetryInHold {
		return r.caps.RetryDelay
	}
	return max(0, min(r.caps.RetryDelay, r.caps.Hold-time.Since(f.since)))
}

// postpone chooses who keeps a message that was not tried until it is due: the engine
// where it may, for every delay of a broker's own counts as an attempt.
func (r *receiver) postpone(f *flight, delay time.Duration, err error) ruling {
	keyed := f.lane != nil
	native, here := r.longest(f)
	if native < 0 && here <= 0 && r.bounded() {
		return r.overstay(f, ruling{verb: driver.Keep, delay: delay, err: err, postponed: true})
	}
	delay = r.cut(f, delay, native, here)
	switch {
	case here > 0 && delay <= here:
		return ruling{verb: driver.Keep, delay: delay, err: err, postponed: true}
	case native > 0:
		return ruling{verb: driver.Retry, delay: delay, err: err, tail: keyed}
	default: // it comes back at once, and may be held anew
		return ruling{verb: driver.Return, tail: keyed}
	}
}

// overstay is for a message of a key that may not stay, and cannot go back in its place: its
// lease, if it has one, runs out while it waits. To try it again at once would be a loop.
//
// A broker that takes its deliveries back after a while, and keeps no order of what waits
// (RabbitMQ), gives the next message of a key while those before it are still on their way
// back. So it has to take back all that the session has, which comes again in order.
func (r *receiver) overstay(f *flight, v ruling) ruling {
	if r.bounded() {
		r.log.Warn("waybill: a message holds back its key for longer than the broker lets it stay, and cannot go back in its place: "+
			"the broker takes it back, and all that the subscription has with it",
			"hold", r.caps.Hold, "id", f.id, "attempt", f.attempt)
	}
	return v
}

// bounded says whether the broker takes its deliveries back after a while.
func (r *receiver) bounded() bool { return r.caps.Hold > 0 && r.caps.Hold != driver.Unlimited }

// longest is how long the broker can keep this message, and how much is left of its hold
// here. A native that is negative would break its key's order.
func (r *receiver) longest(f *flight) (native, here time.Duration) {
	native = r.longestRetry(f)
	if f.lane != nil && r.caps.OrderedRetry != driver.WithTail {
		native = -1
	}
	return native, r.longestHold() - time.Since(f.since)
}

// cut shortens a delay to the longest that is possible, and says so.
func (r *receiver) cut(f *flight, asked, native, here time.Duration) time.Duration {
	most := max(native, here, 0)
	if asked > most {
		r.log.Warn("waybill: a message comes again earlier than asked for: neither the broker nor a hold lasts that long",
			"asked", asked, "delay", most, "id", f.id)
	}
	return min(asked, most)
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
