package driver

import (
	"context"
	"time"
)

// A Driver makes connections to one broker. It is a value that holds settings
// and no connection. Its methods may be called concurrently.
type Driver interface {
	// Open connects. It dials at most once and returns when the connection is
	// usable and its Capabilities are known. Errors that waiting cannot heal carry
	// a code that says so, among them CodeUnauthenticated, CodePermissionDenied,
	// CodeNotFound and CodeInvalid; CodeUnavailable is for what may heal.
	Open(ctx context.Context) (Conn, error)
}

// A Conn is one incarnation of a connection to a broker. Its methods may be
// called concurrently. What the engine asks of it makes sense: a topic has a name, a queue
// no group, and a message keeps to the limits. Order and dead letters that its
// Capabilities deny it refuses all the same.
type Conn interface {
	// Capabilities tells what this broker, in the version connected to, can do.
	// The value does not change while the Conn lives.
	Capabilities() Capabilities

	// Topic opens a topic for sending, with its topology as the request says.
	Topic(ctx context.Context, r TopicRequest) (Topic, error)

	// Declare makes or verifies what a subscription needs, as the request says.
	// When it has returned nil for a group or a queue, every message published
	// from then on is kept for it, whether or not a Session is open. For a
	// broadcast subscription it verifies the topic alone.
	Declare(ctx context.Context, r SubscribeRequest) error

	// Subscribe opens a Session. The request was declared before, perhaps on an
	// earlier Conn. The Session gives nothing before it has Credit. A message
	// published after Subscribe returned reaches a broadcast Session.
	Subscribe(ctx context.Context, r SubscribeRequest) (Session, error)

	// Done is closed when the Conn is dead. All its Topics and Sessions are dead
	// then, or about to be.
	Done() <-chan struct{}

	// Err says why the Conn is dead; nil while it lives.
	Err() error

	// Close ends the Conn. The engine closes each Topic and Session by itself, nearly
	// always before; what is still open is dead, as if the connection had been lost, and
	// is closed afterwards. A second Close does nothing and returns nil.
	Close(ctx context.Context) error
}

// A Backlogger is a Conn that can tell how much waits for a group. It is an
// extra operation: nothing else changes its meaning where it is missing.
type Backlogger interface {
	// Backlog counts what the subscription, which is no broadcast, has not settled yet.
	Backlog(ctx context.Context, r SubscribeRequest) (Backlog, error)
}

// A Revealer is a Conn that lets users reach the broker's own client. It is an
// extra operation: nothing else changes its meaning where it is missing.
type Revealer interface {
	// Client returns the client beneath, in a type that the driver's package documents.
	// It belongs to the Conn: users neither close it nor keep it longer.
	Client() any
}

// Backlog is how much waits for a group.
type Backlog struct {
	// Ready counts messages that wait to be delivered, delayed ones among them.
	Ready int64
	// Unsettled counts messages that were delivered and not settled; -1 where the
	// broker does not tell.
	Unsettled int64
}

// Kind is what a topic is for.
type Kind uint8

const (
	// Event is a topic that any number of groups read: each gets every message.
	Event Kind = iota
	// Queue is a topic with one group of competing readers: each message is
	// handled once.
	Queue
)

// String returns "event" or "queue".
func (k Kind) String() string {
	if k == Queue {
		return "queue"
	}
	return "event"
}

// Topology is who makes what a topic or a subscription needs on the broker.
type Topology uint8

const (
	// Create declares what is missing and fails with CodeConflict where something
	// exists and differs.
	Create Topology = iota
	// Verify declares nothing: CodeNotFound where something is missing,
	// CodeConflict, naming the difference, where something differs.
	Verify
	// Assume neither declares nor looks. What is wrong shows in use.
	Assume
)

// String returns "create", "verify" or "assume".
func (t Topology) String() string {
	switch t {
	case Verify:
		return "verify"
	case Assume:
		return "assume"
	default:
		return "create"
	}
}

// TopicRequest asks for a topic. The zero value of every field but Topic is useful.
type TopicRequest struct {
	// Topic is its name, never empty.
	Topic string
	// Kind is what the topic is for.
	Kind Kind
	// Ordered asks that messages with the same key are kept in publish order.
	Ordered bool
	// Topology says who makes it.
	Topology Topology
	// Settings are of the driver's own types. A driver fails with CodeInvalid on
	// one that it does not know.
	Settings []any
}

// SubscribeRequest asks for a subscription. Group and Kind together say which:
// Kind Queue is the queue's only group, and Group is empty; Kind Event with a
// Group is that group; Kind Event without one is a broadcast subscription, which
// gets its own copy of everything while it lives.
type SubscribeRequest struct {
	TopicRequest
	// Group is the group's name.
	Group string
	// DeadLetter asks the broker to dead-letter by itself; nil does not. It is
	// only asked where Capabilities say DeadLetter.
	DeadLetter *DeadLetter
	// Member is a name for the member that reads, the same for all its Sessions; may be
	// empty. What a broadcast Session keeps on the broker can so outlive a lost connection.
	Member string
	// Lease is how long a delivery's lease should be at first; zero leaves it to
	// the driver. It is only set where Capabilities say Lease.
	Lease time.Duration
}

// Broadcast says whether the request is for a broadcast subscription.
func (r *SubscribeRequest) Broadcast() bool { return r.Kind == Event && r.Group == "" }

// DeadLetter is a native dead-letter policy.
type DeadLetter struct {
	// Topic is where dead messages go. It is a topic of kind Queue.
	Topic string
	// MaxAttempts is after how many attempts the broker gives a message up;
	// zero leaves it to settlements with the verb Dead alone.
	MaxAttempts int
}
