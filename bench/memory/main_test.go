package main

import (
	"testing"

	"github.com/waybill-go/waybill/bench/measure"
)

// TestContenders sees that each handles everything; how fast is not a test's matter.
func TestContenders(t *testing.T) {
	for _, l := range libraries {
		for _, contender := range []measure.Contender{l.stream(1, 200), l.stream(10, 50), l.pingPong(50)} {
			if _, err := measure.Run(t.Context(), measure.Case{Name: l.who, Contenders: []measure.Contender{contender}}, 1); err != nil {
				t.Error(err)
			}
		}
	}
}
