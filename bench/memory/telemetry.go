package main

import (
	"context"
	"errors"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/waybill-go/waybill/middleware/otel"
)

// nowhere takes spans and drops them: what is measured is the making of them.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// prepareTelemetry is as prepareWaybill, with tracing and metrics. share is how many of the
// traces are sampled; the metrics see all.
func prepareTelemetry(share float64) func(context.Context, int, func()) (func(context.Context, []byte) error, func() error, error) {
	return func(ctx context.Context, subscribers int, handled func()) (func(context.Context, []byte) error, func() error, error) {
		traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(nowhere{}), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share))))
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
		telemetry, err := otel.New(otel.Options{TracerProvider: traces, MeterProvider: meters})
		if err != nil {
			return nil, nil, err
		}
		publish, stop, err := prepareClient(ctx, subscribers, handled, telemetry.ClientOptions()...)
		end := func() error { return errors.Join(stop(), traces.Shutdown(ctx), meters.Shutdown(ctx)) }
		return publish, end, err
	}
}
