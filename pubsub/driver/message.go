package driver

import "time"

// HeaderRedriven is the header that counts how often a dead letter was brought back to its
// topic. A broker that drops duplicates must not take one for its first publishing, or
// for an earlier redrive: its driver tells them apart by this.
const HeaderRedriven = "dead-letter-redriven"

// A Message is what a publisher sends and a subscriber gets.
type Message struct {
	// ID is the publisher's name for the message; may be empty. Where a broker
	// drops duplicates, it does so by ID. A driver carries it as it is.
	ID string
	// Key is the ordering key; may be empty, which means no order.
	Key string
	// Headers are the user's. A value may hold any bytes. Nil is as good as empty.
	Headers map[string]string
	// Body is the payload; nil is as good as empty.
	Body []byte
	// Delay asks that the message is not delivered before that long from now. The
	// engine only sets it within Capabilities.PublishDelay. On a delivery it is zero.
	Delay time.Duration
}

// Size is what the engine counts a message as, in bytes: body, key, ID, and the
// names and values of its headers.
func (m *Message) Size() int {
	n := len(m.Body) + len(m.Key) + len(m.ID)
	if len(m.Headers) == 0 {
		return n // to begin a loop over a map costs more than all of this
	}
	for k, v := range m.Headers {
		n += len(k) + len(v)
	}
	return n
}

// A Delivery is a message on its way to a handler.
type Delivery struct {
	Message
	// Attempt counts deliveries to a handler, this one included, from 1. How exact
	// it is, Capabilities.Attempts says.
	Attempt int
	// PublishTime is when the broker or the publisher says it was published; zero
	// where neither does.
	PublishTime time.Time
	Receipt
}

// A Receipt is what a Session needs to know a delivery by. The engine keeps it
// and gives it back; it reads Claim and Deadline alone.
type Receipt struct {
	// Tag and Token are the driver's own: a delivery tag, an offset, a pointer.
	// They must let a Session recognise a receipt that is no longer good.
	Tag   uint64
	Token any
	// Claim names what the delivery belongs to that can be taken back as one, such
	// as a partition. Zero where there is no such thing.
	Claim uint64
	// Deadline is when the lease ends unless it is extended; zero: never.
	Deadline time.Time
	// Raw is the broker client's own message, for users who must reach it, or a RawMaker;
	// may be nil.
	Raw any
}

// A RawMaker makes the broker client's own message when a user asks for it, where there
// is none yet.
type RawMaker interface {
	// MakeRaw returns the message, the asker's own; nil once it is settled or taken back.
	// It may be called at any time, from any goroutine.
	MakeRaw() any
}
