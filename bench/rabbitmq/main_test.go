package main

import (
	"testing"

	"github.com/waybill-go/waybill/bench/measure"
	"github.com/waybill-go/waybill/testing/brokers"
)

// TestContenders sees that each handles everything; how fast is not a test's matter.
func TestContenders(t *testing.T) {
	t.Parallel()
	broker := brokers.RabbitMQ(t)
	for _, kind := range []string{"quorum", "classic"} {
		for _, name := range everywhere {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				c := newCase(options{broker: broker.URL, messages: 800}, kind, name)
				if _, err := measure.Run(t.Context(), c, 1); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
