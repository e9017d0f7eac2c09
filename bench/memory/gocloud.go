package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/mempubsub"
)

func prepareGocloud(ctx context.Context, subscribers int, handled func()) (func(context.Context, []byte) error, func() error, error) {
	topic := mempubsub.NewTopic()
	receiving, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	list := make([]*pubsub.Subscription, subscribers)
	for i := range list {
		s := mempubsub.NewSubscription(topic, time.Minute)
		list[i] = s
		wait.Go(func() {
			for {
				m, err := s.Receive(receiving)
				if err != nil {
					return
				}
				handled()
				m.Ack()
			}
		})
	}
	publish := func(ctx context.Context, body []byte) error {
		return topic.Send(ctx, &pubsub.Message{Body: body})
	}
	stop := func() error {
		cancel()
		wait.Wait()
		var errs []error
		for _, s := range list {
			errs = append(errs, s.Shutdown(ctx))
		}
		return errors.Join(append(errs, topic.Shutdown(ctx))...)
	}
	return publish, stop, nil
}
