package pubsub

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Subscription is one member of a group, of a queue, or of a broadcast. Its
// methods may be called concurrently, but one Receive runs at a time.
type Subscription struct {
	client  *Client
	config  subscriberConfig
	request driver.SubscribeRequest
	caps    driver.Capabilities

	mu      sync.Mutex
	closed  bool
	current *receiver
}

// The defaults of the subscriber options.
const (
	defaultConcurrency  = 16
	inFlightMessages    = 1_000
	inFlightBytes       = 64 << 20
	defaultDrainTimeout = 30 * time.Second
	defaultMaxHandling  = time.Hour
)

// Subscriber makes or verifies a subscription on the broker, as Topology says:
// when it has returned, every message published from then on is kept for the
// group, though nothing is received before Receive. It fails where the broker
// lacks what is asked. A broker that is busy, or away meanwhile, is asked again a few
// times, with the client's backoff.
//
// What becomes of messages that fail permanently must be said:
// middleware.DeadLetter, which works on every broker, NativeDeadLetter, or
// DropPermanent.
func (c *Client) Subscriber(ctx context.Context, topic string, options ...SubscriberOption) (*Subscription, error) {
	s := &Subscription{client: c}
	s.config.Topic = topic
	if err := s.open(ctx, options); err != nil {
		return nil, fail("open subscriber", s.config.target(), err)
	}
	return s, nil
}

func (s *Subscription) open(ctx context.Context, options []SubscriberOption) error {
	if s.config.Topic == "" {
		return invalid("topic is empty")
	}
	for _, list := range [][]SubscriberOption{s.client.config.subscriber, options} {
		for _, o := range list {
			if o == nil {
				return invalid("subscriber option is nil")
			}
			if err := o.applySubscriber(&s.config); err != nil {
				return err
			}
		}
	}
	s.config.fill()
	if err := s.config.consistent(); err != nil {
		return err
	}
	for _, p := range s.config.letters {
		if t, ok := p.(*Topic); ok && t != nil && t.client == s.client && t.name == s.config.Topic {
			return invalid("topic %q would dead-letter into itself, again and again: give the dead-letter middleware the publisher of another topic", t.name)
		}
	}
	if err := s.client.connection.open(ctx, func(conn driver.Conn) error { return s.declare(ctx, conn) }); err != nil {
		return err
	}
	if !s.client.adopt(s) {
		return errClientClosed
	}
	return nil
}

// declare compares what is asked with what the broker can do, and makes or verifies it there.
func (s *Subscription) declare(ctx context.Context, conn driver.Conn) error {
	s.request = s.config.request()
	s.caps = conn.Capabilities()
	if s.caps.BroadcastHolds && s.request.Broadcast() {
		s.caps.RetryDelay = 0
	}
	if s.caps.InFlight > 0 {
		s.config.limit = s.config.limit.or(s.caps.InFlight, 0)
	}
	s.config.limit = s.config.limit.or(inFlightMessages, inFlightBytes)
	if err := s.config.suits(&s.caps); err != nil {
		return err
	}
	return conn.Declare(ctx, s.request)
}

// fill puts defaults where nothing was said.
func (c *subscriberConfig) fill() {
	if c.concurrency == 0 {
		c.concurrency = defaultConcurrency
	}
	if c.drain == 0 {
		c.drain = defaultDrainTimeout
	}
	if c.maxHandling == 0 {
		c.maxHandling = defaultMaxHandling
	}
	if c.maxAttempts == 0 {
		// A broker does not see the attempts that are made here in between.
		c.maxAttempts = c.deadLetter.MaxAttempts
	}
}

