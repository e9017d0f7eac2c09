package pubsub

import (
	"log/slog"
	"slices"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Options are sealed by role: one for a publisher does not compile on a
// subscriber. What belongs to the topic itself is a TopicOption, which both take,
// so that both sides say the same.

// A ClientOption configures a Client.
type ClientOption interface{ applyClient(c *clientConfig) error }

// A PublisherOption configures a Topic.
type PublisherOption interface {
	applyPublisher(c *publisherConfig) error
}

// A SubscriberOption configures a Subscription.
type SubscriberOption interface {
	applySubscriber(c *subscriberConfig) error
}

// A TopicOption says what a topic is. Publishers and subscribers take it alike.
type TopicOption interface {
	PublisherOption
	SubscriberOption
}

type (
	clientOption     func(*clientConfig) error
	publisherOption  func(*publisherConfig) error
	subscriberOption func(*subscriberConfig) error
	topicOption      func(*topicConfig) error
)

func (o clientOption) applyClient(c *clientConfig) error             { return o(c) }
func (o publisherOption) applyPublisher(c *publisherConfig) error    { return o(c) }
func (o subscriberOption) applySubscriber(c *subscriberConfig) error { return o(c) }
func (o topicOption) applyPublisher(c *publisherConfig) error        { return o(&c.topicConfig) }
func (o topicOption) applySubscriber(c *subscriberConfig) error      { return o(&c.topicConfig) }

func (m Middleware) applySubscriber(c *subscriberConfig) error {
	if m == nil {
		return invalid("middleware is nil")
	}
	c.middleware = append(c.middleware, m)
	return nil
}

func (m DeadLetterMiddleware) applySubscriber(c *subscriberConfig) error {
	if m.Middleware == nil {
		return invalid("dead-letter middleware is nil")
	}
	if m.MaxAttempts < 0 {
		return invalid("dead-letter middleware: MaxAttempts %d is negative", m.MaxAttempts)
	}
	c.middleware = append(c.middleware, noteDeadLetter, m.Middleware, c.lastAttempt)
	c.poison |= poisonMiddleware
	c.letters = append(c.letters, m.Publisher)
	c.countedAttempts = max(c.countedAttempts, m.MaxAttempts)
	return nil
}

func (m PublishMiddleware) applyPublisher(c *publisherConfig) error {
	if m == nil {
		return invalid("publish middleware is nil")
	}
	c.middleware = append(c.middleware, func(*Topic) PublishMiddleware { return m })
	return nil
}

// PublishMiddlewareFor adds publish middleware that is made for each topic when it is
// opened, for one that must know which topic it is on. A nil one is left out.
func PublishMiddlewareFor(make func(t *Topic) PublishMiddleware) PublisherOption {
	return publisherOption(func(c *publisherConfig) error {
		if make == nil {
			return invalid("publish middleware is nil")
		}
		c.middleware = append(c.middleware, make)
		return nil
	})
}

// topicConfig is what both roles say of a topic.
type topicConfig struct{ driver.TopicRequest }

type clientConfig struct {
	logger     *slog.Logger
	hooks      hooks
	backoff    Backoff
	publisher  []PublisherOption
	subscriber []SubscriberOption
}

type publisherConfig struct {
	topicConfig
	middleware     []func(*Topic) PublishMiddleware
	batch          Batch
	limit          Limit
	continueFailed bool
}

// poison says who takes what failed permanently; several may be given, and
// opening refuses those that contradict each other.
type poison uint8

const (
	poisonMiddleware poison = 1 << iota
	poisonNative
	poisonDrop
)

type subscriberConfig struct {
	topicConfig
	group           string
	broadcast       bool
	middleware      []Middleware
	concurrency     int
	limit           Limit
	drain           time.Duration
	maxHandling     time.Duration
	lease           time.Duration
	retry           Backoff
	maxAttempts     int
	countedAttempts int // by a middleware
	poison          poison
	letters         []Publisher // to which middleware dead-letters
	deadLetter      driver.DeadLetter
	batch           Batch
}

// Limit bounds messages and bytes at once; a zero field takes its default.
type Limit struct{ Messages, Bytes int }

func (l Limit) or(messages, bytes int) Limit {
	if l.Messages == 0 {
		l.Messages = messages
	}
	if l.Bytes == 0 {
		l.Bytes = bytes
	}
	return l
}

// Batch says how much goes to the broker in one call; a zero field takes the
// driver's own. It cannot be more than the broker takes.
type Batch struct {
	// Messages and Bytes are its limits.
	Messages, Bytes int
	// Linger is how long a batch that is not full waits for company while earlier
	// ones are under way. When nothing is under way, nothing waits. Negative means
	// no linger at all.
	Linger time.Duration
}

func (b Batch) validate(what string) error {
	if b.Messages < 0 || b.Bytes < 0 {
		return invalid("%s: %d messages, %d bytes: a limit must not be negative", what, b.Messages, b.Bytes)
	}
	return nil
}

// over lays b over the driver's own batch.
func (b Batch) over(d driver.Batch, what string) (driver.Batch, error) {
	if d.Messages > 0 && b.Messages > d.Messages || d.Bytes > 0 && b.Bytes > d.Bytes {
		return d, invalid("%s: %d messages, %d bytes: the broker takes at most %d and %d at a time",
			what, b.Messages, b.Bytes, d.Messages, d.Bytes)
	}
	if b.Messages > 0 {
		d.Messages = b.Messages
	}
	if b.Bytes > 0 {
		d.Bytes = b.Bytes
	}
	if b.Linger != 0 {
		d.Linger = max(b.Linger, 0)
	}
	return d, nil
}

// Logger gives a client its logger; the default is slog.Default. Messages'
// bodies and credentials are never logged.
func Logger(l *slog.Logger) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if l == nil {
			return invalid("logger is nil")
		}
		c.logger = l
		return nil
	})
}

