package middleware

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// The headers that a dead letter has beside its own.
const (
	// HeaderTopic is the topic where the message was.
	HeaderTopic = driver.HeaderDeadTopic
	// HeaderGroup is the group that could not handle it; absent on a queue and on a
	// broadcast.
	HeaderGroup = driver.HeaderDeadGroup
	// HeaderReason is the handler's error, in at most 1,000 bytes of UTF-8.
	HeaderReason = driver.HeaderDeadReason
	// HeaderTime is when it was given up, as of RFC 3339, in UTC.
	HeaderTime = driver.HeaderDeadTime
	// HeaderAttempts is how many attempts had failed.
	HeaderAttempts = driver.HeaderDeadAttempts
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
	// Parking keeps a key together: once a message of a key was dead-lettered, later ones
	// of the same key follow it, without reaching the handler, until Release. It needs an
	// ordered topic to be of use, and has a limit: see Parking. Nil: each message is judged
	// by itself.
	Parking *Parking
}

// errParked is the reason of a dead letter that follows another of its key.
var errParked = errors.New("an earlier message of its key was dead-lettered")

// DeadLetter publishes a message that failed permanently, or too often, to another
// topic, and returns nil when that is confirmed: only then is the message settled at
// its source. If it cannot be published, the message is tried again, so that nothing is
// lost. After a crash in between, the dead letter is published twice. Publish to a topic of
// kind queue: an event topic loses what no group reads yet.
//
// The dead letter has the message's ID, key, body and headers, and the headers of
// this package; if the message was a dead letter before, they replace the earlier ones.
// Bytes of the body that the handler changed in place are as it left them. Where the headers
// make the message too large for the broker, it goes without them.
//
// Middleware outside of it sees success. A nil publisher makes a value that opening
// a subscription refuses, as it does the publisher of its own topic.
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
			err := errParked
			if !policy.Parking.parked(message.Key) {
				if err = next(ctx, d); !policy.gives(d, err) {
					return err
				}
			}
			if lost(ctx) {
				return err
			}
			sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), policy.Timeout)
			defer cancel()
			first, failure := policy.Parking.park(message.Key)
			if failure == nil {
				failure = bury(sending, publisher, &message, d, err)
			}
			if failure == nil {
				return nil
			}
			if first { // it is tried again as what it is
				policy.Parking.Release(message.Key)
			}
			return &undelivered{reason: err, failure: failure}
		}
	}
	return pubsub.DeadLetterMiddleware{Middleware: middleware, MaxAttempts: policy.MaxAttempts, Publisher: publisher}
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

// bury publishes a message as a dead letter; bare, if it would be too large otherwise: it
// would fail in the same way for ever, and hold up its key.
func bury(ctx context.Context, publisher pubsub.Publisher, m *pubsub.Message, d *pubsub.Delivery, reason error) error {
	bare := *m
	bare.Headers = maps.Clone(m.Headers)
	(*driver.Message)(m).MarkDead(d.Topic, d.Group, d.Attempt, reason)
	err := publisher.Publish(ctx, m)
	if pubsub.CodeOf(err) != pubsub.CodeTooLarge {
		return err
	}
	return publisher.Publish(ctx, &bare)
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
