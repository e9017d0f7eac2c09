package pubsub

import (
	"errors"
	"fmt"
	"time"
)

// Verdict is what a handler's error asks for.
type Verdict uint8

const (
	// VerdictDone: handled.
	VerdictDone Verdict = iota
	// VerdictRetry: try again.
	VerdictRetry
	// VerdictPermanent: no use trying again.
	VerdictPermanent
	// VerdictDrop: done, and logged.
	VerdictDrop
	// VerdictPostpone: not now, and not an attempt.
	VerdictPostpone
)

// String returns the verdict in lower case.
func (v Verdict) String() string {
	switch v {
	case VerdictDone:
		return "done"
	case VerdictPermanent:
		return "permanent"
	case VerdictDrop:
		return "drop"
	case VerdictPostpone:
		return "postpone"
	default:
		return "retry"
	}
}

// verdictError carries a verdict beside the error that is its reason.
type verdictError struct {
	verdict Verdict
	delay   time.Duration
	err     error
}

func (e *verdictError) Error() string {
	switch e.verdict {
	case VerdictPermanent:
		return "permanent: " + e.err.Error()
	case VerdictDrop:
		return "drop: " + e.err.Error()
	case VerdictPostpone:
		return fmt.Sprintf("postponed by %v: %v", e.delay, e.err)
	default:
		return fmt.Sprintf("retry after %v: %v", e.delay, e.err)
	}
}

func (e *verdictError) Unwrap() error { return e.err }

func (e *verdictError) ErrorCode() Code { return CodeFailed }

// Permanent says that a message fails for good: it is dead-lettered now, without
// further attempts. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &verdictError{verdict: VerdictPermanent, err: err}
}

// RetryAfter says that a message is to be tried again, not before d has passed.
// Where the broker has no such delay, the message is held in the process: after
// a crash it may come at once. A negative d is zero. RetryAfter(d, nil) is a
// retry too, with a reason of its own.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		err = errors.New("retry asked for")
	}
	return &verdictError{verdict: VerdictRetry, delay: max(d, 0), err: err}
}

// Postpone says that a message was not tried: it comes again, not before d has passed,
// and Delivery.Attempt stays as it is. It is for what keeps any message from being
// handled, such as a limit of the rate or a service that is known to be down, so that
// waiting does not use up attempts. The message is held in the process, and counts as in
// flight: enough of them pause intake. What waits when the subscription drains goes back
// to the broker as if it had never started. A d beyond MaxHandling, or beyond what the broker
// lets a delivery be held, is left to the broker where it can delay a retry, and that
// counts there as an attempt; else it is cut, and a warning logged. On RabbitMQ's ordered
// topics it stays, until the broker takes it back. A negative d is zero.
// Postpone(d, nil) has a reason of its own.
func Postpone(d time.Duration, err error) error {
	if err == nil {
		err = errors.New("not now")
	}
	return &verdictError{verdict: VerdictPostpone, delay: max(d, 0), err: err}
}

// Drop says that a message is of no use: it is settled as if handled, and the
// reason is logged. Drop(nil) is nil.
func Drop(err error) error {
	if err == nil {
		return nil
	}
	return &verdictError{verdict: VerdictDrop, err: err}
}

// VerdictOf reads a handler's error as the engine does: the outermost verdict in
// its chain, else VerdictRetry; nil is VerdictDone. delay is RetryAfter's or Postpone's, or
// negative where the error leaves the delay to the subscription.
func VerdictOf(err error) (v Verdict, delay time.Duration) {
	if err == nil {
		return VerdictDone, -1
	}
	var e *verdictError
	if !errors.As(err, &e) {
		return VerdictRetry, -1
	}
	if e.verdict == VerdictRetry || e.verdict == VerdictPostpone {
		return e.verdict, e.delay
	}
	return e.verdict, -1
}
