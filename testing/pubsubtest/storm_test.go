package pubsubtest_test

import (
	"context"
	"testing"

	"github.com/waybill-go/waybill/drivers/memory"
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
