package pubsub_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/pubsub"
)

// failing is a codec that does nothing but fail.
type failing struct{ err error }

func (c failing) Encode(string) (codec.Payload, error) { return codec.Payload{}, c.err }

func (c failing) Decode(codec.Payload) (string, error) { return "", c.err }

func TestTypedTellsAnUnavailableCodecFromABadBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err     error
		verdict pubsub.Verdict
		delay   time.Duration
		code    pubsub.Code
	}{
		{errBoom, pubsub.VerdictPermanent, -1, pubsub.CodeFailed},
		{fmt.Errorf("registry: %w", codec.ErrUnavailable), pubsub.VerdictPostpone, 5 * time.Second, pubsub.CodeUnavailable},
	} {
		handle := pubsub.Typed(failing{c.err}, func(context.Context, string, *pubsub.Delivery) error {
			t.Error("handled")
			return nil
		})
		if verdict, delay := pubsub.VerdictOf(handle(t.Context(), &pubsub.Delivery{})); verdict != c.verdict || delay != c.delay {
			t.Errorf("%v: %s after %v", c.err, verdict, delay)
		}
		p := pubsub.TypedPublisher[string]{Publisher: (*pubsub.Topic)(nil), Codec: failing{c.err}}
		if _, err := p.Message(""); pubsub.CodeOf(err) != c.code {
			t.Errorf("%v: %v, code %s", c.err, err, pubsub.CodeOf(err))
		}
	}
}
