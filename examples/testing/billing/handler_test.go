package billing

import (
	"context"
	"errors"
	"testing"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// bankFunc is a bank of one function.
type bankFunc func(ctx context.Context, o Order) error

func (f bankFunc) Charge(ctx context.Context, o Order) error { return f(ctx, o) }

// TestVerdicts runs the handler on single messages, without any broker.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body     string
		bank     error
		publish  error
		want     pubsub.Verdict
		receipts int
	}{
		"paid":                {`{"Number":7,"Customer":"ada","Cents":100}`, nil, nil, pubsub.VerdictDone, 1},
		"refused":             {`{"Number":7,"Customer":"ada","Cents":100}`, ErrRefused, nil, pubsub.VerdictPermanent, 0},
		"the bank is away":    {`{"Number":7,"Customer":"ada","Cents":100}`, errors.New("away"), nil, pubsub.VerdictRetry, 0},
		"for nothing":         {`{"Number":7,"Customer":"ada"}`, nil, nil, pubsub.VerdictPermanent, 0},
		"no order":            {`Seven of them, please`, nil, nil, pubsub.VerdictPermanent, 0},
		"the receipt is lost": {`{"Number":7,"Customer":"ada","Cents":100}`, nil, errors.New("no broker"), pubsub.VerdictRetry, 0},
	} {
		var receipts pubsubtest.Recorder // stands in for the topic
		receipts.FailWith(c.publish)
		s := Service{
			Bank:     bankFunc(func(context.Context, Order) error { return c.bank }),
			Receipts: pubsub.TypedPublisher[Receipt]{Publisher: &receipts, Codec: codec.JSON[Receipt]()},
		}
		order := &pubsub.Delivery{Message: pubsub.Message{Body: []byte(c.body)}}
		got := pubsubtest.Handle(t.Context(), pubsub.Typed(codec.JSON[Order](), s.Charge), order)
		if got.Verdict != c.want || len(receipts.Messages()) != c.receipts {
			t.Errorf("%s: %v (%v), %d receipts; want %v, %d", name, got.Verdict, got.Err, len(receipts.Messages()), c.want, c.receipts)
		}
	}
}
