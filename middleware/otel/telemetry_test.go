package otel_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-go/waybill/middleware/otel"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

func TestBadInput(t *testing.T) {
	t.Parallel()
	if _, err := otel.New(otel.Options{Parent: 9}); pubsub.CodeOf(err) != pubsub.CodeInvalid {
		t.Errorf("unknown Parent: %v", err)
	}
	telemetry, err := otel.New(otel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := telemetry.Watch(nil); pubsub.CodeOf(err) != pubsub.CodeInvalid {
		t.Errorf("nil client: %v", err)
	}
}

// find returns the spans with a name.
func (r *rig) find(name string) []tracetest.SpanStub {
	var list []tracetest.SpanStub
	for _, s := range r.spans.GetSpans() {
		if s.Name == name {
			list = append(list, s)
		}
	}
	return list
}

func TestParents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		parent  otel.Parent
		ambient bool
		want    string // the name of the process span's parent
		links   int
	}{
		"publisher":                         {otel.ParentPublisher, false, "publish t", 1},
		"publisher gives way":               {otel.ParentPublisher, true, "service", 1},
		"publisher always":                  {otel.ParentPublisherAlways, false, "publish t", 1},
		"publisher always, links the other": {otel.ParentPublisherAlways, true, "publish t", 2},
		"context":                           {otel.ParentContext, true, "service", 1},
		"context without a span":            {otel.ParentContext, false, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, otel.Options{Parent: c.parent, NoSettleSpans: true})
				topic, s := r.publisher("t", pubsub.Queue()), r.subscriber("t", pubsub.Queue(), pubsub.DropPermanent())
				if err := topic.Publish(t.Context(), &pubsub.Message{}); err != nil {
					t.Fatal(err)
				}
				ctx := t.Context()
				if c.ambient {
					var span trace.Span
					ctx, span = r.tracer.Start(ctx, "service")
					defer span.End()
				}
				r.serve(ctx, pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error { return nil }))
				got := r.find("process t")
				if len(got) != 1 || len(got[0].Links) != c.links {
					t.Fatalf("process spans %+v", got)
				}
				parent := ""
				switch got[0].Parent.SpanID() {
				case trace.SpanID{}:
				case r.find("publish t")[0].SpanContext.SpanID():
					parent = "publish t"
				default:
					parent = "service"
				}
				if parent != c.want {
					t.Errorf("parent %q, want %q", parent, c.want)
				}
				if acks := r.find("ack t"); len(acks) != 0 {
					t.Errorf("settle spans: %v", acks)
				}
			})
		})
	}
}

// The classes of errors, on spans and metrics alike.
func TestFailures(t *testing.T) {
	t.Parallel()
	for class, handle := range map[string]pubsub.Handler{
		"failed":  func(context.Context, *pubsub.Delivery) error { return pubsub.Permanent(errBoom) },
		"panic":   func(context.Context, *pubsub.Delivery) error { panic("secret") },
		"timeout": func(context.Context, *pubsub.Delivery) error { return context.DeadlineExceeded },
		"unavailable": func(context.Context, *pubsub.Delivery) error {
			return driver.Errorf(pubsub.CodeUnavailable, "away")
		},
	} {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, otel.Options{})
				topic, s := r.publisher("t", pubsub.Queue()), r.subscriber("t", pubsub.Queue(), pubsub.DropPermanent(), pubsub.MaxAttempts(1))
				if err := topic.Publish(t.Context(), &pubsub.Message{}); err != nil {
					t.Fatal(err)
				}
				r.serve(t.Context(), pubsub.Handle(s, handle))
				tree := r.tree()
				if !strings.Contains(tree, "error.type="+class) || strings.Contains(tree, "secret") {
					t.Errorf("spans:\n%s", tree)
				}
				if m := r.metrics(); !strings.Contains(m, "messaging.process.duration s histogram {error.type="+class) {
					t.Errorf("metrics:\n%s", m)
				}
			})
		})
	}
}

func TestFailedPublishing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, otel.Options{System: "post"})
		topic := r.publisher("t")
		outcome := make(chan error, 1)
		topic.PublishAsync(t.Context(), &pubsub.Message{Headers: map[string]string{"": "x"}}, func(err error) { outcome <- err })
		if err := <-outcome; pubsub.CodeOf(err) != pubsub.CodeInvalid {
			t.Fatalf("outcome: %v", err)
		}
		if tree := r.tree(); !strings.Contains(tree, "error.type=invalid") || !strings.Contains(tree, "messaging.system=post") {
			t.Errorf("spans:\n%s", tree)
		}
		if m := r.metrics(); strings.Contains(m, "sent.messages") {
			t.Errorf("counted as sent, though it never was:\n%s", m)
		}
		if err := r.client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A message that is not sampled carries its context all the same, and makes no spans.
