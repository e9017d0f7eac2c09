// Package millreader reads by Watermill's router, for the benchmarks of all brokers.
package millreader

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// Reader runs a router. The zero value reads nothing.
type Reader struct {
	router *message.Router
	done   chan error
}

// Read starts a router of so many handlers, each with a subscription of its own, that have
// a message handled and acknowledge it. It returns when all are subscribed.
func (r *Reader) Read(ctx context.Context, topic string, s message.Subscriber, handlers int, handled func()) error {
	var err error
	if r.router, err = message.NewRouter(message.RouterConfig{}, watermill.NopLogger{}); err != nil {
		return err
	}
	for i := range handlers {
		r.router.AddConsumerHandler(fmt.Sprint("reader-", i), topic, s, func(*message.Message) error {
			handled()
			return nil
		})
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.router.Run(ctx) }()
	<-r.router.Running()
	return nil
}

// Close ends the router, and its subscriber with it.
func (r *Reader) Close() error {
	if r.done == nil {
		return nil
	}
	return errors.Join(r.router.Close(), <-r.done)
}
