package otel_test

import (
	"context"
	"log/slog"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware/otel"
	"github.com/waybill-go/waybill/pubsub"
)

// nowhere takes spans and drops them.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// BenchmarkMessage is a message from Publish to its settlement, on the memory driver.
func BenchmarkMessage(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{"none": nil, "never": sdktrace.NeverSample(), "always": sdktrace.AlwaysSample()} {
		b.Run("sampled="+name, func(b *testing.B) {
			var options []pubsub.ClientOption
			if sampler != nil {
				traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(nowhere{}), sdktrace.WithSampler(sdktrace.ParentBased(sampler)))
				meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
				defer func() { _ = traces.Shutdown(context.Background()) }()
				telemetry, err := otel.New(otel.Options{TracerProvider: traces, MeterProvider: meters})
				if err != nil {
					b.Fatal(err)
				}
				options = telemetry.ClientOptions()
			}
			broker, err := memory.New(memory.Config{BacklogMessages: 1024})
			if err != nil {
				b.Fatal(err)
			}
			client, err := pubsub.New(b.Context(), broker, append(options, pubsub.Logger(slog.New(slog.DiscardHandler)))...)
			if err != nil {
				b.Fatal(err)
			}
			topic, err := client.Publisher(b.Context(), "t")
			if err != nil {
				b.Fatal(err)
			}
			s, err := client.Subscriber(b.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Concurrency(1))
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			left := b.N
			done := make(chan error, 1)
			go func() {
				done <- client.Serve(ctx, pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error {
					if left--; left == 0 {
						stop()
					}
					return nil
				}))
			}()
			body := make([]byte, 256)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := topic.Publish(b.Context(), &pubsub.Message{Body: body}); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
