package middleware

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-go/waybill/pubsub"
)

// The headers that a dead letter has beside its own.
const (
	// HeaderTopic is the topic where the message was.
	HeaderTopic = "dead-letter-topic"
	// HeaderGroup is the group that could not handle it; absent on a queue and on a
	// broadcast.
	HeaderGroup = "dead-letter-group"
	// HeaderReason is the handler's error, in at most 1,024 bytes of UTF-8.
	HeaderReason = "dead-letter-reason"
	// HeaderTime is when it was given up, as of RFC 3339, in UTC.
	HeaderTime = "dead-letter-time"
	// HeaderAttempts is how many attempts had failed.
	HeaderAttempts = "dead-letter-attempts"
)

// DeadLetterPolicy is when and how DeadLetter gives a message up. Its zero value is
// useful.
type DeadLetterPolicy struct {
	// MaxAttempts is after how many failed attempts a message is given up; zero:
	// only when it failed permanently. It needs a broker that counts attempts.
	MaxAttempts int
	// Timeout bounds the write of the dead letter, which goes on when the handler's
	// context ends in a shutdown; default 10 s.
	Timeout time.Duration
}

const reasonBytes = 1024

// DeadLetter publishes a message that failed permanently, or too often, to another
// topic, and returns nil when that is confirmed: the message is settled at its
// source after that alone. If it cannot be published, the message is tried again,
// so that nothing is lost. A handler's write of the dead letter may happen twice,
// as any delivery may.
//
// The dead letter has the message's ID, key, body and headers, and the headers of
// this package. If it was a dead letter before, the new ones take their place.
//
// Middleware outside of it sees success. A nil publisher makes a value that opening
// a subscription refuses.
func DeadLetter(publisher pubsub.Publisher, policy DeadLetterPolicy) pubsub.DeadLetterMiddleware {
	if publisher == nil {
		return pubsub.DeadLetterMiddleware{}
	}
	if policy.Timeout <= 0 {
		policy.Timeout = 10 * time.Second
	}
	middleware := func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			// The handler may change what it was given.
			message := d.Message
			message.Headers = maps.Clone(d.Headers)
			err := next(ctx, d)
			if !policy.gives(d, err) || lost(ctx) {
				return err
			}
			letter(&message, d, err)
			sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), policy.Timeout)
			defer cancel()
			if failure := publisher.Publish(sending, &message); failure != nil {
				return &undelivered{reason: err, failure: failure}
			}
			return nil
		}
	}
	return pubsub.DeadLetterMiddleware{Middleware: middleware, MaxAttempts: policy.MaxAttempts}
}

// gives says whether a message is given up.
func (p DeadLetterPolicy) gives(d *pubsub.Delivery, err error) bool {
	switch verdict, _ := pubsub.VerdictOf(err); verdict {
	case pubsub.VerdictPermanent:
		return true
	case pubsub.VerdictRetry:
		return p.MaxAttempts > 0 && d.Attempt >= p.MaxAttempts
	default:
		return false
	}
}

// lost says whether the message is somebody else's by now, and so the decision.
func lost(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, pubsub.ErrLeaseLost) || errors.Is(cause, pubsub.ErrTakenBack)
}

func letter(m *pubsub.Message, d *pubsub.Delivery, reason error) {
	m.Delay = 0
	m.SetHeader(HeaderTopic, d.Topic)
	delete(m.Headers, HeaderGroup)
	if d.Group != "" {
		m.SetHeader(HeaderGroup, d.Group)
	}
	m.SetHeader(HeaderReason, bounded(strings.TrimPrefix(reason.Error(), "permanent: ")))
	m.SetHeader(HeaderTime, time.Now().UTC().Format(time.RFC3339))
	m.SetHeader(HeaderAttempts, strconv.Itoa(d.Attempt))
}

// bounded makes a text fit for a header on every broker.
func bounded(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= reasonBytes {
		return text
	}
	cut := reasonBytes
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// undelivered is a failure that could not be dead-lettered. It does not unwrap to
// the reason, whose verdict would end the message.
type undelivered struct{ reason, failure error }

func (e *undelivered) Error() string {
	return fmt.Sprintf("dead letter not published: %v; it was to be one because: %v", e.failure, e.reason)
}

func (e *undelivered) Unwrap() error { return e.failure }

// ErrorCode is that of the publisher's error.
func (e *undelivered) ErrorCode() pubsub.Code { return pubsub.CodeOf(e.failure) }
