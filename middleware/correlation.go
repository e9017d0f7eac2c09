package middleware

import (
	"context"
	"crypto/rand"

	"github.com/waybill-go/waybill/pubsub"
)

// HeaderCorrelationID is the header that names what messages belong to: a request, an
// order, a conversation.
const HeaderCorrelationID = "correlation-id"

// correlationKey is the correlation ID's in a context.
type correlationKey struct{}

// WithCorrelationID returns a context in which what is published belongs to id.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey{}, id)
}

// CorrelationIDOf returns the correlation ID of a context; empty if it has none.
func CorrelationIDOf(ctx context.Context) string {
	id, _ := ctx.Value(correlationKey{}).(string)
	return id
}

// CorrelationID puts a message's correlation ID into its handler's context, where
// CorrelationIDOf and PublishCorrelationID find it. A message without one begins a new
// correlation: its own ID is it, or a random one, the same at each attempt only where the
// message has an ID.
func CorrelationID() pubsub.Middleware {
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			id := d.Headers[HeaderCorrelationID]
			if id == "" {
				id = d.ID
			}
			if id == "" {
				id = rand.Text()
			}
			return next(WithCorrelationID(ctx, id), d)
		}
	}
}

// PublishCorrelationID gives a message the correlation ID of the context that it is published
// in. A message that has one keeps it; one without any, in a context without any, goes as it
// is.
func PublishCorrelationID() pubsub.PublishMiddleware {
	return func(next pubsub.PublishFunc) pubsub.PublishFunc {
		return func(ctx context.Context, m *pubsub.Message, done func(error)) {
			if id := CorrelationIDOf(ctx); id != "" && m.Headers[HeaderCorrelationID] == "" {
				m.SetHeader(HeaderCorrelationID, id)
			}
			next(ctx, m, done)
		}
	}
}
