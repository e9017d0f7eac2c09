package pubsubtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

func TestRecorder(t *testing.T) {
	t.Parallel()
	var r pubsubtest.Recorder
	down := errors.New("down")
	r.FailWith(down)
	if err := r.Publish(t.Context(), &pubsub.Message{}); !errors.Is(err, down) {
		t.Errorf("got %v, want the error that was set", err)
	}
	r.FailWith(nil)
	body := []byte("a")
	go r.PublishAsync(t.Context(), &pubsub.Message{Body: body}, nil)
	got, err := r.Wait(t.Context(), 1)
	if err != nil || string(got[0].Body) != "a" {
		t.Fatalf("%v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.Wait(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

func TestHandleTurnsAPanicIntoAnError(t *testing.T) {
	t.Parallel()
	r := pubsubtest.Handle(t.Context(), func(context.Context, *pubsub.Delivery) error { panic("x") }, &pubsub.Delivery{})
	var p *pubsub.PanicError
	if r.Verdict != pubsub.VerdictRetry || !errors.As(r.Err, &p) {
		t.Fatalf("got %+v", r)
	}
}

func TestTrackerSaysWhoIsBehind(t *testing.T) {
	t.Parallel()
	var tracker pubsubtest.Tracker
	tracker.OnPublish(pubsub.PublishInfo{Topic: "t"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := tracker.Wait(ctx, "t", "g"); err == nil || err.Error() != "t/g has settled 0 of 1 messages: context deadline exceeded" {
		t.Errorf("got %v", err)
	}
}
