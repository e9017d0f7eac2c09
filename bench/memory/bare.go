package main

import (
	"bytes"
	"context"
	"sync"
)

// The baseline is what one writes by hand for the same promise: the publisher's
// bytes are copied once when they are stored, and again for each subscriber, and a
// subscriber's messages are in a map until they are acknowledged.

type bareSubscriber struct {
	messages chan []byte
	mu       sync.Mutex
	next     uint64
	inFlight map[uint64][]byte
}

func prepareBare(_ context.Context, subscribers int, handled func()) (func(context.Context, []byte) error, func() error, error) {
	var wait sync.WaitGroup
	list := make([]*bareSubscriber, subscribers)
	for i := range list {
		s := &bareSubscriber{messages: make(chan []byte, channelSize), inFlight: map[uint64][]byte{}}
		list[i] = s
		wait.Go(func() { s.receive(handled) })
	}
	publish := func(ctx context.Context, body []byte) error {
		stored := bytes.Clone(body)
		for _, s := range list {
			select {
			case s.messages <- stored:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	stop := func() error {
		for _, s := range list {
			close(s.messages)
		}
		wait.Wait()
		return nil
	}
	return publish, stop, nil
}

func (s *bareSubscriber) receive(handled func()) {
	for stored := range s.messages {
		body := bytes.Clone(stored)
		s.mu.Lock()
		s.next++
		tag := s.next
		s.inFlight[tag] = body
		s.mu.Unlock()

		handled()

		s.mu.Lock() // the acknowledgement
		delete(s.inFlight, tag)
		s.mu.Unlock()
	}
}
