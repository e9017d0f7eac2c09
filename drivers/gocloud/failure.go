package gocloud

import (
	"context"
	"errors"
	"regexp"

	"gocloud.dev/gcerrors"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// codes of gocloud.dev's, both ways. What it calls Unknown may heal.
var codes = map[gcerrors.ErrorCode]driver.Code{
	gcerrors.NotFound:           driver.CodeNotFound,
	gcerrors.AlreadyExists:      driver.CodeConflict,
	gcerrors.InvalidArgument:    driver.CodeInvalid,
	gcerrors.Internal:           driver.CodeInternal,
	gcerrors.Unimplemented:      driver.CodeUnsupported,
	gcerrors.FailedPrecondition: driver.CodeUnavailable,
	gcerrors.PermissionDenied:   driver.CodePermissionDenied,
	gcerrors.ResourceExhausted:  driver.CodeExhausted,
	gcerrors.Canceled:           driver.CodeCanceled,
	gcerrors.DeadlineExceeded:   driver.CodeUnavailable,
	gcerrors.Unknown:            driver.CodeUnavailable,
}

// fail gives an error of gocloud.dev its code, and takes passwords out of its text:
// some of its drivers repeat the URL that they were given.
func fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	var coded driver.Coder
	if errors.As(err, &coded) {
		return err
	}
	code, known := codes[gcerrors.Code(err)]
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = driver.CodeCanceled
	case !known:
		code = driver.CodeUnavailable
	}
	return driver.Wrap(code, "gocloud: "+doing, &discreet{err})
}

// discreet is an error whose text may hold a URL with a password.
type discreet struct{ err error }

var userinfo = regexp.MustCompile(`://[^\s"']*@`)

func (e *discreet) Error() string { return userinfo.ReplaceAllString(e.err.Error(), "://***@") }

// Unwrap returns the cause.
func (e *discreet) Unwrap() error { return e.err }
