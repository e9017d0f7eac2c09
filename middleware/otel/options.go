package otel

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Options are for one client. The zero value is useful.
type Options struct {
	// TracerProvider and MeterProvider are whose spans and metrics these are; default:
	// OpenTelemetry's global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Propagator writes contexts into headers and reads them; default: W3C trace context
	// and baggage, whatever the global one is.
	Propagator propagation.TextMapPropagator
	// System is the attribute messaging.system; default: what the broker says that it is.
	System string
	// Attributes are added to every span and metric, such as server.address.
	Attributes []attribute.KeyValue
	// Parent says whose children process spans are.
	Parent Parent
	// NoSettleSpans leaves the spans of settlements out; their metrics stay.
	NoSettleSpans bool
}

// Parent is whose child a process span is. It links to the message's creation context in
// any case.
type Parent uint8

const (
	// ParentPublisher continues the publisher's trace, unless the handler's context has a
	// span already, whose child it is then.
	ParentPublisher Parent = iota
	// ParentPublisherAlways continues the publisher's trace, and links to a span that the
	// handler's context has already.
	ParentPublisherAlways
	// ParentContext is the span of the handler's context; without one a trace begins.
	ParentContext
)
