package otel

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// seriesKey says which series of an instrument a measurement belongs to, and which
// spans are alike.
type seriesKey struct {
	operation    string
	topic, group string
	failure      string
	state        string
	kind         driver.Kind
	side         side
	settles      bool
}

// series is what its measurements and spans have in common, in the shapes that the
// instruments and the tracer take, so that nothing is made for each message.
type series struct {
	record  []metric.RecordOption
	add     []metric.AddOption
	observe []metric.ObserveOption

	span   string                  // the name of its spans
	start  []trace.SpanStartOption // of a span
	client []trace.SpanStartOption // of a publish span that is no creation context
}

// series returns what belongs to a key, which is made once.
func (t *Telemetry) series(k seriesKey) *series {
	if s := (*t.known.Load())[k]; s != nil {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.known.Load()
	if s := old[k]; s != nil {
		return s
	}
	s := t.newSeries(k)
	known := make(map[seriesKey]*series, len(old)+1)
	for k, s := range old {
		known[k] = s
	}
	known[k] = s
	t.known.Store(&known)
	return s
}

func (t *Telemetry) newSeries(k seriesKey) *series {
	common := append([]attribute.KeyValue{t.system(k.side, k.kind)}, t.options.Attributes...)
	add := func(key attribute.Key, value string) {
		if value != "" {
			common = append(common, key.String(value))
		}
	}
	add(semconv.MessagingOperationNameKey, k.operation)
	add(semconv.MessagingDestinationNameKey, k.topic)
	add(semconv.MessagingConsumerGroupNameKey, k.group)
	common = common[:len(common):len(common)]
	kind, operation := trace.SpanKindConsumer, semconv.MessagingOperationTypeProcess
	switch {
	case k.settles:
		kind, operation = trace.SpanKindClient, semconv.MessagingOperationTypeSettle
	case k.side == publishing:
		kind, operation = trace.SpanKindProducer, semconv.MessagingOperationTypeSend
	}
	attributes := trace.WithAttributes(append(common, operation)...)
	s := &series{
		span:   k.operation + " " + k.topic,
		start:  []trace.SpanStartOption{trace.WithSpanKind(kind), attributes},
		client: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), attributes},
	}
	add(semconv.ErrorTypeKey, k.failure)
	add(StateKey, k.state)
	if k.settles || k.side == publishing { // the convention has no type for the metrics of processing
		common = append(common, operation)
	}
	set := metric.WithAttributeSet(attribute.NewSet(common...))
	s.record, s.add, s.observe = []metric.RecordOption{set}, []metric.AddOption{set}, []metric.ObserveOption{set}
	return s
}

// learn remembers the broker. What was made before may name another.
func (t *Telemetry) learn(broker string) {
	if last := t.broker.Swap(&broker); last != nil && *last == broker {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known.Store(&map[seriesKey]*series{})
}
