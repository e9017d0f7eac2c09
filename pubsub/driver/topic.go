package driver

import "context"

// A Topic is one incarnation of a way to send to a topic.
type Topic interface {
	// Send takes messages for publishing, in order. It may block until the broker
	// or the client takes them; ctx bounds the taking, never the fate: what was
	// taken before ctx ended goes on. Send returns when each message was taken or
	// has its fate.
	//
	// fate is called exactly once for each message, from any goroutine, during
	// Send or after it. It does not block, but it may send again: the driver holds
	// no lock that Send needs when it calls. Until then the driver may read the
	// message. A dead Topic tells the fate of all that it had taken, Unknown where
	// it cannot know; what it is sent from then on is Aborted.
	//
	// Two messages of one Send with the same key are stored in their order, or the
	// later is not stored: it is Aborted. The engine keeps to SendBatch, SendWindow,
	// SendsPerKey and KeyPerSend of the Capabilities, and calls Send from one goroutine at a
	// time unless they say SendNeverBlocks. ctx ends when the Topic is about to be closed,
	// and not before.
	Send(ctx context.Context, batch []Message, fate func(i int, f Fate, err error))

	// Done is closed when the Topic is dead.
	Done() <-chan struct{}

	// Err says why the Topic is dead; nil while it lives.
	Err() error

	// Close ends the Topic, no later than ctx ends. The engine has waited for fates
	// before, as long as it may: what has none yet gets it now, as on any dead Topic. A
	// second Close does nothing and returns nil.
	Close(ctx context.Context) error
}

// Fate is what became of a message that was sent.
type Fate uint8

const (
	// Stored: the broker confirmed that it keeps the message. The error is nil.
	Stored Fate = iota
	// Refused: not stored, by a fault of the message itself or of its destination
	// that sending again would not mend.
	Refused
	// Aborted: not stored, and no fault of its own: a neighbour in its batch, a full
	// broker, a connection that failed before it was written. The engine sends it again.
	Aborted
	// Unknown: perhaps stored. The engine sends it again where
	// Capabilities.ResendUnknown says that this is right.
	Unknown
)

// FateOf is the fate of the messages of one request that had this error, by its code. sent
// says whether the broker may have them in spite of it. What the broker finds wrong with
// one of several it says of all: they are Aborted, and the engine finds the one.
func FateOf(err error, messages int, sent bool) Fate {
	if err == nil {
		return Stored
	}
	switch code := CodeOf(err); {
	case code == CodeNotFound || code == CodePermissionDenied || code == CodeUnauthenticated:
		return Refused
	case code == CodeInvalid || code == CodeTooLarge || code == CodeConflict || code == CodeUnsupported:
		if messages > 1 {
			return Aborted
		}
		return Refused
	case code == CodeExhausted || !sent:
		return Aborted
	default:
		return Unknown
	}
}

// String returns the fate's name in lower case.
func (f Fate) String() string {
	switch f {
	case Stored:
		return "stored"
	case Refused:
		return "refused"
	case Aborted:
		return "aborted"
	default:
		return "unknown"
	}
}