// consistent refuses options that contradict each other.
func (c *subscriberConfig) consistent() error {
	lowest := c.deadLetter.MaxAttempts
	switch {
	case c.Kind == driver.Queue && c.group != "":
		return invalid("a queue has no groups: leave out Group, or Queue")
	case c.Kind == driver.Queue && c.broadcast:
		return invalid("each message of a queue is handled once: leave out Broadcast, or Queue")
	case c.group != "" && c.broadcast:
		return invalid("Group(%q) and Broadcast contradict each other: leave one out", c.group)
	case c.Kind == driver.Event && c.group == "" && !c.broadcast:
		return invalid("say who reads: a Group, whose members share the messages and miss none, or Broadcast, for a copy of everything that is published while it receives")
	case c.poison == 0:
		return invalid("say what becomes of messages that fail permanently: middleware.DeadLetter, NativeDeadLetter or DropPermanent")
	case c.poison&(c.poison-1) != 0:
		return invalid("%s: only one can take what fails permanently", c.poison)
	case lowest > 0 && c.maxAttempts > lowest:
		return invalid("NativeDeadLetter after %d attempts comes before MaxAttempts(%d): the broker would take the message first", lowest, c.maxAttempts)
	case c.countedAttempts > 0 && c.maxAttempts > 0 && c.maxAttempts != c.countedAttempts:
		return invalid("MaxAttempts(%d) and the dead-letter middleware's %d differ: give one", c.maxAttempts, c.countedAttempts)
	case c.deadLetter.Topic == c.Topic && c.Topic != "":
		return invalid("NativeDeadLetter: topic %q would dead-letter into itself", c.Topic)
	}
	return nil
}

// String lists who takes what failed permanently.
func (p poison) String() string {
	var s string
	for i, name := range []string{"a dead-letter middleware", "NativeDeadLetter", "DropPermanent"} {
		if p&(1<<i) == 0 {
			continue
		}
		if s != "" {
			s += " and "
		}
		s += name
	}
	return s
}

// suits compares a subscription with what the broker can do.
func (c *subscriberConfig) suits(caps *driver.Capabilities) error {
	switch {
	case c.group != "" && !caps.Groups:
		return unsupported(*caps, "have groups")
	case c.broadcast && !caps.Broadcast:
		return unsupported(*caps, "broadcast; name a Group")
	case c.poison&poisonNative != 0 && !caps.DeadLetter:
		return unsupported(*caps, "dead-letter by itself; use middleware.DeadLetter")
	case max(c.maxAttempts, c.countedAttempts) > 0 && caps.Attempts == driver.None:
		return unsupported(*caps, "count attempts, so a limit of them would never be reached; leave it out")
	case c.lease > 0 && caps.Lease == 0:
		return unsupported(*caps, "lease messages; leave out Lease")
	}
	if _, err := c.batch.over(caps.SettleBatch, "settle batch"); err != nil {
		return err
	}
	return c.topicConfig.suits(caps)
}

func (c *subscriberConfig) request() driver.SubscribeRequest {
	r := driver.SubscribeRequest{TopicRequest: c.TopicRequest, Group: c.group, Member: strings.ToLower(rand.Text()), Lease: c.lease}
	if c.poison&poisonNative != 0 {
		d := c.deadLetter
		r.DeadLetter = &d
	}
	return r
}

// lastAttempt makes a failure permanent where attempts are used up, so that the
// dead-letter middleware around it sees it.
func (c *subscriberConfig) lastAttempt(next Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		d.reached = true
		attempt := d.Attempt // next may write to it
		err := c.ceiling(attempt, next(ctx, d))
		noteFailure(d, err)
		return err
	}
}

// ceiling turns the last attempt's failure into a permanent one.
func (c *subscriberConfig) ceiling(attempt int, err error) error {
	if err == nil || c.maxAttempts == 0 || attempt < c.maxAttempts {
		return err
	}
	if v, _ := VerdictOf(err); v != VerdictRetry {
		return err
	}
	return Permanent(fmt.Errorf("attempt %d of %d failed: %w", attempt, c.maxAttempts, err))
}

// Topic returns the topic's name.
func (s *Subscription) Topic() string { return s.config.Topic }

// Group returns the group's name; empty for a queue and for a broadcast.
func (s *Subscription) Group() string { return s.config.group }

// String names the subscription for logs.
func (s *Subscription) String() string { return "subscription " + s.config.target() }

// Backlog tells how much waits for the group, or the queue, on the broker. It fails with
// CodeUnsupported where the broker does not tell, and for a broadcast.
func (s *Subscription) Backlog(ctx context.Context) (Backlog, error) {
	if s.request.Broadcast() {
		return Backlog{}, fail("backlog", s.config.target(), unsupported(s.caps, "tell the backlog of a broadcast"))
	}
	b, err := s.client.backlog(ctx, s.request)
	return b, fail("backlog", s.config.target(), err)
}

