package driver

import (
	"context"
	"time"
)

// A Session is one incarnation of a member's reading of a subscription. At most
// one call each of Receive, Settle and Extend runs at a time, beside one
// another; Credit may be called at any time.
type Session interface {
	// Credit allows the Session to give that many more messages and bytes; it
	// never blocks. Every delivery takes one message and its Size in bytes. While
	// either count is zero or less, intake pauses, but ownership and heartbeats
	// stay. A driver that cannot count bytes counts messages alone; it gives no
	// more than what has credit, but that the last message may be larger than the
	// bytes left. Credit comes back to a delivery's settlement through this
	// method: where the broker gives it back by itself, a driver ignores the rest.
	Credit(messages, bytes int)

	// Receive waits until there are deliveries or revocations, or until ctx ends
	// or the Session is dead, and puts them into the Intake: revocations in
	// force before the deliveries beside them. It appends at most what is there
	// now and does not wait for more. When a delivery of a key is lost, what the
	// driver still has of that key is not given before the lost one came again. The
	// engine owns the Intake and its slices
	// and uses them again; the driver keeps neither.
	//
	// An error other than the context's, Interrupted and ErrQuiesced means that the Session
	// is dead. All its deliveries were taken back then.
	Receive(ctx context.Context, in *Intake) error

	// Settle carries out a batch of settlements and sets each Outcome. Within a
	// key the batch is in order, and so is one batch after the other. A receipt
	// that is no longer good gets Lost and touches no other message. With Accepted
	// it does not wait for the broker.
	Settle(ctx context.Context, batch []Settlement)

	// Extend asks that leases last d from now, and sets each Deadline as granted;
	// the zero time where the lease is lost. Where the call itself failed for a
	// while, it leaves the Deadline as it is and the engine asks again. It is only
	// called for receipts with a Deadline, which may just be settled beside it.
	Extend(ctx context.Context, batch []*Receipt, d time.Duration)

	// Quiesce ends intake and keeps ownership: when it has returned, Receive gives
	// no further delivery, and returns ErrQuiesced once it has given what it held. Handlers
	// may run on for long then: a Receive that is called after that waits for revocations, or
	// for the Session's end, as ever. An error says that the Session is dead.
	Quiesce(ctx context.Context) error

	// Close gives what is unsettled back to the broker, oldest first, so that it is
	// delivered again soon and in order, flushes settlements, the accepted ones among
	// them, and gives ownership up. It does not raise the attempt count of what was returned where the
	// broker lets it be. A second Close does nothing and returns nil.
	Close(ctx context.Context) error
}

// A Committer is a Session that takes settlements at once and tells the broker of them
// together (Capabilities.SettleCommits).
type Committer interface {
	// Commit brings to the broker all that was accepted before it was called, and what
	// is accepted meanwhile as it likes. Nil: the broker has it, or it was taken back
	// since, and so comes again. After an error nothing of it is forgotten: the engine
	// calls again, with backoff. It runs beside the other methods, one call at a time.
	// What is taken back with a grace the Session commits by itself when it is released.
	Commit(ctx context.Context) error
}

// Interrupted is an error of Receive that the Session outlives: intake failed for a
// while, nothing that was given is lost by it, and it can be settled and extended as
// before. The engine calls Receive again, with backoff. It is for brokers without
// connections that anything is bound to, and for what may heal: a code that does not ends the
// user's Receive, after a grace. It does not come after Quiesce.
type Interrupted struct {
	// Err says why.
	Err error
}

func (e *Interrupted) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Interrupted) Unwrap() error { return e.Err }

// Intake is what Receive gives.
type Intake struct {
	Revocations []Revocation
	Deliveries  []Delivery
}

// Reset empties an Intake for use again and drops what it pointed to.
func (in *Intake) Reset() {
	clear(in.Revocations)
	clear(in.Deliveries)
	in.Revocations, in.Deliveries = in.Revocations[:0], in.Deliveries[:0]
}

// A Revocation says that deliveries were taken back, or are about to be.
type Revocation struct {
	// Claim is what is taken back: all deliveries with that Claim.
	Claim uint64
	// Tags narrows it to the deliveries with these tags; nil means all of the Claim.
	Tags []uint64
	// Grace is until when running handlers may finish and settle, while nothing new
	// of it starts; zero: lost at once. When it has passed, all of it is lost.
	Grace time.Time
	// Release, unless nil, is called once, by the engine, when nothing of it runs or
	// waits to be settled any more, or Grace has passed.
	Release func()
	// Cause is why, for handlers and logs; ErrLeaseLost where a lease ended.
	Cause error
}

// A Settlement is what becomes of a delivery.
type Settlement struct {
	// Receipt is the delivery's.
	*Receipt
	// Verb says what to do.
	Verb Verb
	// Delay is how long a Retry stays away, at most Capabilities.RetryDelay.
	Delay time.Duration
	// Err is the handler's, for Dead, where the broker can carry a reason; may be nil.
	Err error
	// Outcome is set by Settle. The zero value is no outcome: a driver sets every one.
	Outcome Outcome
	// OutcomeErr is set by Settle for Again and Failed: why.
	OutcomeErr error
}

// Conclude sets the outcome of a settlement by the error that it came to: done where there
// is none, Lost for CodeLost, Again where waiting may heal it, else Failed.
func (v *Settlement) Conclude(done Outcome, err error) {
	v.OutcomeErr = err
	switch code := CodeOf(err); {
	case err == nil:
		v.Outcome = done
	case code == CodeLost:
		v.Outcome, v.OutcomeErr = Lost, nil
	case code.Heals():
		v.Outcome = Again
	default:
		v.Outcome = Failed
	}
}

// Verb is what a settlement asks for.
type Verb uint8

const (
	// Ack: handled; the broker forgets it.
	Ack Verb = iota + 1
	// Keep: the attempt failed, and the engine holds the delivery for the next one.
	// The broker keeps it leased, and counts the attempt where it can. The receipt
	// stays good.
	Keep
	// Retry: the attempt failed; the broker delivers it again, not before Delay.
	Retry
	// Return: it never started, or was postponed; the broker delivers it again at once, in its old
	// place, and does not count the attempt where it can.
	Return
	// Dead: the broker moves it to the native dead letter.
	Dead
)

// String returns the verb in lower case.
func (v Verb) String() string {
	switch v {
	case Ack:
		return "ack"
	case Keep:
		return "keep"
	case Retry:
		return "retry"
	case Return:
		return "return"
	case Dead:
		return "dead"
	default:
		return "none"
	}
}

// Outcome is what became of a settlement.
type Outcome uint8

const (
	// Confirmed: the broker said that it did so.
	Confirmed Outcome = iota + 1
	// Sent: it is on its way; this broker never confirms.
	Sent
	// Accepted: the Session has it, and the broker gets it with the next Commit.
	Accepted
	// Again: not done, and may work when tried again. The receipt stays good.
	Again
	// Lost: the receipt is no longer good; the message comes again, or came already.
	Lost
	// Failed: not done, and trying again does not help.
	Failed
)

// String returns the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case Confirmed:
		return "confirmed"
	case Sent:
		return "sent"
	case Accepted:
		return "accepted"
	case Again:
		return "again"
	case Lost:
		return "lost"
	case Failed:
		return "failed"
	default:
		return "none"
	}
}
