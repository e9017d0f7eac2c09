// Tracing is one trace through a broker: a checkout publishes an order, email and billing
// handle it, and billing fails once. What OpenTelemetry was told is drawn as a tree. The
// trace's context travels in the message's headers, on every broker.
//
//	BROKER=kafka go run ./examples/tracing
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	_ "github.com/waybill-go/waybill/drivers/gcppubsub"
	_ "github.com/waybill-go/waybill/drivers/kafka"
	_ "github.com/waybill-go/waybill/drivers/memory"
	_ "github.com/waybill-go/waybill/drivers/rabbitmq"
	_ "github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/middleware/otel"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

func main() {
	file := flag.String("config", "examples/tracing/tracing.yaml", "the configuration `file`")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *file); err != nil {
		fmt.Fprintln(os.Stderr, "tracing:", err)
		os.Exit(1)
	}
}

// run has an order handled, and draws its trace.
func run(ctx context.Context, w io.Writer, file string) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt)
	defer cancel()
	spans := tracetest.NewInMemoryExporter() // a service has one that sends them to a collector
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	telemetry, err := otel.New(otel.Options{TracerProvider: provider, NoSettleSpans: true})
	if err != nil {
		return err
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	client, err := cfg.Client(ctx, append(ledger.ThisRun(), telemetry.ClientOptions()...)...)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	routes, err := open(ctx, client, stop)
	if err != nil {
		return errors.Join(err, client.Close(ctx))
	}
	served := make(chan error, 1)
	go func() { served <- client.Serve(serving, routes...) }()
	if err := checkout(ctx, client, provider); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	if err := <-served; err != nil {
		return err
	}
	return draw(w, spans.GetSpans())
}

// open makes the two services. done is called when both have handled the order.
func open(ctx context.Context, client *config.Client, done func()) ([]pubsub.Route, error) {
	email, err := client.Subscriber(ctx, "email")
	if err != nil {
		return nil, err
	}
	billing, err := client.Subscriber(ctx, "billing")
	if err != nil {
		return nil, err
	}
	var left, calls atomic.Int32
	left.Store(2)
	handled := func() {
		if left.Add(-1) == 0 {
			done()
		}
	}
	return []pubsub.Route{
		pubsub.Handle(email, func(context.Context, *pubsub.Delivery) error {
			handled()
			return nil
		}),
		pubsub.Handle(billing, func(context.Context, *pubsub.Delivery) error {
			if calls.Add(1) == 1 {
				return errors.New("the bank is busy")
			}
			handled()
			return nil
		}),
	}, nil
}

// checkout publishes an order within a span, as an HTTP handler that is traced does.
func checkout(ctx context.Context, client *config.Client, provider *sdktrace.TracerProvider) error {
	orders, err := client.Publisher(ctx, "orders")
	if err != nil {
		return err
	}
	ctx, span := provider.Tracer("shop").Start(ctx, "POST /checkout")
	defer span.End()
	return orders.Publish(ctx, &pubsub.Message{ID: "7", Body: []byte("order 7")})
}
