package pubsubtest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/waybill-go/waybill/pubsub"
)

// Recorder is a pubsub.Publisher that remembers what was published and sends
// nothing. Its zero value is ready; its methods may be called concurrently.
type Recorder struct {
	mu       sync.Mutex
	messages []*pubsub.Message
	err      error
	changed  chan struct{}
}

var _ pubsub.Publisher = (*Recorder)(nil)

// Publish remembers copies of the messages, unless FailWith says otherwise.
func (r *Recorder) Publish(ctx context.Context, messages ...*pubsub.Message) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	for _, m := range messages {
		c := *m
		c.Headers, c.Body = maps.Clone(m.Headers), bytes.Clone(m.Body)
		r.messages = append(r.messages, &c)
	}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return nil
}

// PublishAsync remembers a copy of the message, and calls done before it returns.
func (r *Recorder) PublishAsync(ctx context.Context, m *pubsub.Message, done func(error)) {
	err := r.Publish(ctx, m)
	if done != nil {
		done(err)
	}
}

// FailWith makes publishing fail with err, until FailWith(nil).
func (r *Recorder) FailWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Messages returns what was published so far, in order.
func (r *Recorder) Messages() []*pubsub.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Wait waits until n messages were published, and returns them all. It fails with
// the context's cause.
func (r *Recorder) Wait(ctx context.Context, n int) ([]*pubsub.Message, error) {
	for {
		r.mu.Lock()
		if len(r.messages) >= n {
			defer r.mu.Unlock()
			return slices.Clone(r.messages), nil
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return r.Messages(), context.Cause(ctx)
		}
	}
}
