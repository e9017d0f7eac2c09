package main

import (
	"testing"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/testing/brokers"
)

// TestContenders sees that each handles everything; how fast is not a test's matter.
func TestContenders(t *testing.T) {
	t.Parallel()
	broker := brokers.SNSSQS(t)
	for _, name := range everywhere {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, end, err := newCase(broker.URL, name, 200)
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
