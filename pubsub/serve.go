package pubsub

import (
	"context"
	"errors"
	"sync"
)

// A Route is a subscription with what handles it.
type Route struct {
	receive func(context.Context) error
}

// Handle makes a Route of a subscriber and its handler.
func Handle(s Subscriber, handler Handler) Route {
	if s == nil {
		return Route{}
	}
	return Route{func(ctx context.Context) error { return s.Receive(ctx, handler) }}
}

// HandleBatch makes a Route of a subscription and a handler of batches.
func HandleBatch(s *Subscription, policy BatchPolicy, handler BatchHandler) Route {
	if s == nil {
		return Route{}
	}
	return Route{func(ctx context.Context) error { return s.ReceiveBatch(ctx, policy, handler) }}
}

// Serve receives on several subscriptions together, until ctx ends or one of them
// fails; then all are drained. It returns nil when ctx ended and every drain was
// clean, else what failed. Without any route it fails at once.
func Serve(ctx context.Context, routes ...Route) error {
	if len(routes) == 0 {
		return fail("serve", "", invalid("there is no route, so nothing would be received: give one for each subscription, made by Handle or HandleBatch"))
	}
	for _, r := range routes {
		if r.receive == nil {
			return fail("serve", "", invalid("a route has no subscription: use Handle or HandleBatch"))
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(routes))
	var wait sync.WaitGroup
	for i, r := range routes {
		wait.Go(func() {
			if errs[i] = r.receive(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Serve is a whole service's life: it receives on its subscriptions as the function
// Serve does, and closes the client when they have drained: first the handlers end,
// then what they published is confirmed, then the connection closes, within ten
// seconds more.
func (c *Client) Serve(ctx context.Context, routes ...Route) error {
	err := Serve(ctx, routes...)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(err, c.Close(closing))
}
