package matrix_test

import (
	"os"
	"testing"

	_ "github.com/waybill-go/waybill/drivers/memory" // registers memory://
	"github.com/waybill-go/waybill/internal/matrix"
	"github.com/waybill-go/waybill/pubsub"
)

func TestMemoryColumn(t *testing.T) {
	t.Parallel()
	client, err := pubsub.Open(t.Context(), "memory://matrix")
	if err != nil {
		t.Fatal(err)
	}
	matrix.Check(t, "memory", client.Capabilities())
	if err := client.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A column that is wrong must fail, and name what is.
func TestWrongColumnFails(t *testing.T) {
	if os.Getenv("WAYBILL_UPDATE_DOCS") == "1" {
		t.Skip("it would write the wrong column")
	}
	t.Parallel()
	caught := &recorder{TB: t}
	matrix.Check(caught, "memory", pubsub.Capabilities{Broker: "a broker without anything"})
	if !caught.failed {
		t.Error("a column that claims what the broker lacks passed")
	}
}

type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
