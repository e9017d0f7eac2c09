package pubsub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// TypedPublisher publishes values of one type. Publisher and Codec must be set.
type TypedPublisher[T any] struct {
	// Publisher sends the messages.
	Publisher Publisher
	// Codec makes their bodies.
	Codec codec.Codec[T]
	// Key returns a value's ordering key; nil: messages have none.
	Key func(T) string
	// ID returns a value's message ID; nil: messages have none.
	ID func(T) string
}

// Message encodes a value. The codec's content type becomes the header
// content-type.
func (p *TypedPublisher[T]) Message(v T) (*Message, error) {
	if p.Publisher == nil || p.Codec == nil {
		return nil, invalid("typed publisher needs a Publisher and a Codec")
	}
	payload, err := p.Codec.Encode(v)
	switch {
	case errors.Is(err, codec.ErrUnavailable):
		return nil, driver.Wrap(CodeUnavailable, fmt.Sprintf("encode %T", v), err)
	case err != nil:
		return nil, driver.Wrap(CodeFailed, fmt.Sprintf("encode %T", v), err)
	}
	m := &Message{Body: payload.Body, Headers: maps.Clone(payload.Headers)}
	if payload.ContentType != "" {
		m.SetHeader(HeaderContentType, payload.ContentType)
	}
	if p.Key != nil {
		m.Key = p.Key(v)
	}
	if p.ID != nil {
		m.ID = p.ID(v)
	}
	return m, nil
}

// Publish encodes values and publishes them as Topic.Publish does. If one of them
// cannot be encoded, none is sent.
func (p *TypedPublisher[T]) Publish(ctx context.Context, values ...T) error {
	messages := make([]*Message, len(values))
	for i, v := range values {
		m, err := p.Message(v)
		if err != nil {
			return fail("publish", fmt.Sprintf("value %d", i), err)
		}
		messages[i] = m
	}
	if len(messages) == 0 {
		return nil
	}
	return p.Publisher.Publish(ctx, messages...)
}

// PublishAsync encodes a value and publishes it as Topic.PublishAsync does.
func (p *TypedPublisher[T]) PublishAsync(ctx context.Context, v T, done func(error)) {
	m, err := p.Message(v)
	switch {
	case err == nil:
		p.Publisher.PublishAsync(ctx, m, done)
	case done != nil:
		done(fail("publish", "", err))
	}
}

// codecDelay is how long a message waits for a codec that is unavailable.
const codecDelay = 5 * time.Second

// Typed makes a Handler of a function that handles values. A body that the codec
// cannot decode fails permanently: it would fail again. Where the codec is unavailable
// (codec.ErrUnavailable), the message is postponed by five seconds, and no attempt is
// counted. A nil codec or handle makes a nil Handler, which Receive refuses.
func Typed[T any](c codec.Codec[T], handle func(ctx context.Context, value T, d *Delivery) error) Handler {
	if c == nil || handle == nil {
		return nil
	}
	return func(ctx context.Context, d *Delivery) error {
		v, err := c.Decode(codec.Payload{Body: d.Body, ContentType: d.Headers[HeaderContentType], Headers: d.Headers})
		switch {
		case errors.Is(err, codec.ErrUnavailable):
			return Postpone(codecDelay, fmt.Errorf("decode %T: %w", v, err))
		case err != nil:
			return Permanent(fmt.Errorf("decode %T: %w", v, err))
		}
		return handle(ctx, v, d)
	}
}
