package middleware

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// A DeduplicationStore remembers which messages were handled, and which are being handled.
// Its methods may be called concurrently, by several processes where it is shared. What
// has expired is as if it had never been.
type DeduplicationStore interface {
	// Claim takes id for owner, for as long as the lease, unless it was marked, or is claimed
	// by another. Who has it already extends it: the lease counts from now. It is atomic.
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
	// Lease is for how long a claim holds off others; default a minute. It is extended each
	// third of that while the handler runs, so it is not a limit for handlers: after a crash
	// the message waits until it is over, and a store may be away for so long.
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

// ErrClaimLost is the cause of a handler's context when its claim ran out, because the store
// could not be asked in time, and another took the message then.
var ErrClaimLost error = driver.Errorf(pubsub.CodeLost, "deduplicate: another handles the same message: the claim could not be extended in time")

// Deduplicate handles a message once where it comes several times, such as when a
// publisher did not learn that it was stored and published it again, or when an
// acknowledgement was lost. Messages are told apart by topic, group and ID, so publishers
// must set Message.ID; a message without one is handled each time.
//
// A message is claimed in the store before its handler runs, and marked after the handler
// succeeded or dropped it. A message that is marked is settled without the handler. One
// that another member or another worker has claimed is postponed by a second at a time, so
// that it is not lost if that one fails. A handler that failed gives its claim up. The claim is
// extended while the handler runs, as long as its context lasts.
//
// What remains: two can handle the same message at a time if one goes on for longer than the
// Lease after its context has ended, or cannot reach the store for so long; where the other
// has taken the message, the first one's context ends with ErrClaimLost. And what a handler
// did before a crash is done again: to rule that out, a handler has to record the ID in the
// transaction of its own writes.
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
	claim, err := p.claim(ctx, id, owner)
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
	running, end := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { p.keep(running, id, owner, end) })
	defer func() {
		end(nil)
		keeping.Wait() // or it would take again what is given up
		if !done {
			_ = p.ask(kept, func(ctx context.Context) error { return p.store.Release(ctx, id, owner) }) // else it expires
		}
	}()
	err = next(running, d)
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

// claim takes or extends a claim.
func (p *deduplication) claim(ctx context.Context, id, owner string) (claim Claim, err error) {
	err = p.ask(ctx, func(ctx context.Context) (err error) {
		claim, err = p.store.Claim(ctx, id, owner, p.Lease)
		return err
	})
	return claim, err
}

// keep extends a claim until ctx ends, and ends it where another has the message. While the
// store fails, it tries on: others cannot claim anything then either.
func (p *deduplication) keep(ctx context.Context, id, owner string, end context.CancelCauseFunc) {
	next := time.NewTicker(max(p.Lease/3, time.Millisecond))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		// A call that is cut may come true after the claim was given up.
		claim, err := p.claim(context.WithoutCancel(ctx), id, owner)
		if err == nil && claim != ClaimTaken {
			end(ErrClaimLost)
			return
		}
	}
}

// ask bounds a call of the store.
func (p *deduplication) ask(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	return call(ctx)
}
