package otel_test

import (
	"context"
	"fmt"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware/otel"
	"github.com/waybill-go/waybill/pubsub"
)

func ExampleNew() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	recorder := tracetest.NewSpanRecorder() // a real program exports its spans
	telemetry, err := otel.New(otel.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := pubsub.Open(ctx, "memory://otel-example", telemetry.ClientOptions()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, _ := client.Publisher(ctx, "orders")
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent())
	_ = orders.Publish(ctx, &pubsub.Message{ID: "7"})
	_ = client.Serve(ctx, pubsub.Handle(billing, func(context.Context, *pubsub.Delivery) error {
		stop()
		return nil
	}))
	trace := recorder.Ended()[0].SpanContext().TraceID()
	for _, s := range recorder.Ended() {
		fmt.Println(s.SpanKind(), s.Name(), s.SpanContext().TraceID() == trace)
	}
	// Output:
	// producer publish orders true
	// consumer process orders true
	// client ack orders true
}

func ExampleTelemetry_Watch() {
	ctx := context.Background()
	telemetry, _ := otel.New(otel.Options{})
	client, _ := pubsub.Open(ctx, "memory://otel-watch", telemetry.ClientOptions()...)
	stop, err := telemetry.Watch(client)
	fmt.Println(err)
	fmt.Println(stop(), client.Close(ctx))
	// Output:
	// <nil>
	// <nil> <nil>
}
