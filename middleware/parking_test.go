package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/pubsubtest"

	_ "github.com/waybill-go/waybill/drivers/memory"
)

// TestParkedKeyFollows dead-letters the second message of a key: those behind it follow,
// in order, and other keys and messages without one go on, until the key is released.
func TestParkedKeyFollows(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	client, err := pubsub.Open(ctx, "memory://parking", pubsub.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(context.Background()) }()
	dead := &pubsubtest.Recorder{}
	var parking middleware.Parking
	billing, err := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.Ordered(),
		middleware.DeadLetter(dead, middleware.DeadLetterPolicy{Parking: &parking}))
	if err != nil {
		t.Fatal(err)
	}
	orders, err := client.Publisher(ctx, "orders", pubsub.Ordered())
	if err != nil {
		t.Fatal(err)
	}
	handled := make(chan string, 100)
	receiving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- billing.Receive(receiving, func(_ context.Context, d *pubsub.Delivery) error {
			if string(d.Body) == "a2" {
				return pubsub.Permanent(errors.New("no such account"))
			}
			handled <- string(d.Body)
			return nil
		})
	}()
	publish := func(key string, bodies ...string) {
		for _, body := range bodies {
			if err := orders.Publish(ctx, &pubsub.Message{Key: key, Body: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(bodies ...string) {
		t.Helper()
		var got []string
		for range bodies {
			select {
			case body := <-handled:
				got = append(got, body)
			case <-time.After(time.Minute):
				t.Fatalf("handled %v, want %v", got, bodies)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, bodies) {
			t.Errorf("handled %v, want %v", got, bodies)
		}
	}
	publish("a", "a1", "a2", "a3", "a4")
	publish("b", "b1")
	publish("", "free")
	want("a1", "b1", "free")
	if _, err := dead.Wait(ctx, 3); err != nil {
		t.Fatal(err)
	}
	var letters []string
	for _, m := range dead.Messages() {
		letters = append(letters, string(m.Body))
	}
	if !slices.Equal(letters, []string{"a2", "a3", "a4"}) || !slices.Equal(parking.Keys(), []string{"a"}) {
		t.Errorf("dead letters %v, parked keys %v; want a2 a3 a4, and a", letters, parking.Keys())
	}
	if reason := dead.Messages()[1].Headers[middleware.HeaderReason]; reason != "an earlier message of its key was dead-lettered" {
		t.Errorf("reason is %q", reason)
	}
	if !parking.Release("a") || parking.Release("a") {
		t.Error("Release does not tell whether the key was parked")
	}
	publish("a", "a5")
	want("a5")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFullParking has room for one key: a second key is held back, in order, and nothing of
// it is dead-lettered or lost, until the first is released.
func TestFullParking(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dead := &pubsubtest.Recorder{}
	parking := middleware.Parking{Limit: 1}
	var handled []string
	dealWith := middleware.DeadLetter(dead, middleware.DeadLetterPolicy{Parking: &parking}).Middleware(
		func(_ context.Context, d *pubsub.Delivery) error {
			handled = append(handled, string(d.Body))
			return pubsub.Permanent(errors.New("no such account"))
		})
	give := func(key, body string) error {
		return dealWith(ctx, &pubsub.Delivery{Message: pubsub.Message{Key: key, Body: []byte(body)}, Attempt: 1})
	}
	for _, m := range [][2]string{{"a", "a1"}, {"a", "a2"}, {"", "free"}} {
		if err := give(m[0], m[1]); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	err := give("b", "b1")
	verdict, _ := pubsub.VerdictOf(err)
	if !errors.Is(err, middleware.ErrParkingFull) || pubsub.CodeOf(err) != pubsub.CodeExhausted || verdict != pubsub.VerdictRetry {
		t.Errorf("with the parking full: %v (verdict %v), want a retry because of ErrParkingFull", err, verdict)
	}
	if err := parking.Park("c"); !errors.Is(err, middleware.ErrParkingFull) {
		t.Errorf("Park: %v, want ErrParkingFull", err)
	}
	if err := parking.Park(""); pubsub.CodeOf(err) != pubsub.CodeInvalid {
		t.Errorf("Park without a key: %v, want code invalid", err)
	}
	parking.Release("a")
	if err := give("b", "b1"); err != nil {
		t.Error(err)
	}
	if want := []string{"a1", "free", "b1", "b1"}; !slices.Equal(handled, want) {
		t.Errorf("handled %v, want %v", handled, want)
	}
	if n := len(dead.Messages()); n != 4 || !slices.Equal(parking.Keys(), []string{"b"}) {
		t.Errorf("%d dead letters, parked %v; want 4, and b", n, parking.Keys())
	}
}

// TestUnpublishedIsNotParked fails the write of a dead letter: its key is not parked, so
// that the message is tried again as what it is.
func TestUnpublishedIsNotParked(t *testing.T) {
	t.Parallel()
	var parking middleware.Parking
	var broken pubsubtest.Recorder
	broken.FailWith(errors.New("away"))
	dealWith := middleware.DeadLetter(&broken, middleware.DeadLetterPolicy{Parking: &parking}).Middleware(
		func(context.Context, *pubsub.Delivery) error { return pubsub.Permanent(errors.New("no such account")) })
	if err := dealWith(t.Context(), &pubsub.Delivery{Message: pubsub.Message{Key: "a"}, Attempt: 1}); err == nil {
		t.Error("the write failed, and no error came of it")
	}
	if keys := parking.Keys(); len(keys) > 0 {
		t.Errorf("parked %v", keys)
	}
}

// A key stays parked until what is wrong with it was put right.
func ExampleParking() {
	ctx := context.Background()
	client, err := pubsub.Open(ctx, "memory://parked")
	if err != nil {
		fmt.Println(err)
		return
	}
	dead, err := client.Publisher(ctx, "orders-dead", pubsub.Queue())
	if err != nil {
		fmt.Println(err)
		return
	}
	var parking middleware.Parking
	_, err = client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.Ordered(),
		middleware.DeadLetter(dead, middleware.DeadLetterPolicy{MaxAttempts: 5, Parking: &parking}))
	fmt.Println(err, parking.Park("customer-7")) // as a dead-lettered message of it does
	fmt.Println(parking.Keys(), parking.Release("customer-7"), parking.Keys())
	fmt.Println(client.Close(ctx))
	// Output:
	// <nil> <nil>
	// [customer-7] true []
	// <nil>
}

// A handler owns its delivery: the key that is parked is the message's own.
func TestParkedIsTheKeyOfTheMessage(t *testing.T) {
	t.Parallel()
	dead := &pubsubtest.Recorder{}
	var parking middleware.Parking
	handler := middleware.DeadLetter(dead, middleware.DeadLetterPolicy{Parking: &parking}).Middleware(func(_ context.Context, d *pubsub.Delivery) error {
		d.Key = "mine"
		return pubsub.Permanent(errors.New("no such account"))
	})
	if err := handler(t.Context(), &pubsub.Delivery{Message: pubsub.Message{Key: "ada"}}); err != nil {
		t.Fatal(err)
	}
	if got := parking.Keys(); !slices.Equal(got, []string{"ada"}) {
		t.Errorf("parked %q", got)
	}
	dead.FailWith(errors.New("refused"))
	if err := handler(t.Context(), &pubsub.Delivery{Message: pubsub.Message{Key: "bob"}}); err == nil {
		t.Error("no error though the dead letter was not published")
	}
	if got := parking.Keys(); !slices.Equal(got, []string{"ada"}) {
		t.Errorf("parked %q", got)
	}
}
