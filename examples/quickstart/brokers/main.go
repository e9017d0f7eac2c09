// The quickstart on any broker: the same program as beside it, with every driver
// linked in, and the broker named by its URL.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/examples/quickstart/shop"
)

func main() {
	broker := flag.String("broker", "memory://quickstart", "the broker's `URL`")
	orders := flag.Int("orders", 20, "how many orders to place")
	flag.Parse()
	if err := shop.Run(context.Background(), os.Stdout, *broker, *orders); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}
