package pubsub

import "context"

// A Handler handles one delivery. What it returns is its verdict:
//
//   - nil: done, the message is settled;
//   - an error: try again later (RetryBackoff says when);
//   - RetryAfter(d, err): try again, not before d;
//   - Postpone(d, err): not tried, try not before d, and count no attempt;
//   - Permanent(err): no use trying again, dead-letter it now;
//   - Drop(err): done, but say so in the logs.
//
// A panic is an error. The context ends when the delivery is lost (its cause is
// ErrLeaseLost or ErrTakenBack), when it is held for too long (ErrHandlerTooSlow), or
// when a shutdown's drain timeout has passed; not when the shutdown begins: Draining
// tells that.
//
// Handlers run concurrently, up to the subscription's Concurrency.
type Handler func(ctx context.Context, d *Delivery) error

// A Middleware wraps a handler with another. It is also a SubscriberOption; the
// first listed is outermost. A client's defaults are outside a subscriber's own.
type Middleware func(next Handler) Handler

// A DeadLetterMiddleware is a middleware that takes permanent failures and spent
// messages away, and returns nil only when they are safe elsewhere. It is also
// a SubscriberOption, and tells the subscription what becomes of poison.
type DeadLetterMiddleware struct {
	// Middleware does it.
	Middleware
	// MaxAttempts is after how many attempts it takes a message; zero: only what
	// failed permanently. Opening fails where the broker cannot count attempts.
	MaxAttempts int
	// Publisher is where the messages go; may be nil. Opening fails where it is the topic
	// of the subscription itself, to which they would come back for ever.
	Publisher Publisher
}

// A BatchHandler handles several deliveries at once. It returns a verdict for
// each, in their order; nil means that all are done. A slice of another length
// is a fault of the handler: all of the batch is tried again.
//
// The slice is used again after the handler returned, the deliveries are not. On
// an ordered topic, no two deliveries of a batch have the same key. The
// context ends when all deliveries were lost or held for too long, when middleware has
// ended the contexts of all, or when the drain timeout has passed. What middleware put
// into their contexts it does not have.
type BatchHandler func(ctx context.Context, batch []*Delivery) []error

// A PublishFunc sends a message and calls done once with the outcome, from any
// goroutine, perhaps before it returns. It does not block on the broker. ctx
// bounds the message's waiting.
type PublishFunc func(ctx context.Context, m *Message, done func(error))

// A PublishMiddleware wraps a PublishFunc with another: it sees the message
// before it is sent and the outcome afterwards, on Publish and PublishAsync alike.
// It may change the message, which is its own copy but for the body's
// bytes; it calls next or done, once. It is also a PublisherOption; the first
// listed is outermost.
type PublishMiddleware func(next PublishFunc) PublishFunc

// Publisher publishes messages to a topic. *Topic implements it; code that only
// publishes should take it, so that a test can give a fake.
type Publisher interface {
	// Publish sends messages in order and waits until the broker has confirmed
	// each. See Topic.Publish.
	Publish(ctx context.Context, messages ...*Message) error
	// PublishAsync sends a message and calls done with its outcome. See
	// Topic.PublishAsync.
	PublishAsync(ctx context.Context, m *Message, done func(error))
}

// Subscriber hands deliveries to a handler. *Subscription implements it.
type Subscriber interface {
	// Receive blocks and calls handler for each delivery until ctx ends, then
	// drains. See Subscription.Receive.
	Receive(ctx context.Context, handler Handler) error
}

var (
	_ Publisher  = (*Topic)(nil)
	_ Subscriber = (*Subscription)(nil)
)

// chain wraps a handler in middleware; the first is outermost.
func chain(middleware []Middleware, h Handler) Handler {
	for i := len(middleware) - 1; i >= 0; i-- {
		h = middleware[i](h)
	}
	return h
}
