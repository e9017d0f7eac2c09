package middleware

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

// A DeduplicationStore remembers which messages were handled, and which are being handled.
// Its methods may be called concurrently, by several processes where it is shared. What
// has expired is as if it had never been.
type DeduplicationStore interface {
	// Claim takes id for owner, for as long as the lease, unless it was marked, or is claimed
	// by another. It is atomic.
	Claim(ctx context.Context, id, owner string, lease time.Duration) (Claim, error)
	// Mark remembers for as long as keep that id was handled, whoever has a claim to it.
	Mark(ctx context.Context, id string, keep time.Duration) error
	// Release gives up owner's claim to id. It does nothing where owner has none.
	Release(ctx context.Context, id, owner string) error
}

// Claim is what became of a claim.
type Claim uint8

const (
	// ClaimTaken: it is the caller's.
	ClaimTaken Claim = iota
	// ClaimHandled: the message was handled already.
	ClaimHandled
	// ClaimBusy: another has it.
	ClaimBusy
)

// String returns the claim in lower case.
func (c Claim) String() string {
	switch c {
	case ClaimHandled:
		return "handled"
	case ClaimBusy:
		return "busy"
	default:
		return "taken"
	}
}

// DeduplicatePolicy is how Deduplicate tells messages apart. Its zero value is useful.
type DeduplicatePolicy struct {
	// ID names a message among those of its topic and group; default: its ID. A message
	// without a name is handled each time that it comes.
	ID func(*pubsub.Delivery) string
	// Keep is for how long a handled message is remembered; default a day. It should be
	// longer than a duplicate may be on its way.
	Keep time.Duration
	// Lease is for how long a claim holds off others while the handler runs; default a
	// minute. It should be longer than the handler takes. After a crash the message waits
	// until it is over.
	Lease time.Duration
	// Timeout bounds each call of the store; default 5 s.
	Timeout time.Duration
	// Logger is told of duplicates, at debug, and where a handled message could not be
	// marked, at warn; default slog.Default.
	Logger *slog.Logger
}

// busyDelay is how long a message waits for who handles it, or for a store that fails.
const busyDelay = time.Second

var errBusy = errors.New("the same message is being handled")

// Deduplicate handles a message once where it comes several times, such as when a
// publisher did not learn that it was stored and published it again, or when an
// acknowledgement was lost. Messages are told apart by topic, group and ID, so publishers
// must set Message.ID; a message without one is handled each time.
//
// A message is claimed in the store before its handler runs, and marked after the handler
// succeeded or dropped it. A message that is marked is settled without the handler. One
// that another member or another worker has claimed is postponed by a second at a time, so
// that it is not lost if that one fails. A handler that failed gives its claim up. Two can
// handle the same message at a time only if one takes longer than the Lease. What a handler
// did before a crash is done again: to rule that out, a handler has to record the ID
// in the transaction of its own writes.
//
// While the store fails, messages are postponed, and no attempt is counted. If a handled
// message cannot be marked, that is tried once more, and then a warning is logged. List
// Deduplicate after DeadLetter, so that dead letters are not marked and can be sent back.
// A nil store makes a value that opening a subscription refuses.
func Deduplicate(store DeduplicationStore, policy DeduplicatePolicy) pubsub.Middleware {
	if store == nil {
		return nil
	}
	p := deduplication{DeduplicatePolicy: policy, store: store}
	if p.ID == nil {
		p.ID = func(d *pubsub.Delivery) string { return d.ID }
	}
	if p.Keep <= 0 {
		p.Keep = 24 * time.Hour
	}
	if p.Lease <= 0 {
		p.Lease = time.Minute
	}
	if p.Timeout <= 0 {
		p.Timeout = 5 * time.Second
	}
	if p.Logger == nil {
		p.Logger = slog.Default()
	}
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			if id := p.ID(d); id != "" {
				return p.once(ctx, d, next, url.PathEscape(d.Topic)+"/"+url.PathEscape(d.Group)+"/"+id)
			}
			return next(ctx, d)
		}
	}
}

type deduplication struct {
	DeduplicatePolicy
	store DeduplicationStore
}

// once handles a message unless that was done, or is.
func (p *deduplication) once(ctx context.Context, d *pubsub.Delivery, next pubsub.Handler, id string) error {
	owner := rand.Text()
	var claim Claim
	err := p.ask(ctx, func(ctx context.Context) (err error) {
		claim, err = p.store.Claim(ctx, id, owner, p.Lease)
		return err
	})
	switch {
	case err != nil:
		return pubsub.Postpone(busyDelay, fmt.Errorf("deduplicate: %w", err))
	case claim == ClaimHandled:
		p.Logger.DebugContext(ctx, "waybill: duplicate", "topic", d.Topic, "group", d.Group, "id", d.ID, "attempt", d.Attempt)
		return nil
	case claim == ClaimBusy:
		return pubsub.Postpone(min(busyDelay, p.Lease), errBusy)
	}
	done := false
	// The message may have been taken back, and the context ended by that: what is done is done.
	kept := context.WithoutCancel(ctx)
	defer func() {
		if !done {
			_ = p.ask(kept, func(ctx context.Context) error { return p.store.Release(ctx, id, owner) }) // else it expires
		}
	}()
	err = next(ctx, d)
	if verdict, _ := pubsub.VerdictOf(err); verdict != pubsub.VerdictDone && verdict != pubsub.VerdictDrop {
		return err
	}
	done = true
	mark := func(ctx context.Context) error { return p.store.Mark(ctx, id, p.Keep) }
	if failure := p.ask(kept, mark); failure != nil {
		if failure = p.ask(kept, mark); failure != nil {
			p.Logger.WarnContext(ctx, "waybill: a handled message is not marked, a duplicate of it will be handled too",
				"topic", d.Topic, "group", d.Group, "id", d.ID, "error", failure)
		}
	}
	return err
}

// ask bounds a call of the store.
func (p *deduplication) ask(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	return call(ctx)
}
