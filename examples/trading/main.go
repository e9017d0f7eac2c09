// Trading is about latency: each signal goes to execution, notification and a log, in the
// order of its symbol, and the program tells how long that took from publishing to handler.
//
//	BROKER=rabbitmq go run ./examples/trading
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/waybill-go/waybill/codec"
	_ "github.com/waybill-go/waybill/drivers/gcppubsub"
	_ "github.com/waybill-go/waybill/drivers/kafka"
	_ "github.com/waybill-go/waybill/drivers/memory"
	_ "github.com/waybill-go/waybill/drivers/rabbitmq"
	_ "github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// Signal is an event, trade_signal. Its symbol is its key.
type Signal struct {
	Symbol string
	Number int // from 1; 0 rings the opening bell
	Sent   time.Time
}

var symbols = []string{"ALV", "BAS", "DTE", "MUV2", "SAP", "SIE", "VOW3", "ZAL"}

func main() {
	file := flag.String("config", "examples/trading/trading.yaml", "the configuration `file`")
	n := flag.Int("signals", 1000, "how many signals to send")
	every := flag.Duration("every", 5*time.Millisecond, "how often")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *file, max(*n, 1), max(*every, time.Microsecond)); err != nil {
		fmt.Fprintln(os.Stderr, "trading:", err)
		os.Exit(1)
	}
}

// run trades for a while, and returns an error unless every reader got every signal, in
// the order of its symbol.
func run(ctx context.Context, w io.Writer, file string, n int, every time.Duration) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt)
	defer cancel()
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	client, err := cfg.Client(ctx, ledger.ThisRun()...)
	if err != nil {
		return err
	}
	f := newFloor(n)
	routes, err := f.open(ctx, client)
	if err != nil {
		return errors.Join(err, client.Close(ctx))
	}
	err = ledger.Play(ctx, client, routes, func(ctx context.Context) error {
		return f.trade(ctx, client, n, every)
	})
	return errors.Join(err, f.report(w))
}

// trade rings the bell for each symbol, and sends signals when all have heard it: what is
// measured is not how long it takes to connect.
func (f *floor) trade(ctx context.Context, client *config.Client, n int, every time.Duration) error {
	topic, err := client.Publisher(ctx, "signals")
	if err != nil {
		return err
	}
	signals := pubsub.TypedPublisher[Signal]{
		Publisher: topic, Codec: codec.JSON[Signal](),
		Key: func(s Signal) string { return s.Symbol },
	}
	for _, symbol := range symbols {
		if err := signals.Publish(ctx, Signal{Symbol: symbol}); err != nil {
			return err
		}
	}
	if err := f.bell.Wait(ctx); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	next := time.NewTicker(every)
	defer next.Stop()
	for i := range n {
		select {
		case <-next.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		// Async, so that a slow confirmation does not hold back the next signal.
		s := Signal{Symbol: symbols[i%len(symbols)], Number: i + 1, Sent: time.Now()}
		signals.PublishAsync(ctx, s, func(err error) {
			if err != nil {
				fail(err)
				return
			}
			f.stored.since(s.Sent)
		})
	}
	return f.book.Wait(ctx)
}
