package rabbitmq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

var errClosed error = driver.Errorf(driver.CodeClosed, "rabbitmq: closed")

func invalid(format string, args ...any) error {
	return driver.Errorf(driver.CodeInvalid, format, args...)
}

// classify gives the client's errors their codes. The server's texts name the
// object and the argument, and never a credential.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	var known driver.Coder
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return driver.Wrap(driver.CodeCanceled, doing, err)
	}
	code := driver.CodeUnavailable
	var reply *amqp.Error
	if errors.As(err, &reply) {
		code = replyCode(reply)
	}
	return driver.Wrap(code, doing, err)
}

// replyCodes are what AMQP's reply codes mean where they say it all.
var replyCodes = map[int]driver.Code{
	amqp.AccessRefused: driver.CodePermissionDenied, amqp.NotFound: driver.CodeNotFound, amqp.ResourceLocked: driver.CodeConflict,
	amqp.ResourceError: driver.CodeExhausted, amqp.NotImplemented: driver.CodeUnsupported,
	amqp.SyntaxError: driver.CodeInternal, amqp.CommandInvalid: driver.CodeInternal, amqp.UnexpectedFrame: driver.CodeInternal,
}

// replyCode is what the server's reply means.
func replyCode(e *amqp.Error) driver.Code {
	code, known := replyCodes[e.Code]
	refused, failed := e.Code == amqp.NotAllowed, e.Code == amqp.PreconditionFailed
	says := func(text string) bool { return strings.Contains(e.Reason, text) }
	switch {
	case known:
		return code
	case failed && says("message size"):
		return driver.CodeTooLarge
	case failed && (says("inequivalent") || says("invalid")):
		return driver.CodeConflict
	case refused && says("not found"):
		return driver.CodeNotFound
	case refused && says("limit"):
		return driver.CodeExhausted
	case refused && !says("down"):
		return driver.CodePermissionDenied
	default: // connection forced, an acknowledgement that timed out, and the client's own for a broken socket
		return driver.CodeUnavailable
	}
}

// dialFailure classifies what went wrong before a connection was usable.
func dialFailure(address string, secure bool, err error) error {
	var reply *amqp.Error
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	where := "rabbitmq: connect to " + address
	switch {
	case errors.As(err, &reply) && reply.Code == amqp.AccessRefused:
		return driver.Wrap(driver.CodeUnauthenticated, where+": check user name and password, or the certificate", err)
	case errors.As(err, &dns) && dns.IsNotFound:
		return driver.Wrap(driver.CodeNotFound, where, err)
	case errors.As(err, &record):
		return driver.Wrap(driver.CodeInvalid, where+": this port does not speak TLS; use the TLS port, usually 5671, or the scheme rabbitmq", err)
	case errors.As(err, &verification), errors.As(err, &authority):
		return driver.Wrap(driver.CodeUnauthenticated, where+": its certificate is not trusted", err)
	case !secure && (errors.Is(err, io.EOF) || errors.As(err, &reply) && !reply.Server):
		return driver.Wrap(driver.CodeUnavailable, where+": no AMQP broker answers there, or one that wants TLS", err)
	default:
		return classify(where, err)
	}
}
