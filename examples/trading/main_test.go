package main

import (
	"strings"
	"testing"

	"github.com/waybill-go/waybill/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// TestTrading trades on every broker. The program checks its counts and its order itself.
func TestTrading(t *testing.T) {
	t.Parallel()
	program.On(t, func(t *testing.T, b program.Broker) {
		out, err := program.Run(t.Context(), b, "-signals", "300")
		if err != nil || !strings.Contains(out, "P99") {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log("\n" + out)
	})
}
