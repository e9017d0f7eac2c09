// The quickstart shows both uses of a broker in one process: orders that many
// services each get, and images that one worker each takes. It runs on the
// in-memory broker; quickstart/brokers is the same on any other.
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
	orders := flag.Int("orders", 20, "how many orders to place")
	flag.Parse()
	if err := shop.Run(context.Background(), os.Stdout, "memory://quickstart", *orders); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}
