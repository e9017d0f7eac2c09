package main

import (
	"testing"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/testing/brokers"
)

// TestContenders sees that each handles everything; how fast is not a test's matter.
func TestContenders(t *testing.T) {
	t.Parallel()
	broker := brokers.Kafka(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			c, end, err := newCase(t.Context(), options{broker: broker.URL, messages: 2000}, k)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := measure.Run(t.Context(), c, 1); err != nil {
				t.Error(err)
			}
			if err := end(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCasesAreKnown(t *testing.T) {
	t.Parallel()
	if _, err := choose("consume,consme"); err == nil {
		t.Error("a case that does not exist was taken")
	}
	for _, l := range libraries {
		for name := range l.share {
			if _, err := choose(name); err != nil {
				t.Errorf("%s: %v", l.who, err)
			}
		}
	}
}