// Observe adds hooks to a client. Each must have at least one of the hook
// interfaces (see Hook).
func Observe(observers ...Hook) ClientOption {
	return clientOption(func(c *clientConfig) error {
		for _, h := range observers {
			if !c.hooks.add(h) {
				return invalid("observer of type %T has no hook method", h)
			}
		}
		return nil
	})
}

// ReconnectBackoff says how long a client waits between attempts to reach a
// broker that is away, or to open something on one that is busy.
func ReconnectBackoff(b Backoff) ClientOption {
	return clientOption(func(c *clientConfig) error {
		c.backoff = b
		return b.Validate()
	})
}

// PublisherDefaults gives options to every publisher of a client. A publisher's own
// options come after them, and win where both say something.
func PublisherDefaults(options ...PublisherOption) ClientOption {
	return clientOption(func(c *clientConfig) error {
		for _, o := range options {
			if o == nil {
				return invalid("publisher default is nil")
			}
		}
		c.publisher = append(c.publisher, options...)
		return nil
	})
}

// SubscriberDefaults gives options to every subscription of a client. A subscription's
// own options come after them, and win where both say something; middleware adds up, and
// that of the defaults is outermost. What becomes of messages that fail permanently may be
// said in one of the two places only.
func SubscriberDefaults(options ...SubscriberOption) ClientOption {
	return clientOption(func(c *clientConfig) error {
		for _, o := range options {
			if o == nil {
				return invalid("subscriber default is nil")
			}
		}
		c.subscriber = append(c.subscriber, options...)
		return nil
	})
}

// Queue says that the topic is a queue: it has one group of competing readers,
// and each message is handled once.
func Queue() TopicOption {
	return topicOption(func(c *topicConfig) error {
		c.Kind = driver.Queue
		return nil
	})
}

// Ordered says that the topic keeps the order of messages with the same key.
// Opening fails on a broker that cannot.
func Ordered() TopicOption {
	return topicOption(func(c *topicConfig) error {
		c.TopicRequest.Ordered = true
		return nil
	})
}

