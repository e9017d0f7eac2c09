package main

import (
	"testing"

	"github.com/waybill-go/waybill/bench/measure"
)

// TestContenders sees that each handles everything; how fast is not a test's matter.
func TestContenders(t *testing.T) {
	t.Parallel()
	for _, name := range everywhere {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := measure.Run(t.Context(), newCase(name, 2000, ""), 1); err != nil {
				t.Error(err)
			}
		})
	}
}
