// The shop is the quickstart by configuration: orders are events that email, inventory,
// billing and analytics each get, images are tasks that one of three workers takes, and
// one file says on which broker, and what becomes of failures. The code says names alone.
//
//	go run ./examples/shop -config examples/shop/kafka.yaml
//	go run ./cmd/waybill plan -f examples/shop/kafka.yaml
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	_ "github.com/waybill-go/waybill/drivers/gcppubsub"
	_ "github.com/waybill-go/waybill/drivers/kafka"
	_ "github.com/waybill-go/waybill/drivers/memory"
	_ "github.com/waybill-go/waybill/drivers/rabbitmq"
	_ "github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/pubsub/config"
)

func main() {
	file := flag.String("config", "examples/shop/memory.yaml", "the configuration `file`")
	orders := flag.Int("orders", 60, "how many orders to place, 30 or more")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *file, max(*orders, 30)); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run plays the shop, tells w about it, and returns an error unless everybody got what
// they should, in the order of each customer.
func run(ctx context.Context, w io.Writer, file string, orders int) error {
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
	book := ledger.New(w)
	routes, err := services(ctx, client, book, orders)
	if err != nil {
		return errors.Join(err, client.Close(ctx))
	}
	err = ledger.Play(ctx, client, routes, func(ctx context.Context) error {
		if err := sell(ctx, client, orders); err != nil {
			return err
		}
		return book.Wait(ctx)
	})
	return errors.Join(err, book.Report())
}
