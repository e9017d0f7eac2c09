package middleware

import (
	"context"
	"runtime/debug"

	"github.com/waybill-go/waybill/pubsub"
)

// Recover turns a panic of what is inside it into a *pubsub.PanicError, which is a
// failure like any other. A subscription does so by itself at the outside; Recover
// lets middleware around it see the error too.
func Recover() pubsub.Middleware {
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) (err error) {
			defer func() {
				if value := recover(); value != nil {
					err = &pubsub.PanicError{Value: value, Stack: debug.Stack()}
				}
			}()
			return next(ctx, d)
		}
	}
}