// Create, Verify and Assume are what Topology takes.
const (
	// Create declares what is missing, and fails where something exists and differs.
	Create = driver.Create
	// Verify declares nothing, and fails where something is missing or differs.
	Verify = driver.Verify
	// Assume neither declares nor looks.
	Assume = driver.Assume
)

// Topology says what opening does about topics and subscriptions on the broker: make
// what is missing (Create, the default), only compare (Verify), or neither (Assume).
func Topology(t driver.Topology) TopicOption {
	return topicOption(func(c *topicConfig) error {
		if t > driver.Assume {
			return invalid("topology %d is not one of Create, Verify, Assume", t)
		}
		c.Topology = t
		return nil
	})
}

// Settings hands a driver settings of its own, in types that its package
// documents. Opening fails on one that the driver does not know.
func Settings(settings ...any) TopicOption {
	return topicOption(func(c *topicConfig) error {
		c.TopicRequest.Settings = append(slices.Clip(c.TopicRequest.Settings), settings...)
		return nil
	})
}

// TopicOptions makes one option of several: a value that says what a topic is,
// for the services that publish to it and read from it to share.
func TopicOptions(options ...TopicOption) TopicOption { return topicOptions(options) }

type topicOptions []TopicOption

func (s topicOptions) applyPublisher(c *publisherConfig) error {
	for _, o := range s {
		if o == nil {
			return invalid("topic option is nil")
		}
		if err := o.applyPublisher(c); err != nil {
			return err
		}
	}
	return nil
}

func (s topicOptions) applySubscriber(c *subscriberConfig) error {
	for _, o := range s {
		if o == nil {
			return invalid("topic option is nil")
		}
		if err := o.applySubscriber(c); err != nil {
			return err
		}
	}
	return nil
}

// PublishBatch says how much goes to the broker in one send.
func PublishBatch(b Batch) PublisherOption {
	return publisherOption(func(c *publisherConfig) error {
		c.batch = b
		return b.validate("publish batch")
	})
}

// PublishLimit bounds what was published and the broker has not yet confirmed. At
// the limit, Publish and PublishAsync wait. The default is 10,000 messages and
// 64 MiB; a zero takes the default. It is 50,000 messages on an ordered topic where the
// broker takes one key a request (Google Pub/Sub), for what waits of a key fills its
// next request. A message larger than the limit goes alone.
func PublishLimit(messages, bytes int) PublisherOption {
	return publisherOption(func(c *publisherConfig) error {
		if messages < 0 || bytes < 0 {
			return invalid("publish limit: %d messages, %d bytes: must not be negative", messages, bytes)
		}
		c.limit = Limit{messages, bytes}
		return nil
	})
}

// ContinueAfterFailure has messages of an ordered topic sent although an earlier
// message of the same key failed for good, which leaves a gap. Without it they
// fail with ErrKeyFailed.
func ContinueAfterFailure() PublisherOption {
	return publisherOption(func(c *publisherConfig) error {
		c.continueFailed = true
		return nil
	})
}

// Group names the group that a subscription belongs to. Every group gets every
// message; the members of one group share them. A subscription to a queue has no
// group; one to an event topic says Group or Broadcast.
func Group(name string) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		if name == "" {
			return invalid("group name is empty; say Broadcast instead for a copy of everything")
		}
		c.group = name
		return nil
	})
}

// Broadcast makes a subscription to an event topic that shares with nobody: it gets a copy of
// everything that is published while its Receive runs, and nothing that is published while it
// does not.
func Broadcast() SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		c.broadcast = true
		return nil
	})
}

// Use adds middleware around the handler, as listing the middleware themselves as
// options does; it is for a slice of them.
func Use(middleware ...Middleware) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		for _, m := range middleware {
			if err := m.applySubscriber(c); err != nil {
				return err
			}
		}
		return nil
	})
}