func TestUnsampled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, otel.Options{})
		topic, s := r.publisher("t", pubsub.Queue()), r.subscriber("t", pubsub.Queue(), pubsub.DropPermanent())
		ctx, _ := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("").Start(t.Context(), "request")
		if err := topic.Publish(ctx, &pubsub.Message{}); err != nil {
			t.Fatal(err)
		}
		var header string
		r.serve(t.Context(), pubsub.Handle(s, func(ctx context.Context, d *pubsub.Delivery) error {
			header = d.Headers["traceparent"]
			if got := trace.SpanContextFromContext(ctx).TraceID().String(); !strings.Contains(header, got) {
				t.Errorf("handler is in trace %s, the message in %s", got, header)
			}
			return nil
		}))
		if spans := r.spans.GetSpans(); len(spans) != 0 || !strings.HasSuffix(header, "-00") {
			t.Errorf("spans %v, traceparent %q", spans, header)
		}
	})
}

// A header that is no trace context is of no account.
func TestMalformedContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, otel.Options{})
		topic, s := r.publisher("t", pubsub.Queue()), r.subscriber("t", pubsub.Queue(), pubsub.DropPermanent())
		if err := topic.Publish(t.Context(), &pubsub.Message{Headers: map[string]string{"traceparent": "00-zz", "baggage": ",;="}}); err != nil {
			t.Fatal(err)
		}
		r.serve(t.Context(), pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error { return nil }))
		publish, process := r.find("publish t"), r.find("process t")
		if len(publish) != 1 || len(process) != 1 || process[0].Parent.SpanID() != publish[0].SpanContext.SpanID() {
			t.Errorf("spans:\n%s", r.tree())
		}
	})
}

func TestBatchesHaveASpanAMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, otel.Options{})
		topic, s := r.publisher("t", pubsub.Queue()), r.subscriber("t", pubsub.Queue(), pubsub.DropPermanent())
		if err := topic.Publish(t.Context(), &pubsub.Message{}, &pubsub.Message{}); err != nil {
			t.Fatal(err)
		}
		r.serve(t.Context(), pubsub.HandleBatch(s, pubsub.BatchPolicy{Messages: 2, Wait: time.Second},
			func(_ context.Context, batch []*pubsub.Delivery) []error { return make([]error, len(batch)) }))
		if got := len(r.find("process t")); got != 2 {
			t.Errorf("%d process spans, want 2", got)
		}
		for _, s := range r.find("process t") {
			if len(s.Links) != 1 || s.Parent.SpanID() != s.Links[0].SpanContext.SpanID() {
				t.Errorf("a process span does not belong to its own message: %+v", s)
			}
		}
	})
}

// The convention's metrics have its names, units and descriptions.
func TestMetricsAreTheConventions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, otel.Options{})
		topic, s := r.publisher("t", pubsub.Queue()), r.subscriber("t", pubsub.Queue(), pubsub.DropPermanent())
		if err := topic.Publish(t.Context(), &pubsub.Message{}); err != nil {
			t.Fatal(err)
		}
		r.serve(t.Context(), pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error { return nil }))
		want := map[string][2]string{}
		for _, m := range []interface {
			Name() string
			Unit() string
			Description() string
		}{messagingconv.ClientOperationDuration{}, messagingconv.ClientSentMessages{}, messagingconv.ClientConsumedMessages{}, messagingconv.ProcessDuration{}} {
			want[m.Name()] = [2]string{m.Unit(), m.Description()}
		}
		for _, m := range collect(t, r.reader) {
			if !strings.HasPrefix(m.Name, "messaging.") {
				continue
			}
			if w, ok := want[m.Name]; !ok || w != [2]string{m.Unit, m.Description} {
				t.Errorf("%s: unit %q, description %q; want %q", m.Name, m.Unit, m.Description, w)
			}
			delete(want, m.Name)
		}
		if len(want) > 0 {
			t.Errorf("missing: %v", want)
		}
	})
}

func collect(t *testing.T, reader *sdkmetric.ManualReader) []metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var list []metricdata.Metrics
	for _, s := range all.ScopeMetrics {
		list = append(list, s.Metrics...)
	}
	return list
}

func TestPostponedIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, otel.Options{})
		topic, s := r.publisher("t", pubsub.Queue()), r.subscriber("t", pubsub.Queue(), pubsub.DropPermanent())
		if err := topic.Publish(t.Context(), &pubsub.Message{}); err != nil {
			t.Fatal(err)
		}
		calls := 0
		r.serve(t.Context(), pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error {
			if calls++; calls == 1 {
				return pubsub.Postpone(time.Minute, errBoom)
			}
			return nil
		}))
		if spans := r.find("process t"); len(spans) != 2 || spans[0].Status.Code != codes.Unset {
			t.Errorf("process spans %+v", spans)
		}
		got := r.metrics()
		if !strings.Contains(got, "waybill.postponed {message} counter {messaging.destination.name=t,messaging.operation.name=process,messaging.system=memory} 1") ||
			strings.Contains(got, "error.type") {
			t.Errorf("metrics:\n%s", got)
		}
	})
}
