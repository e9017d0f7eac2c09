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

// Drop says that a message is of no use: it is settled as if handled, and the
// reason is logged. Drop(nil) is nil.
func Drop(err error) error {
	if err == nil {
		return nil
	}
	return &verdictError{verdict: VerdictDrop, err: err}
}

// VerdictOf reads a handler's error as the engine does: the outermost verdict in
// its chain, else VerdictRetry; nil is VerdictDone. delay is RetryAfter's, or
// negative where the error leaves the delay to the subscription.
func VerdictOf(err error) (v Verdict, delay time.Duration) {
	if err == nil {
		return VerdictDone, -1
	}
	var e *verdictError
	if !errors.As(err, &e) {
		return VerdictRetry, -1
	}
	if e.verdict == VerdictRetry {
		return VerdictRetry, e.delay
	}
	return e.verdict, -1
}
