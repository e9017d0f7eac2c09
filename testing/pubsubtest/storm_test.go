package pubsubtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

func TestStormOfDisconnections(t *testing.T) {
	t.Parallel()
	b, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	pubsubtest.Storm{
		Driver: b, Topic: "t", Rounds: 100,
		Fault: func(context.Context) error {
			b.Disconnect(nil)
			return nil
		},
	}.Run(t)
}

var errFault = errors.New("the broker does not start again")

// A storm ends with what is wrong, within its patience: where the fault failed, and where
// publishing has no outcomes.
func TestStormThatCannotGoOnEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault error
		keys  int
		want  string
	}{
		"the fault fails":                     {errFault, 2, "fault: " + errFault.Error()},
		"the fault fails and publishers wait": {errFault, 100, "fault: " + errFault.Error()},
		"no outcomes":                         {nil, 2, "have no outcome"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			memory, err := memory.New(memory.Config{})
			if err != nil {
				t.Fatal(err)
			}
			gone := make(chan struct{})
			d := &broken{Driver: memory, send: func(s driver.Topic, ctx context.Context, b []driver.Message, fate func(int, driver.Fate, error)) {
				select {
				case <-gone: // nobody answers any more
				default:
					s.Send(ctx, b, fate)
				}
			}}
			failed, output := pubsubtest.RunStorm(t, pubsubtest.Storm{
				Driver: d, Topic: "t", Rounds: 20, Pace: time.Millisecond, Keys: c.keys, Patience: 2 * time.Second,
				Fault: func(context.Context) error {
					close(gone)
					return c.fault
				},
			})
			if !failed || !strings.Contains(output, c.want) {
				t.Errorf("failed: %t, want %q in:\n%s", failed, c.want, output)
			}
		})
	}
}
