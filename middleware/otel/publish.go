package otel

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-go/waybill/pubsub"
)

// Publishing traces what is published, and sends the trace's context along. ClientOptions
// contains it.
func (t *Telemetry) Publishing() pubsub.PublisherOption {
	return pubsub.PublishMiddlewareFor(func(topic *pubsub.Topic) pubsub.PublishMiddleware {
		alike := seriesKey{operation: "publish", kind: topic.Kind(), topic: topic.Name()}
		return func(next pubsub.PublishFunc) pubsub.PublishFunc {
			return func(ctx context.Context, m *pubsub.Message, done func(error)) {
				creation, s := t.creation(m), t.series(alike)
				var span trace.Span
				if creation.IsValid() {
					ctx, span = t.tracer.Start(ctx, s.span, append(s.client[:len(s.client):len(s.client)], trace.WithLinks(trace.Link{SpanContext: creation}))...)
				} else {
					ctx, span = t.tracer.Start(ctx, s.span, s.start...)
					t.options.Propagator.Inject(ctx, carrier{m})
				}
				if span.IsRecording() {
					span.SetAttributes(of(m, nil)...)
				}
				next(ctx, m, func(err error) {
					fail(span, err, class(err))
					span.End()
					done(err)
				})
			}
		}
	})
}
