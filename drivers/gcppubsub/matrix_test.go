package gcppubsub_test

import (
	"testing"

	"github.com/waybill-go/waybill/internal/matrix"
	"github.com/waybill-go/waybill/testing/brokers"
)

func TestMatrix(t *testing.T) {
	t.Parallel()
	c, err := from(t, brokers.GCPPubSub(t).URL, "").Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	matrix.Check(t, "Google Pub/Sub", c.Capabilities())
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
