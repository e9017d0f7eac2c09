package main

import (
	"strings"
	"testing"

	"github.com/waybill-go/waybill/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// TestSocial writes on every broker. The program checks its counts itself, and that the slow reader
// held nobody back: it would wait for ever.
func TestSocial(t *testing.T) {
	t.Parallel()
	program.On(t, func(t *testing.T, b program.Broker) {
		out, err := program.Run(t.Context(), b, "-posts", "500")
		if err != nil || !strings.Contains(out, "feed and notification have read everything") {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log("\n" + out)
	})
}
