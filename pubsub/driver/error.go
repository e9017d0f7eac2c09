package driver

import (
	"context"
	"errors"
	"fmt"
)

// Code says what kind of error it is and so what to do about it. The set is closed.
type Code uint8

const (
	// CodeInternal: a fault of the library or driver, or an error nobody classified.
	CodeInternal Code = iota
	// CodeInvalid: what was asked makes no sense or contradicts itself. Change the call.
	CodeInvalid
	// CodeUnsupported: this broker cannot do that, and it cannot be emulated soundly.
	CodeUnsupported
	// CodeNotFound: a topic, queue, group or host does not exist.
	CodeNotFound
	// CodeConflict: something exists and differs from what was asked.
	CodeConflict
	// CodeUnauthenticated: credentials are missing or wrong.
	CodeUnauthenticated
	// CodePermissionDenied: the credentials do not allow it.
	CodePermissionDenied
	// CodeTooLarge: a message or part of it is over a limit.
	CodeTooLarge
	// CodeExhausted: a quota or a bound was reached. Wait and try again.
	CodeExhausted
	// CodeUnavailable: the broker cannot be reached for now. Wait and try again.
	CodeUnavailable
	// CodeUnconfirmed: the message is perhaps stored. Publishing it again may repeat it.
	CodeUnconfirmed
	// CodeCanceled: a context ended before the call was done.
	CodeCanceled
	// CodeClosed: used after Close.
	CodeClosed
	// CodeAborted: not done because of another's failure, such as an earlier
	// message of the same key.
	CodeAborted
	// CodeLost: a lease was lost or a delivery taken back.
	CodeLost
	// CodeFailed: a user's handler, codec or callback failed.
	CodeFailed
)

var codeNames = [...]string{
	"internal", "invalid", "unsupported", "not found", "conflict", "unauthenticated",
	"permission denied", "too large", "exhausted", "unavailable", "unconfirmed",
	"canceled", "closed", "aborted", "lost", "failed",
}

// String returns the code in words.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return codeNames[CodeInternal]
}

// Error is an error with a code. Its text says what was wrong and, where
// possible, what to do next.
type Error struct {
	Code Code
	// Text may be empty if Err says enough.
	Text string
	// Err is the cause; may be nil.
	Err error
}

// Errorf makes an Error without a cause; the format is as fmt.Sprintf's. A cause goes
// with Wrap.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Wrap gives err a code and a text; nil stays nil.
func Wrap(code Code, text string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Text: text, Err: err}
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil && e.Text == "":
		return e.Code.String()
	case e.Err == nil:
		return e.Text
	case e.Text == "":
		return e.Err.Error()
	default:
		return e.Text + ": " + e.Err.Error()
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Coder is an error that knows its code.
type Coder interface {
	error
	// ErrorCode returns the error's code.
	ErrorCode() Code
}

// ErrorCode returns e.Code.
func (e *Error) ErrorCode() Code { return e.Code }

// CodeOf finds the code of an error: the outermost in its chain that has one,
// CodeCanceled for a context's error, else CodeInternal.
func CodeOf(err error) Code {
	var c Coder
	switch {
	case errors.As(err, &c):
		return c.ErrorCode()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return CodeCanceled
	default:
		return CodeInternal
	}
}

// Heals says whether waiting may heal an error with this code: unavailability,
// an exhausted quota, and what nobody classified. CodeCanceled does too: where the
// caller's own context has not ended, it was a time limit beneath, and those of the
// standard library's net look like a context's.
func (c Code) Heals() bool {
	switch c {
	case CodeUnavailable, CodeExhausted, CodeInternal, CodeUnconfirmed, CodeClosed, CodeAborted, CodeCanceled:
		return true
	default:
		return false
	}
}

// ErrLeaseLost is the Cause of a Revocation of deliveries whose leases ended.
var ErrLeaseLost error = &Error{Code: CodeLost, Text: "lease lost"}

// ErrQuiesced is what Receive returns after Quiesce, once, when nothing is left to give.
var ErrQuiesced error = &Error{Code: CodeClosed, Text: "session is quiesced"}
