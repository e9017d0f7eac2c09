package otel

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	global "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Scope is the name of the tracer and of the meter.
const Scope = "github.com/waybill-go/waybill/middleware/otel"

// Telemetry traces and measures one client. A second client needs one of its own: it
// learns from its client which broker it is on. Its methods may be called concurrently.
type Telemetry struct {
	options     Options
	tracer      trace.Tracer
	meter       metric.Meter
	instruments instruments
	broker      atomic.Pointer[string]

	mu    sync.Mutex // of whoever adds to known
	known atomic.Pointer[map[seriesKey]*series]
}

// New makes the telemetry of one client. It fails with CodeInvalid on an unknown Parent, and
// where the meter refuses an instrument.
func New(options Options) (*Telemetry, error) {
	if options.Parent > ParentContext {
		return nil, driver.Errorf(pubsub.CodeInvalid, "otel: Parent is none of ParentPublisher, ParentPublisherAlways, ParentContext")
	}
	if options.TracerProvider == nil {
		options.TracerProvider = global.GetTracerProvider()
	}
	if options.MeterProvider == nil {
		options.MeterProvider = global.GetMeterProvider()
	}
	if options.Propagator == nil {
		options.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	t := &Telemetry{
		options: options,
		tracer:  options.TracerProvider.Tracer(Scope, trace.WithSchemaURL(semconv.SchemaURL)),
		meter:   options.MeterProvider.Meter(Scope, metric.WithSchemaURL(semconv.SchemaURL)),
	}
	t.known.Store(&map[seriesKey]*series{})
	var err error
	if t.instruments, err = newInstruments(t.meter); err != nil {
		return nil, driver.Wrap(pubsub.CodeInvalid, "otel: the meter refuses an instrument", err)
	}
	return t, nil
}

// ClientOptions are all of it, for pubsub.Open: the hooks, and the middleware on both
// sides, outside of what comes after them. List them first.
func (t *Telemetry) ClientOptions() []pubsub.ClientOption {
	return []pubsub.ClientOption{
		pubsub.Observe(hooks{t}),
		pubsub.PublisherDefaults(t.Publishing()),
		pubsub.SubscriberDefaults(t.Processing()),
	}
}

// system is the attribute messaging.system.
func (t *Telemetry) system(s side, kind driver.Kind) attribute.KeyValue {
	if t.options.System != "" {
		return semconv.MessagingSystemKey.String(t.options.System)
	}
	broker := ""
	if b := t.broker.Load(); b != nil {
		broker = *b
	}
	return system(broker, s, kind)
}

// of adds the attributes of one message to those that all of its spans have.
func of(m *pubsub.Message, list []attribute.KeyValue) []attribute.KeyValue {
	if m.ID != "" {
		list = append(list, semconv.MessagingMessageID(m.ID))
	}
	if id := m.Headers[middleware.HeaderCorrelationID]; id != "" {
		list = append(list, semconv.MessagingMessageConversationID(id))
	}
	return list
}

// creation is the context that a message was published with; not valid if there is none.
func (t *Telemetry) creation(m *pubsub.Message) trace.SpanContext {
	if len(m.Headers) == 0 {
		return trace.SpanContext{} // to extract nothing costs as much as to extract something
	}
	return trace.SpanContextFromContext(t.options.Propagator.Extract(context.Background(), carrier{m}))
}

// links is the link to a creation context.
func links(creation trace.SpanContext) []trace.Link {
	if !creation.IsValid() {
		return nil
	}
	return []trace.Link{{SpanContext: creation}}
}

// fail marks a span as failed.
func fail(span trace.Span, err error, class string) {
	if err == nil {
		return
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(class))
	span.SetStatus(codes.Error, err.Error())
}

// class is error.type of an error of the library.
func class(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(pubsub.CodeOf(err).String(), " ", "_")
}

// failure is error.type of a handler's error.
func failure(err error) string {
	if err == nil {
		return ""
	}
	var panicked *pubsub.PanicError
	switch {
	case errors.As(err, &panicked):
		return "panic"
	case errors.Is(err, middleware.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	if pubsub.CodeOf(err) == pubsub.CodeInternal {
		return "failed"
	}
	return class(err)
}
