package otel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-go/waybill/pubsub"
)

// The attributes beyond the convention's.
const (
	// AttemptKey is the attempt that a process span is about.
	AttemptKey = attribute.Key("waybill.attempt")
	// VerdictKey is what the attempt asked for: a pubsub.Verdict, or "dead_lettered".
	VerdictKey = attribute.Key("waybill.verdict")
)

// tracesKey attaches traces to a delivery, for its settlement.
type tracesKey struct{}

// traces are the contexts of an attempt.
type traces struct{ process, creation trace.SpanContext }

// Processing traces handlers, as spans that continue the publishers' traces. ClientOptions
// contains it.
func (t *Telemetry) Processing() pubsub.Middleware {
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) (err error) {
			ctx, creation, linked := t.enter(ctx, &d.Message)
			s := t.series(seriesKey{operation: "process", side: consuming, topic: d.Topic, group: d.Group})
			start := s.start
			if len(linked) > 0 { // a sampler may want to see what is not the parent
				start = append(start[:len(start):len(start)], trace.WithLinks(linked...))
			}
			ctx, span := t.tracer.Start(ctx, s.span, start...)
			var own []attribute.KeyValue // as the message came: the handler may change it
			if span.IsRecording() {
				if len(linked) == 0 && creation.IsValid() {
					span.AddLink(trace.Link{SpanContext: creation})
				}
				own = of(&d.Message, append(make([]attribute.KeyValue, 0, 4), AttemptKey.Int(d.Attempt)))
			}
			if !t.options.NoSettleSpans && span.SpanContext().IsSampled() {
				d.SetValue(tracesKey{}, &traces{span.SpanContext(), creation})
			}
			returned := false
			defer func() {
				if !returned { // a panic, which the subscription makes an error of
					span.SetAttributes(own...)
					fail(span, errPanicked, "panic")
				}
				span.End()
			}()
			err = next(ctx, d)
			returned = true
			if span.IsRecording() {
				verdict, reason := outcome(d, err)
				span.SetAttributes(append(own, VerdictKey.String(verdict))...)
				fail(span, reason, failure(reason))
			}
			return err
		}
	}
}

// errPanicked is told without the panic's value, which may be anything.
var errPanicked = errors.New("handler panicked")

// outcome says what became of an attempt, and why if it failed.
func outcome(d *pubsub.Delivery, err error) (verdict string, reason error) {
	if dead := d.DeadLettered(); dead != nil {
		return "dead_lettered", dead
	}
	v, _ := pubsub.VerdictOf(err)
	if v == pubsub.VerdictPostpone { // it was not tried
		return v.String(), nil
	}
	return v.String(), err
}

// enter prepares the context that a process span starts from, and what it links to
// beside the creation context that is its parent.
func (t *Telemetry) enter(ctx context.Context, m *pubsub.Message) (context.Context, trace.SpanContext, []trace.Link) {
	ambient := trace.SpanContextFromContext(ctx)
	extracted := t.options.Propagator.Extract(ctx, carrier{m})
	var creation trace.SpanContext
	if ambient.IsValid() { // else what was extracted is the message's
		creation = t.creation(m)
	} else {
		creation = trace.SpanContextFromContext(extracted)
	}
	switch {
	case t.options.Parent == ParentContext, t.options.Parent == ParentPublisher && ambient.IsValid():
		// The baggage is the message's, the parent is not.
		return trace.ContextWithSpan(extracted, trace.SpanFromContext(ctx)), creation, links(creation)
	case ambient.IsValid() && creation.IsValid():
		return extracted, creation, []trace.Link{{SpanContext: creation}, {SpanContext: ambient}}
	}
	return extracted, creation, nil
}
