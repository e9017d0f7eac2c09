package otel_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/middleware/otel"
	"github.com/waybill-go/waybill/pubsub"
)

var update = flag.Bool("update", false, "write the golden files anew")

var errBoom = errors.New("no such customer")

// rig is a client on the memory driver, observed.
type rig struct {
	t         *testing.T
	spans     *tracetest.InMemoryExporter
	tracer    trace.Tracer
	reader    *sdkmetric.ManualReader
	telemetry *otel.Telemetry
	client    *pubsub.Client
}

func newRig(t *testing.T, options otel.Options, more ...pubsub.ClientOption) *rig {
	t.Helper()
	r := &rig{t: t, spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.spans))
	r.tracer = traces.Tracer("test")
	options.TracerProvider, options.MeterProvider = traces, sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))
	var err error
	if r.telemetry, err = otel.New(options); err != nil {
		t.Fatal(err)
	}
	broker, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	more = append(more, pubsub.Logger(slog.New(slog.DiscardHandler)))
	if r.client, err = pubsub.New(t.Context(), broker, append(r.telemetry.ClientOptions(), more...)...); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) publisher(topic string, options ...pubsub.PublisherOption) *pubsub.Topic {
	r.t.Helper()
	p, err := r.client.Publisher(r.t.Context(), topic, options...)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rig) subscriber(topic string, options ...pubsub.SubscriberOption) *pubsub.Subscription {
	r.t.Helper()
	s, err := r.client.Subscriber(r.t.Context(), topic, options...)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// serve receives for an hour of virtual time, and closes the client.
func (r *rig) serve(ctx context.Context, routes ...pubsub.Route) {
	r.t.Helper()
	ctx, stop := context.WithTimeout(ctx, time.Hour)
	defer stop()
	if err := r.client.Serve(ctx, routes...); err != nil {
		r.t.Error(err)
	}
}

// tree draws all spans, children beneath their parents, in the order of their starts.
func (r *rig) tree() string {
	all := r.spans.GetSpans()
	names := map[trace.SpanID]string{}
	for i := range all {
		names[all[i].SpanContext.SpanID()] = all[i].Name
	}
	slices.SortStableFunc(all, func(a, b tracetest.SpanStub) int {
		if c := a.StartTime.Compare(b.StartTime); c != 0 {
			return c
		}
		return strings.Compare(a.Name+fmt.Sprint(a.Attributes), b.Name+fmt.Sprint(b.Attributes))
	})
	var out strings.Builder
	var draw func(parent trace.SpanID, depth int)
	draw = func(parent trace.SpanID, depth int) {
		for i := range all {
			s := &all[i]
			if s.Parent.SpanID() != parent {
				continue
			}
			indent := strings.Repeat("    ", depth)
			fmt.Fprintf(&out, "%s%s (%s, %v)", indent, s.Name, s.SpanKind, s.EndTime.Sub(s.StartTime))
			if s.Status.Code != codes.Unset {
				fmt.Fprintf(&out, " %s: %s", s.Status.Code, s.Status.Description)
			}
			out.WriteByte('\n')
			for _, a := range sorted(s.Attributes) {
				fmt.Fprintf(&out, "%s  | %s=%s\n", indent, a.Key, a.Value.String())
			}
			for _, l := range s.Links {
				fmt.Fprintf(&out, "%s  ~ link to %s\n", indent, names[l.SpanContext.SpanID()])
			}
			draw(s.SpanContext.SpanID(), depth+1)
		}
	}
	draw(trace.SpanID{}, 0)
	return out.String()
}

func sorted(list []attribute.KeyValue) []attribute.KeyValue {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b attribute.KeyValue) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return list
}

// metrics lists what was measured.
func (r *rig) metrics() string {
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(r.t.Context(), &all); err != nil {
		r.t.Fatal(err)
	}
	var lines []string
	line := func(m metricdata.Metrics, kind string, set attribute.Set, value string) {
		lines = append(lines, fmt.Sprintf("%s %s %s {%s} %s", m.Name, m.Unit, kind, set.Encoded(attribute.DefaultEncoder()), value))
	}
	for _, scope := range all.ScopeMetrics {
		if scope.Scope.Name != otel.Scope || scope.Scope.SchemaURL == "" {
			r.t.Errorf("scope %+v", scope.Scope)
		}
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					line(m, "counter", p.Attributes, fmt.Sprint(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					line(m, "gauge", p.Attributes, fmt.Sprint(p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					line(m, "histogram", p.Attributes, fmt.Sprintf("count %d, sum %.3f", p.Count, p.Sum))
				}
			default:
				r.t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and look at the difference. Got:\n%s", path, got)
	}
}

// TestFromARequestToADeadLetter is one trace: a request publishes an order, two groups
// handle it, one of them fails, tries again and dead-letters it, and the dead letter is read.
func TestFromARequestToADeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, otel.Options{Attributes: []attribute.KeyValue{attribute.String("server.address", "broker.example")}})
		dead := r.publisher("orders-dead", pubsub.Queue())
		orders := r.publisher("orders")
		email := r.subscriber("orders", pubsub.Group("email"), pubsub.DropPermanent())
		billing := r.subscriber("orders", pubsub.Group("billing"), pubsub.RetryBackoff(pubsub.Backoff{Min: time.Second, Jitter: -1}),
			middleware.DeadLetter(dead, middleware.DeadLetterPolicy{MaxAttempts: 2}))
		letters := r.subscriber("orders-dead", pubsub.Queue(), pubsub.DropPermanent())

		checkout := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			ctx, span := r.tracer.Start(request.Context(), request.Method+" "+request.URL.Path, trace.WithSpanKind(trace.SpanKindServer))
			defer span.End()
			if err := orders.Publish(ctx, &pubsub.Message{ID: "7", Body: []byte("order 7"), Headers: map[string]string{middleware.HeaderCorrelationID: "cart-3"}}); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/checkout", nil)
		checkout.ServeHTTP(httptest.NewRecorder(), request)

		stop, err := r.telemetry.Watch(r.client)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the message waits for its readers
		before := r.metrics()
		takes := func(d time.Duration, err error) pubsub.Handler {
			return func(context.Context, *pubsub.Delivery) error {
				time.Sleep(d)
				return err
			}
		}
		r.serve(t.Context(), pubsub.Handle(email, takes(time.Millisecond, nil)),
			pubsub.Handle(billing, takes(2*time.Millisecond, errBoom)),
			pubsub.Handle(letters, takes(3*time.Millisecond, nil)))
		golden(t, "testdata/trace.golden", r.tree())
		golden(t, "testdata/metrics.golden", before+"\nafterwards\n\n"+r.metrics())
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
