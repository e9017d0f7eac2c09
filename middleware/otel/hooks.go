package otel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// hooks measure what middleware does not see, and trace settlements.
type hooks struct{ *Telemetry }

var (
	_ pubsub.PublishHook = hooks{}
	_ pubsub.HandleHook  = hooks{}
	_ pubsub.SettleHook  = hooks{}
	_ pubsub.LeaseHook   = hooks{}
	_ pubsub.StallHook   = hooks{}
	_ pubsub.ConnectHook = hooks{}
)

// OnPublish counts what went to the broker.
func (h hooks) OnPublish(i pubsub.PublishInfo) {
	s := h.series(seriesKey{operation: "publish", kind: i.Kind, topic: i.Topic, failure: class(i.Err)})
	h.instruments.operation.Record(context.Background(), i.Took.Seconds(), s.record...)
	h.instruments.sent.Add(context.Background(), 1, s.add...)
}

// OnHandle counts attempts, and what they asked for.
func (h hooks) OnHandle(i pubsub.HandleInfo) {
	ctx, d := context.Background(), i.Delivery
	verdict, reason := outcome(d, i.Err)
	k := seriesKey{operation: "process", side: consuming, topic: d.Topic, group: d.Group}
	s := h.series(k)
	h.instruments.consumed.Add(ctx, 1, s.add...)
	if reason != nil {
		k.failure = failure(reason)
		s = h.series(k)
	}
	h.instruments.process.Record(ctx, i.Took.Seconds(), s.record...)
	switch verdict {
	case "retry":
		h.instruments.retries.Add(ctx, 1, s.add...)
	case "postpone":
		h.instruments.postponed.Add(ctx, 1, s.add...)
	case "dead_lettered":
		h.instruments.deadLetters.Add(ctx, 1, s.add...)
	case "drop":
		h.instruments.dropped.Add(ctx, 1, s.add...)
	}
}

// OnSettle measures and traces a settlement. A Keep does not go to the broker.
func (h hooks) OnSettle(i pubsub.SettleInfo) {
	if i.Verb == driver.Keep {
		return
	}
	ctx, d := context.Background(), i.Delivery
	failed := settleFailure(i)
	s := h.series(seriesKey{operation: i.Verb.String(), side: consuming, settles: true, topic: d.Topic, group: d.Group, failure: failed})
	h.instruments.operation.Record(ctx, i.Took.Seconds(), s.record...)
	h.trace(i, s, failed)
	if failed != "" {
		return
	}
	if i.Verb == driver.Dead {
		h.instruments.deadLetters.Add(ctx, 1, s.add...)
	}
	if (i.Verb == driver.Ack || i.Verb == driver.Dead) && !d.PublishTime.IsZero() {
		h.instruments.critical.Record(ctx, max(time.Since(d.PublishTime), 0).Seconds(), s.record...)
	}
}

// settleFailure is error.type of a settlement.
func settleFailure(i pubsub.SettleInfo) string {
	switch {
	case i.Outcome == driver.Confirmed, i.Outcome == driver.Sent, i.Outcome == driver.Accepted:
		return ""
	case i.Err != nil:
		return class(i.Err)
	default:
		return i.Outcome.String()
	}
}

// trace makes the span of a settlement, which is over already.
func (h hooks) trace(i pubsub.SettleInfo, s *series, failed string) {
	if h.options.NoSettleSpans {
		return
	}
	d := i.Delivery
	at, ok := d.Value(tracesKey{}).(*traces)
	if !ok { // it is not sampled, or never started
		if i.Verb != driver.Return {
			return
		}
		creation := h.creation(&d.Message)
		at = &traces{creation, creation}
	}
	if !at.process.IsSampled() {
		return
	}
	end := time.Now()
	_, span := h.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), at.process), s.span,
		append(s.start[:len(s.start):len(s.start)], trace.WithTimestamp(end.Add(-i.Took)))...)
	if span.IsRecording() {
		if at.creation.IsValid() {
			span.AddLink(trace.Link{SpanContext: at.creation})
		}
		span.SetAttributes(of(&d.Message, nil)...)
	}
	if failed != "" {
		err := i.Err
		if err == nil {
			err = driver.Errorf(pubsub.CodeLost, "settlement: %s", i.Outcome.String())
		}
		fail(span, err, failed)
	}
	span.End(trace.WithTimestamp(end))
}

// OnLease counts leases that were lost.
func (h hooks) OnLease(i pubsub.LeaseInfo) {
	if i.Lost > 0 {
		h.instruments.lost.Add(context.Background(), int64(i.Lost), h.series(seriesKey{side: consuming, topic: i.Topic, group: i.Group}).add...)
	}
}

// OnStall counts stalls.
func (h hooks) OnStall(i pubsub.StallInfo) {
	h.instruments.stalls.Add(context.Background(), 1, h.series(seriesKey{side: consuming, topic: i.Topic, group: i.Group}).add...)
}

// OnConnect learns which broker it is, and counts failures.
func (h hooks) OnConnect(i pubsub.ConnectInfo) {
	if i.Broker != "" {
		h.learn(i.Broker)
	}
	if i.Err != nil {
		h.instruments.unreached.Add(context.Background(), 1, h.series(seriesKey{side: consuming, failure: class(i.Err)}).add...)
	}
}