// Concurrency is how many handlers run at a time; default 16. With 1, messages
// are handled one after the other.
func Concurrency(n int) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		if n < 1 {
			return invalid("concurrency %d must be at least 1", n)
		}
		c.concurrency = n
		return nil
	})
}

// InFlight bounds what was received and is not yet settled, including messages that wait
// for a retry in the process. The default is 1,000 messages (3,000 on Kafka) and
// 64 MiB; a zero takes the default. A message larger than the limit comes alone. Where
// settlements are committed (Capabilities.SettleCommits), as on Kafka, what was settled and
// not committed yet does not count: some milliseconds' worth, and at most 16 times the limit.
func InFlight(messages, bytes int) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		if messages < 0 || bytes < 0 {
			return invalid("in flight: %d messages, %d bytes: must not be negative", messages, bytes)
		}
		c.limit = Limit{messages, bytes}
		return nil
	})
}

// DrainTimeout is how long running handlers may go on after Receive's context
// has ended; then their own contexts end too. The default is 30 s.
func DrainTimeout(d time.Duration) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		if d <= 0 {
			return invalid("drain timeout %v must be positive", d)
		}
		c.drain = d
		return nil
	})
}

// MaxHandling is how long one message is kept leased at most, from its fetch to
// its verdict, waiting for a retry included; default one hour, and never longer
// than the broker allows. After that its handler's context ends with
// ErrHandlerTooSlow, and the lease is left to run out.
func MaxHandling(d time.Duration) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		if d <= 0 {
			return invalid("max handling %v must be positive", d)
		}
		c.maxHandling = d
		return nil
	})
}

// Lease is how long the broker waits for a sign of life before it gives a message
// to another member. Leases are extended while handlers run, so it is not a limit for
// handlers, but how long the messages of a process that crashed are late. The default is
// the driver's. Opening fails on a broker that does not lease messages, such as RabbitMQ
// and Kafka.
func Lease(d time.Duration) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		if d <= 0 {
			return invalid("lease %v must be positive", d)
		}
		c.lease = d
		return nil
	})
}

// RetryBackoff says how long a message stays away after its handler returned an
// error that has no delay of its own (RetryAfter). The default is that of a zero
// Backoff: 200 ms, then twice as long each time, up to 30 s.
func RetryBackoff(b Backoff) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		c.retry = b
		return b.Validate()
	})
}

// MaxAttempts makes a message's n-th failed attempt its last: the failure is
// permanent then. A dead-letter middleware's MaxAttempts does the same. Without a
// limit, a message is tried again for ever. Opening fails on a broker that cannot count
// attempts.
func MaxAttempts(n int) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		if n < 1 {
			return invalid("max attempts %d must be at least 1", n)
		}
		c.maxAttempts = n
		return nil
	})
}

// NativeDeadLetter lets the broker move what failed permanently, or failed in
// maxAttempts attempts (0: no such limit), to a topic of kind queue. Opening
// fails on a broker that cannot: middleware.DeadLetter works on all.
func NativeDeadLetter(topic string, maxAttempts int) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		if topic == "" {
			return invalid("native dead letter: topic is empty")
		}
		if maxAttempts < 0 {
			return invalid("native dead letter: max attempts %d is negative", maxAttempts)
		}
		c.deadLetter = driver.DeadLetter{Topic: topic, MaxAttempts: maxAttempts}
		c.poison |= poisonNative
		return nil
	})
}

// DropPermanent says that a message which failed permanently is dropped, and
// logged as an error with its reason.
func DropPermanent() SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		c.poison |= poisonDrop
		return nil
	})
}

// SettleBatch says how many settlements go to the broker in one call, and how long they
// wait for company (Linger) while handlers run or a call was made less than that ago; a
// settlement that the next message may wait for goes at once.
func SettleBatch(b Batch) SubscriberOption {
	return subscriberOption(func(c *subscriberConfig) error {
		c.batch = b
		return b.validate("settle batch")
	})
}
