// The quickstart on any broker: the same program as beside it, with every driver
// linked in, and the broker named by its URL.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"

	_ "github.com/waybill-go/waybill/drivers/gcppubsub"
	_ "github.com/waybill-go/waybill/drivers/kafka"
	_ "github.com/waybill-go/waybill/drivers/memory"
	_ "github.com/waybill-go/waybill/drivers/rabbitmq"
	_ "github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/examples/quickstart/shop"
)

func main() {
	broker := flag.String("broker", fromEnvironment(), "the broker's `URL`")
	orders := flag.Int("orders", 20, "how many orders to place")
	flag.Parse()
	if err := shop.Run(context.Background(), os.Stdout, *broker, *orders); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// fromEnvironment is the broker that testing/brokers has started, if it has.
func fromEnvironment() string {
	return cmp.Or(
		os.Getenv("WAYBILL_RABBITMQ_URL"), os.Getenv("WAYBILL_KAFKA_URL"),
		os.Getenv("WAYBILL_GCPPUBSUB_URL"), os.Getenv("WAYBILL_SNSSQS_URL"),
		"memory://quickstart")
}
