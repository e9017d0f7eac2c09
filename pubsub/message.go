package pubsub

import (
	"maps"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A Message is what is published. The zero value is a message without a body.
//
// A publisher reads a message and never writes to it. It is the caller's again,
// with its body and headers, as soon as Publish or PublishAsync has returned.
type Message struct {
	// ID is the publisher's name for the message; may be empty, and none is made up. It
	// is carried as it is. middleware.Deduplicate, and a broker that drops duplicates,
	// recognise them by it.
	ID string
	// Key is the ordering key. On an ordered topic, messages with the same key that
	// is not empty are handled one at a time, in publish order.
	Key string
	// Headers go with the message. Names that begin with ReservedHeaderPrefix are
	// refused. Values may hold any bytes where the broker's headers can.
	Headers map[string]string
	// Body is the payload. Nil and empty are the same.
	Body []byte
	// Delay asks that the message is not delivered before that long from now. It
	// needs a broker that can (Capabilities.PublishDelay) and, on an ordered
	// topic, a message without a key. A delivery's Delay is zero.
	Delay time.Duration
}

// ReservedHeaderPrefix begins the names of headers that are the library's own.
const ReservedHeaderPrefix = "waybill-"

// HeaderRedrivenFor is the header of a dead letter that was brought back for one group of its
// topic: subscriptions of other groups, and broadcasts, settle it without a handler.
const HeaderRedrivenFor = "dead-letter-redriven-for"

// HeaderContentType is the header for a body's media type.
const HeaderContentType = "content-type"

// SetHeader sets a header, and makes the map where there is none yet.
func (m *Message) SetHeader(name, value string) {
	if m.Headers == nil {
		m.Headers = make(map[string]string)
	}
	m.Headers[name] = value
}

// clone copies a message with its headers; the body's bytes are shared.
func (m *Message) clone() *Message {
	c := *m
	c.Headers = maps.Clone(m.Headers)
	return &c
}

// Size is what the message counts as against limits, in bytes: body, key, ID,
// and names and values of headers.
func (m *Message) Size() int { return (*driver.Message)(m).Size() }

// A Delivery is a message on its way to a handler. It belongs to the handler,
// with its body and headers; nothing else reads or writes them, and the handler
// may keep them. A handler that changes the body and then fails may see the
// change at the next attempt, which may take place in the same process.
type Delivery struct {
	Message
	// Topic is where the message was published.
	Topic string
	// Group is the group that reads it; empty on a queue and on a broadcast
	// subscription.
	Group string
	// Attempt counts the times that a handler was given the message, this one
	// included: 1 is the first. How exact it is depends on the broker
	// (Capabilities.Attempts).
	Attempt int
	// PublishTime is when the message was published, by the broker's clock where it
	// has one; the zero time if nobody says.
	PublishTime time.Time

	raw     any
	values  *value
	reached bool // went through the dead-letter middleware, towards the handler
}

// Raw returns the message of the broker's own client, for what the portable
// fields do not tell; nil where there is none. Each driver's package
// documents its type, and whether it is there when the handler has returned.
func (d *Delivery) Raw() any {
	if m, ok := d.raw.(driver.RawMaker); ok {
		return m.MakeRaw()
	}
	return d.raw
}
