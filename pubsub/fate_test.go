package pubsub_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// A driver that tells a fate again when the next message is under way, or one of no message,
// confirms nothing that it did not store, and is named in the log.
func TestFatesThatAreToldTwice(t *testing.T) {
	type fate = func(int, driver.Fate, error)
	for _, direct := range []bool{false, true} {
		for name, again := range map[string]func(fate){
			"again":             func(f fate) { f(0, driver.Stored, nil) },
			"again and again":   func(f fate) { f(0, driver.Stored, nil); f(0, driver.Refused, errBoom) },
			"of the next":       func(f fate) { f(1, driver.Stored, nil) },
			"of the one before": func(f fate) { f(-1, driver.Stored, nil) },
		} {
			t.Run(fmt.Sprint(name, ", direct=", direct), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := newScripted(driver.Capabilities{SendNeverBlocks: direct})
					var logs bytes.Buffer
					c := b.client(t, pubsub.Logger(slog.New(slog.NewTextHandler(&logs, nil))))
					topic := open(t, c)
					var before []fate
					b.send = func(n int, batch []driver.Message, f fate) {
						for _, f := range before {
							again(f)
						}
						before = append(before, f)
						if n%2 == 1 {
							all(driver.Stored, nil)(n, batch, f)
							return
						}
						all(driver.Refused, errBoom)(n, batch, f)
					}
					publish := func(want bool) {
						t.Helper()
						if err := topic.Publish(t.Context(), &pubsub.Message{}); (err == nil) != want {
							t.Errorf("Publish %d: %v, stored: %t", len(before), err, want)
						}
					}
					publish(true)
					synctest.Wait()
					if direct { // what is told again while nothing is under way shows it
						again(before[0])
					}
					for range 5 {
						publish(false)
						publish(true)
					}
					if got := logs.String(); strings.Count(got, "fault of the driver") != 1 || !strings.Contains(got, "broker=scripted") {
						t.Errorf("logs: %s", got)
					}
					closeAll(t, c)
				})
			})
		}
	}
}
