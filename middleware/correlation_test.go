package middleware_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
)

func TestCorrelationIDGoesFromMessageToMessage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		delivery pubsub.Message
		message  pubsub.Message
		want     string // empty: anything
	}{
		"of the header":          {pubsub.Message{ID: "7", Headers: map[string]string{middleware.HeaderCorrelationID: "c"}}, pubsub.Message{}, "c"},
		"of the ID":              {pubsub.Message{ID: "7"}, pubsub.Message{}, "7"},
		"made":                   {pubsub.Message{}, pubsub.Message{}, ""},
		"the message's own wins": {pubsub.Message{ID: "7"}, pubsub.Message{Headers: map[string]string{middleware.HeaderCorrelationID: "own"}}, "own"},
	} {
		got, outcomes := "", 0
		publish := middleware.PublishCorrelationID()(func(_ context.Context, m *pubsub.Message, done func(error)) {
			got = m.Headers[middleware.HeaderCorrelationID]
			done(nil)
		})
		err := middleware.CorrelationID()(func(ctx context.Context, _ *pubsub.Delivery) error {
			publish(ctx, &c.message, func(error) { outcomes++ })
			return nil
		})(t.Context(), &pubsub.Delivery{Message: c.delivery})
		if err != nil || outcomes != 1 || got == "" || c.want != "" && got != c.want {
			t.Errorf("%s: %q, %d outcomes, %v", name, got, outcomes, err)
		}
	}
	middleware.PublishCorrelationID()(func(_ context.Context, m *pubsub.Message, _ func(error)) {
		if len(m.Headers) != 0 {
			t.Errorf("headers %v out of nothing", m.Headers)
		}
	})(t.Context(), &pubsub.Message{}, nil)
}

func TestValidateRefusesForGood(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want pubsub.Verdict
	}{
		"valid":     {nil, pubsub.VerdictDone},
		"invalid":   {errBoom, pubsub.VerdictPermanent},
		"permanent": {pubsub.Permanent(errBoom), pubsub.VerdictPermanent},
		"dropped":   {pubsub.Drop(errBoom), pubsub.VerdictDrop},
		"later":     {pubsub.RetryAfter(time.Second, errBoom), pubsub.VerdictRetry},
	} {
		handled := false
		err := middleware.Validate(func(context.Context, *pubsub.Delivery) error { return c.err })(func(context.Context, *pubsub.Delivery) error {
			handled = true
			return nil
		})(t.Context(), delivery())
		if verdict, _ := pubsub.VerdictOf(err); verdict != c.want || handled != (c.err == nil) || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, handled %t", name, err, handled)
		}
	}
	if err := middleware.Validate(nil)(fails(nil))(t.Context(), delivery()); err != nil {
		t.Errorf("without a check: %v", err)
	}
}

func TestValidatePublish(t *testing.T) {
	t.Parallel()
	sent := 0
	next := func(_ context.Context, _ *pubsub.Message, done func(error)) {
		sent++
		done(nil)
	}
	for _, c := range []struct {
		check func(context.Context, *pubsub.Message) error
		code  error
		sent  int
	}{
		{nil, nil, 1},
		{func(context.Context, *pubsub.Message) error { return nil }, nil, 2},
		{func(context.Context, *pubsub.Message) error { return errBoom }, errBoom, 2},
	} {
		outcomes := 0
		middleware.ValidatePublish(c.check)(next)(t.Context(), &pubsub.Message{}, func(err error) {
			outcomes++
			if !errors.Is(err, c.code) || err != nil && pubsub.CodeOf(err) != pubsub.CodeInvalid {
				t.Errorf("outcome %v", err)
			}
		})
		if outcomes != 1 || sent != c.sent {
			t.Errorf("%d outcomes, %d sent", outcomes, sent)
		}
	}
}
