package pubsub

import (
	"context"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A value is attached to one attempt at a delivery.
type value struct {
	key, value any
	next       *value
}

// SetValue attaches a value to this attempt, for middleware further out and for
// hooks, which have no context of the handler's. Keys are compared as those of
// contexts are: use a type of your own. A value is not part of the message, and is gone
// at the next attempt. Only middleware and the handler may set one, before they return.
func (d *Delivery) SetValue(key, v any) {
	for at := d.values; at != nil; at = at.next {
		if at.key == key {
			at.value = v
			return
		}
	}
	d.values = &value{key, v, d.values}
}

// Value returns what SetValue attached, or nil.
func (d *Delivery) Value(key any) any {
	for at := d.values; at != nil; at = at.next {
		if at.key == key {
			return at.value
		}
	}
	return nil
}

type (
	failureKey      struct{}
	deadLetteredKey struct{}
)

// DeadLettered returns why the subscription's dead-letter middleware took the
// message, and nil if it did not. Middleware outside of it sees success, as do the
// hooks; this tells them apart. Dead letters of the broker's own are settlements with
// the verb Dead instead.
func (d *Delivery) DeadLettered() error {
	err, _ := d.Value(deadLetteredKey{}).(error)
	return err
}

// noteFailure remembers what the dead-letter middleware around it was told.
func noteFailure(d *Delivery, err error) {
	if err != nil || d.values != nil {
		d.SetValue(failureKey{}, err)
	}
}

var errTaken error = driver.Errorf(CodeFailed, "the dead-letter middleware took it before its handler, as one that follows another")

// noteDeadLetter goes around a dead-letter middleware: a failure that it made a
// success of was dead-lettered, and so was what it let not through.
func noteDeadLetter(next Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		err := next(ctx, d)
		switch reason := d.Value(failureKey{}); {
		case err != nil:
		case reason != nil:
			d.SetValue(deadLetteredKey{}, reason)
		case !d.reached:
			d.SetValue(deadLetteredKey{}, errTaken)
		}
		return err
	}
}
