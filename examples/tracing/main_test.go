package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// TestTracing wants the same tree on every broker.
func TestTracing(t *testing.T) {
	t.Parallel()
	program.On(t, func(t *testing.T, b program.Broker) {
		out, err := program.Run(t.Context(), b)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log("\n" + out)
		// The readers begin in any order.
		lines := strings.Split(strings.TrimSpace(regexp.MustCompile(`\S*traced-orders`).ReplaceAllString(out, "orders")), "\n")
		slices.Sort(lines[min(2, len(lines)):])
		if got := strings.Join(lines, "\n"); got != `POST /checkout
    publish orders
        process orders by tracing-billing: done
        process orders by tracing-billing: retry, the bank is busy
        process orders by tracing-email: done` {
			t.Error(got)
		}
	})
}
