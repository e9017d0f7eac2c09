package pubsub

import (
	"fmt"
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Code says what kind of error it is and so what to do about it. The set is closed.
type Code = driver.Code

// The codes. driver.Code documents each.
const (
	CodeInternal         = driver.CodeInternal
	CodeInvalid          = driver.CodeInvalid
	CodeUnsupported      = driver.CodeUnsupported
	CodeNotFound         = driver.CodeNotFound
	CodeConflict         = driver.CodeConflict
	CodeUnauthenticated  = driver.CodeUnauthenticated
	CodePermissionDenied = driver.CodePermissionDenied
	CodeTooLarge         = driver.CodeTooLarge
	CodeExhausted        = driver.CodeExhausted
	CodeUnavailable      = driver.CodeUnavailable
	CodeUnconfirmed      = driver.CodeUnconfirmed
	CodeCanceled         = driver.CodeCanceled
	CodeClosed           = driver.CodeClosed
	CodeAborted          = driver.CodeAborted
	CodeLost             = driver.CodeLost
	CodeFailed           = driver.CodeFailed
)

// CodeOf returns the code of an error from this library, CodeCanceled for a
// context's error, and CodeInternal for anything else.
func CodeOf(err error) Code { return driver.CodeOf(err) }

// Sentinels, for errors.Is.
var (
	// ErrClosed: used after Close. The error says what is closed: the client, a publisher or
	// a subscription.
	ErrClosed error = driver.Errorf(CodeClosed, "closed")
	// ErrReceiving: a second Receive on a Subscription while one runs. Open another
	// Subscription for another member of the group, or raise Concurrency.
	ErrReceiving error = driver.Errorf(CodeInvalid, "already receiving: one Receive at a time; open another subscription, or raise Concurrency")
	// ErrUnconfirmed: the message is perhaps stored.
	ErrUnconfirmed error = driver.Errorf(CodeUnconfirmed, "not confirmed, perhaps stored")
	// ErrKeyFailed: not sent, because an earlier message with the same key failed
	// for good and order is promised. Publish again when the earlier one is dealt with.
	ErrKeyFailed error = driver.Errorf(CodeAborted, "an earlier message with the same key failed: deal with that one, then publish again in order")
	// ErrLeaseLost is the cause of a handler's context when its message's lease
	// ended: another member may be handling the message now.
	ErrLeaseLost = driver.ErrLeaseLost
	// ErrTakenBack is the cause of a handler's context when the broker took the
	// message back: a lost connection, a rebalance.
	ErrTakenBack error = driver.Errorf(CodeLost, "delivery taken back by the broker")
	// ErrHandlerTooSlow is the cause of a handler's context when it ran longer than
	// MaxHandling, or than the broker lets a delivery be held.
	ErrHandlerTooSlow error = driver.Errorf(CodeLost, "handler held its message for longer than MaxHandling or the broker allows")
	// ErrDrainTimeout is the cause of a handler's context when it still ran at the
	// end of the drain timeout, and what Receive returns if it did not stop then.
	ErrDrainTimeout error = driver.Errorf(CodeCanceled,
		"drain timeout passed: a handler did not finish; it should watch its context, or DrainTimeout be longer")
)

// What ErrClosed is told as. They are made once: nothing is allocated where they are returned.
var (
	errClientClosed       error = &closedError{"the client is closed: open another with Open or New, or close it later"}
	errTopicClosed        error = &closedError{"the publisher is closed, by its own Close or the client's: open another, or close it later"}
	errSubscriptionClosed error = &closedError{"the subscription is closed, by its own Close or the client's: open another, or close it later"}
)

// closedError is ErrClosed, and says what is closed.
type closedError struct{ text string }

func (e *closedError) Error() string { return e.text }

// Unwrap returns ErrClosed.
func (e *closedError) Unwrap() error { return ErrClosed }

// ErrorCode returns CodeClosed.
func (e *closedError) ErrorCode() Code { return CodeClosed }

// Error is an error of the library: what was done to what, and why it failed.
type Error struct {
	// Code says what kind of error it is.
	Code Code
	// Op is what was done: "open", "publish", "receive", ...
	Op string
	// Target is what it was done to: a topic, or topic/group; may be empty.
	Target string
	// Err is the cause, with the driver's own error in its chain.
	Err error
}

func (e *Error) Error() string {
	s := e.Op
	if e.Target != "" {
		s += " " + e.Target
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode returns e.Code.
func (e *Error) ErrorCode() Code { return e.Code }

// fail wraps a cause in an Error with the cause's code.
func fail(op, target string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: CodeOf(err), Op: op, Target: target, Err: err}
}

// invalid makes a cause that is the caller's fault.
func invalid(format string, args ...any) error {
	return driver.Errorf(CodeInvalid, format, args...)
}

// PublishError is what Publish returns for several messages of which some
// failed. The others are stored.
type PublishError struct {
	// Failed are the messages that failed, in the order of the call.
	Failed []FailedMessage
	// Sent is how many messages the call had.
	Sent int
}

// FailedMessage is one message that was not confirmed.
type FailedMessage struct {
	// Index is its place in the call.
	Index int
	// Err is why.
	Err error
}

func (e *PublishError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d messages failed", len(e.Failed), e.Sent)
	for i, f := range e.Failed {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more", len(e.Failed)-i)
			break
		}
		fmt.Fprintf(&b, "; message %d: %v", f.Index, f.Err)
	}
	return b.String()
}

// Unwrap returns the errors of the messages, so that errors.Is and errors.As
// find each of them.
func (e *PublishError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f.Err
	}
	return errs
}

// ErrorCode returns the code that all failures share, CodeFailed if they differ.
func (e *PublishError) ErrorCode() Code {
	var code Code
	for i, f := range e.Failed {
		switch c := CodeOf(f.Err); {
		case i == 0:
			code = c
		case c != code:
			return CodeFailed
		}
	}
	return code
}

// PanicError is a panic of a handler, turned into an error.
type PanicError struct {
	// Value is what was passed to panic.
	Value any
	// Stack is the goroutine's, as of debug.Stack.
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ErrorCode returns CodeFailed.
func (e *PanicError) ErrorCode() Code { return CodeFailed }

// unconfirmed is the error of a message that is perhaps stored; the cause is why
// that is not known.
func unconfirmed(cause error) error { return &unconfirmedError{cause} }

type unconfirmedError struct{ cause error }

func (e *unconfirmedError) Error() string {
	if e.cause == nil {
		return ErrUnconfirmed.Error()
	}
	return ErrUnconfirmed.Error() + ": " + e.cause.Error()
}

func (e *unconfirmedError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrUnconfirmed}
	}
	return []error{ErrUnconfirmed, e.cause}
}

func (e *unconfirmedError) ErrorCode() Code { return CodeUnconfirmed }
