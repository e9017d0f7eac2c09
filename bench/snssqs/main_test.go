package main

import (
	"testing"
	"time"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/testing/brokers"
)

// TestContenders sees that each handles everything; how fast is not a test's matter.
func TestContenders(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name(), func(t *testing.T) {
			t.Parallel()
			o := options{latency: time.Millisecond, messages: 200, many: 2_000}
			if !k.latency {
				o.broker = brokers.SNSSQS(t).URL
			}
			c, end, err := newCase(o, k)
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			if _, err := measure.Run(t.Context(), c, 1); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCasesAreKnown(t *testing.T) {
	t.Parallel()
	if chosen, err := choose("latency: consume,publish"); err != nil || len(chosen) != 2 || !chosen[0].latency {
		t.Errorf("got %v, %v", chosen, err)
	}
	if _, err := choose("consume,consme"); err == nil {
		t.Error("a case that does not exist was taken")
	}
	for _, l := range libraries {
		for name := range l.fewer {
			if _, err := choose(name); err != nil {
				t.Errorf("%s: %v", l.who, err)
			}
		}
	}
}
