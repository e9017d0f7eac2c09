// Package breaker stops a subscription from calling a service that fails, with the circuit
// breaker of github.com/sony/gobreaker.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/waybill-go/waybill/pubsub"
)

// A Breaker opens after several failures in a row, and then postpones messages without
// calling their handlers. After a while it lets one through, or a few, and closes if those
// succeed. Its methods may be called concurrently.
type Breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	opens   atomic.Pointer[time.Time] // when an open circuit lets something through again
	probe   time.Duration             // how long a message waits while others are let through
}

// Settings are gobreaker's. Its zero value opens after six failures in a row, for a minute,
// and then lets one message through.
//
// Unless IsSuccessful says otherwise, a failure is an error that asks for another attempt
// (pubsub.VerdictRetry). Permanent and Drop are about the message: what a handler calls
// has answered. Unless IsExcluded says otherwise, what was postponed, or whose context was
// canceled, counts as neither. Both get what the handler returned.
type Settings = gobreaker.Settings

// New makes a closed breaker.
func New(settings Settings) *Breaker {
	if settings.Timeout <= 0 {
		settings.Timeout = time.Minute
	}
	b := &Breaker{probe: min(settings.Timeout/10, time.Second)}
	if settings.IsSuccessful == nil {
		settings.IsSuccessful = successful
	}
	if settings.IsExcluded == nil {
		settings.IsExcluded = excluded
	}
	told := settings.OnStateChange
	settings.OnStateChange = func(name string, from, to gobreaker.State) {
		if to == gobreaker.StateOpen {
			until := time.Now().Add(settings.Timeout + 1) // the timeout must be over
			b.opens.Store(&until)
		}
		if told != nil {
			told(name, from, to)
		}
	}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](settings)
	return b
}

func successful(err error) bool {
	verdict, _ := pubsub.VerdictOf(err)
	return verdict != pubsub.VerdictRetry
}

func excluded(err error) bool {
	verdict, _ := pubsub.VerdictOf(err)
	return verdict == pubsub.VerdictPostpone || errors.Is(err, context.Canceled)
}

// errEnded is the failure of a handler that panicked, or ended its goroutine.
var errEnded = errors.New("handler did not return")

// Middleware puts the breaker around a handler. Several subscriptions that call the same
// service may share one. While it is open their messages are postponed until it may close,
// and no attempt is counted: they are in flight meanwhile, so that intake pauses when as many
// are as may be. List it inside of middleware.DeadLetter and of middleware.Retry.
func (b *Breaker) Middleware() pubsub.Middleware {
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) (err error) {
			done, refusal := b.circuit.Allow()
			if refusal != nil {
				return pubsub.Postpone(b.wait(), fmt.Errorf("handler is not called: %w", refusal))
			}
			result := errEnded
			defer func() { done(result) }()
			err = next(ctx, d)
			result = err
			return err
		}
	}
}

// State returns the state of the circuit.
func (b *Breaker) State() gobreaker.State { return b.circuit.State() }

// wait is how long a message waits that was not let through.
func (b *Breaker) wait() time.Duration {
	if opens := b.opens.Load(); opens != nil {
		return max(time.Until(*opens), b.probe)
	}
	return b.probe
}
