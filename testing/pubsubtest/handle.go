package pubsubtest

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

// Result is what a handler made of a delivery.
type Result struct {
	// Verdict is what the handler asked for.
	Verdict pubsub.Verdict
	// Delay is RetryAfter's; negative where the handler left it to the subscription.
	Delay time.Duration
	// Err is what the handler returned; a panic is a *pubsub.PanicError.
	Err error
}

// Handle runs a handler on one delivery, as a subscription would, without any
// broker. An Attempt of zero is the first. Wrap the handler in middleware to test
// both together.
func Handle(ctx context.Context, handler pubsub.Handler, d *pubsub.Delivery) Result {
	if d.Attempt == 0 {
		d.Attempt = 1
	}
	err := protect(ctx, handler, d)
	verdict, delay := pubsub.VerdictOf(err)
	return Result{Verdict: verdict, Delay: delay, Err: err}
}

func protect(ctx context.Context, handler pubsub.Handler, d *pubsub.Delivery) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &pubsub.PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return handler(ctx, d)
}