// Flights is what a subscription has in flight: fetched, and not settled.
type Flights struct {
	// Messages and Bytes count all of it.
	Messages, Bytes int
	// Running of them are with their handlers; of a batch handler, it counts batches.
	Running int
	// Held of them failed and wait here for their next attempt.
	Held int
}

// Flights tells what is in flight here; nothing while no Receive runs.
func (s *Subscription) Flights() Flights {
	s.mu.Lock()
	r := s.current
	s.mu.Unlock()
	if r == nil {
		return Flights{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return Flights{Messages: r.count, Bytes: r.bytes, Running: r.active, Held: r.waiting}
}

// Receive blocks and calls handler for each delivery, until ctx ends; then it
// drains: it takes in nothing more, gives back what was not started, waits for
// running handlers up to DrainTimeout, and sends their settlements, for which the broker
// has ten seconds, and ten more for what it is given back. It returns nil
// after that; ErrDrainTimeout if a handler did not stop even then.
//
// While the broker is away, Receive goes on trying. It ends with an error when the
// first try fails for a reason that waiting does not heal, or when such a reason
// has lasted for a minute later on.
//
// A handler's context has the values of ctx, but does not end with it.
func (s *Subscription) Receive(ctx context.Context, handler Handler) error {
	if handler == nil {
		return fail("receive", s.config.target(), invalid("handler is nil"))
	}
	r := newReceiver(s)
	r.handler = chain(s.config.middleware, handler)
	return s.receive(ctx, r)
}

// BatchPolicy says how ReceiveBatch fills a batch. Whatever is reached first ends it.
type BatchPolicy struct {
	// Messages is how many deliveries it has at most; default 100.
	Messages int
	// Bytes is how large it is at most, as of Message.Size; default: no such limit.
	// A larger message goes alone.
	Bytes int
	// Wait is how long its first delivery waits for company; default: not at all,
	// so that a batch is what is there.
	Wait time.Duration
}

// ReceiveBatch is as Receive, with a handler of several deliveries. Middleware
// surrounds each delivery, as with Receive; what is inside of it sees the verdict of
// its own. Concurrency counts batches.
func (s *Subscription) ReceiveBatch(ctx context.Context, policy BatchPolicy, handler BatchHandler) error {
	target := s.config.target()
	if policy.Messages == 0 {
		policy.Messages = min(100, s.config.limit.Messages)
	}
	switch {
	case handler == nil:
		return fail("receive", target, invalid("handler is nil"))
	case policy.Messages < 0 || policy.Bytes < 0 || policy.Wait < 0:
		return fail("receive", target, invalid("batch policy %+v must not be negative", policy))
	case policy.Messages > s.config.limit.Messages:
		return fail("receive", target, invalid("a batch of %d messages is more than InFlight allows (%d)", policy.Messages, s.config.limit.Messages))
	}
	r := newReceiver(s)
	r.batches = &batches{receiver: r, policy: policy, handler: handler}
	return s.receive(ctx, r)
}

func (s *Subscription) receive(ctx context.Context, r *receiver) error {
	target := s.config.target()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.cancel = cancel
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return fail("receive", target, errSubscriptionClosed)
	case s.current != nil:
		s.mu.Unlock()
		return fail("receive", target, ErrReceiving)
	}
	s.current = r
	s.mu.Unlock()

	err := r.run(ctx)

	s.mu.Lock()
	s.current = nil
	s.mu.Unlock()
	close(r.returned)
	return fail("receive", target, err)
}

// Close ends a Receive that runs, and waits within ctx until it has drained; when
// ctx ends first, running handlers' contexts end. Receive fails with ErrClosed
// from then on. The group stays on the broker. A second Close waits for the same.
func (s *Subscription) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	r := s.current
	s.mu.Unlock()
	defer s.client.release(s) // not before: a client that closes meanwhile waits for it
	if r == nil {
		return nil
	}
	r.cancel()
	select {
	case <-r.returned:
		return nil
	case <-ctx.Done():
	}
	r.hurry()
	<-r.returned
	return fail("close subscriber", s.config.target(), context.Cause(ctx))
}
