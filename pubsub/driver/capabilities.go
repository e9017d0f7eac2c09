package driver

import (
	"math"
	"time"
)

// Unlimited is a delay or a hold without a limit.
const Unlimited time.Duration = math.MaxInt64

// Capabilities is what a broker can do, as its driver uses it. Each field's zero
// value is the weakest claim, so that what a driver forgets is not promised. The
// engine emulates what is missing where that is sound; where it is not, opening
// fails and names the need and the broker.
type Capabilities struct {
	// Broker is its name and version, for people: "RabbitMQ 4.3.6".
	Broker string

	// Groups, Queues and Broadcast say which subscriptions it has.
	Groups, Queues, Broadcast bool
	// Ordered: a topic can keep the order of a key's messages.
	Ordered bool
	// ShowsMismatch: the broker knows what a topic was made as, its kind and whether it
	// is ordered, so opening it as something else fails with CodeConflict.
	ShowsMismatch bool
	// Competing: what a member returns comes to any other member at once. Where it does
	// not, a claim, such as a partition, belongs to one member, and what that one has
	// comes to another with the claim, after the member has left.
	Competing bool
	// DeadLetter: the broker moves dead messages to another queue by itself.
	DeadLetter bool
	// Attempts is how exact Delivery.Attempt is.
	Attempts Precision

	// PublishDelay is the longest Message.Delay; zero: none.
	PublishDelay time.Duration
	// RetryDelay is the longest delay of the verb Retry; zero: it comes back at once.
	RetryDelay time.Duration
	// RetryInHold: a Retry's delay ends with Hold at the latest, which began with the
	// delivery: how long it was here already is taken off RetryDelay.
	RetryInHold bool
	// RetryLeast is the shortest delay that is worth a Retry, such as a broker's unit of
	// time: what is shorter and not zero the engine holds, where a hold may last that long.
	RetryLeast time.Duration
	// BroadcastHolds: RetryDelay is for groups and queues alone; what a broadcast is to get
	// later the engine holds.
	BroadcastHolds bool
	// OrderedRetry is what a Retry on an ordered topic does to the rest of its key.
	OrderedRetry OrderedRetry

	// Lease is how long a delivery's lease is unless the request says otherwise;
	// zero: deliveries have no lease and Extend is not called.
	Lease time.Duration
	// Hold is the longest a delivery may stay unsettled, extensions included;
	// zero says nothing is known, and the engine holds no longer than a minute.
	Hold time.Duration

	// MessageBytes is the largest Message.Size; zero: no limit known.
	MessageBytes int
	// Headers is how many headers a message may have; zero: no limit known.
	Headers int
	// HeaderBytes is the largest header, name and value; zero: no limit known.
	HeaderBytes int
	// KeyBytes is the longest key; zero: no limit known.
	KeyBytes int
	// TextHeaders: header values must be valid UTF-8.
	TextHeaders bool

	// SendBatch is what one Send takes at most, and how long a busy publisher waits
	// to fill it.
	SendBatch Batch
	// SettleBatch is the same for Settle. A Retry with its tail (WithTail) stays in
	// one Settle even where that is more. Linger applies while handlers run, and less than
	// a Linger after the last Settle, unless the broker can give nothing before it: the window
	// is used up, or the subscription is ordered. Where settlements are committed
	// (SettleCommits), it is the Commit that lingers, while handlers run.
	SettleBatch Batch
	// SettleRequest is how many Acks fill one request, where a Settle makes several; zero:
	// it makes one. So many do not linger for more to fill the batch.
	SettleRequest int
	// SendsPerKey is how many messages of one key may be without their fates at a
	// time on an ordered topic; zero: no limit. It is 1 where a broker may store a
	// later message of a key and not the earlier one.
	SendsPerKey int
	// KeyPerSend: a Send to an ordered topic has the messages of one key, or such without a
	// key, and none follows for a key before all of its last have their fates: what comes
	// meanwhile fills the next. It is for brokers whose request carries one key, and which
	// may store a later request and not the earlier one.
	KeyPerSend bool
	// SendWindow is how many messages of a Topic may be without their fates at a time;
	// zero: no limit. The engine sends when there is room for a batch, or for all that
	// waits.
	SendWindow int
	// SendNeverBlocks: Send returns without waiting on anything, has copied by then
	// what it needs of the messages, and may be called concurrently. The engine
	// calls it in the publisher's own goroutine.
	SendNeverBlocks bool
	// ResendUnknown: the engine may send a message of fate Unknown again. False
	// where the client beneath does so itself.
	ResendUnknown bool

	// InFlight is how many messages a subscription has in flight where its user does not
	// say; zero leaves it to the engine.
	InFlight int
	// SettleConfirmed: the outcome of an Ack is Confirmed, not Sent.
	SettleConfirmed bool
	// SettleCommits: the outcome of an Ack is Accepted, at once, and Sessions are
	// Committers. For brokers that are told how far a member has come, where a
	// settlement that is lost on the way repeats a message and does no other harm.
	SettleCommits bool
	// Backlog: the Conn is a Backlogger.
	Backlog bool
}

// String names the broker.
func (c *Capabilities) String() string {
	if c.Broker == "" {
		return "the broker"
	}
	return c.Broker
}

// Batch is how much goes into one call.
type Batch struct {
	// Messages and Bytes are its limits; zero: none.
	Messages, Bytes int
	// Linger is how long a batch that is not full waits for company while earlier
	// ones are under way; zero: not at all.
	Linger time.Duration
}

// Precision is how exact an attempt count is.
type Precision uint8

const (
	// None: there is no count; Attempt is 1 on every delivery from the broker.
	None Precision = iota
	// AtMost: the count may be too low.
	AtMost
	// AtLeast: the count may be too high.
	AtLeast
	// Exact: the count is right.
	Exact
)

// String returns the precision in words.
func (p Precision) String() string {
	switch p {
	case AtMost:
		return "at most"
	case AtLeast:
		return "at least"
	case Exact:
		return "exact"
	default:
		return "none"
	}
}

// OrderedRetry is what a Retry on an ordered topic does to the rest of its key.
type OrderedRetry uint8

const (
	// HoldsNone: later messages of the key may pass the one that waits. The engine
	// never asks for Retry on a key: it holds the delivery itself (Keep).
	HoldsNone OrderedRetry = iota
	// WithTail: the broker keeps the key's order if those of its messages that were
	// delivered and not settled are returned in the same Settle, behind the Retry.
	WithTail
)

// String returns the name in lower case.
func (o OrderedRetry) String() string {
	if o == WithTail {
		return "with tail"
	}
	return "holds none"
}
