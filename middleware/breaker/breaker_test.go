package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware/breaker"
	"github.com/waybill-go/waybill/pubsub"
)

var errDown = errors.New("the bank is down")

func call(b *breaker.Breaker, err error) error {
	return b.Middleware()(func(context.Context, *pubsub.Delivery) error { return err })(context.Background(), &pubsub.Delivery{})
}

func TestWhatOpensIt(t *testing.T) {
	t.Parallel()
	two := func(c gobreaker.Counts) bool { return c.ConsecutiveFailures == 2 }
	for name, c := range map[string]struct {
		settings breaker.Settings
		results  []error
		want     gobreaker.State
	}{
		"failures":     {breaker.Settings{ReadyToTrip: two}, []error{errDown, pubsub.RetryAfter(time.Second, errDown)}, gobreaker.StateOpen},
		"five":         {breaker.Settings{}, []error{errDown, errDown, errDown, errDown, errDown}, gobreaker.StateClosed},
		"six":          {breaker.Settings{}, []error{errDown, errDown, errDown, errDown, errDown, errDown}, gobreaker.StateOpen},
		"not in a row": {breaker.Settings{ReadyToTrip: two}, []error{errDown, nil, errDown}, gobreaker.StateClosed},
		"answers":      {breaker.Settings{ReadyToTrip: two}, []error{errDown, pubsub.Permanent(errDown), errDown, pubsub.Drop(errDown), errDown}, gobreaker.StateClosed},
		"nothing":      {breaker.Settings{ReadyToTrip: two}, []error{errDown, pubsub.Postpone(0, errDown), context.Canceled, errDown}, gobreaker.StateOpen},
		"a user's say": {breaker.Settings{ReadyToTrip: two, IsSuccessful: func(err error) bool { return errors.Is(err, errDown) }}, []error{errDown, errDown}, gobreaker.StateClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := breaker.New(c.settings)
			for _, err := range c.results {
				if got := call(b, err); !errors.Is(got, err) {
					t.Errorf("%v became %v", err, got)
				}
			}
			if got := b.State(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestPanicsAndLostGoroutinesAreFailures(t *testing.T) {
	t.Parallel()
	b := breaker.New(breaker.Settings{ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures == 2 }})
	for _, end := range []func(){func() { panic(errDown) }, runtime.Goexit} {
		var wait sync.WaitGroup
		wait.Go(func() {
			defer func() { _ = recover() }()
			_ = b.Middleware()(func(context.Context, *pubsub.Delivery) error {
				end()
				return nil
			})(t.Context(), &pubsub.Delivery{})
		})
		wait.Wait()
	}
	if got := b.State(); got != gobreaker.StateOpen {
		t.Error(got)
	}
}

// A service that is down for a while costs no message an attempt beyond those that told so,
// and all are handled when it is up again.
func TestOutageCostsNoAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, err := memory.New(memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		client, err := pubsub.New(t.Context(), broker, pubsub.Logger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		topic, err := client.Publisher(t.Context(), "t", pubsub.Queue(), pubsub.Ordered())
		if err != nil {
			t.Fatal(err)
		}
		var changes []string
		began := time.Now()
		b := breaker.New(breaker.Settings{
			Timeout:     10 * time.Second,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures == 3 },
			OnStateChange: func(_ string, _, to gobreaker.State) {
				changes = append(changes, fmt.Sprintf("%v at %v", to, time.Since(began).Round(time.Second)))
			},
		})
		s, err := client.Subscriber(t.Context(), "t", pubsub.Queue(), pubsub.Ordered(), pubsub.DropPermanent(), pubsub.Concurrency(1),
			pubsub.MaxAttempts(9), pubsub.InFlight(20, 0), pubsub.RetryBackoff(pubsub.Backoff{Min: time.Second, Jitter: -1}), b.Middleware())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			if err := topic.Publish(t.Context(), &pubsub.Message{Key: fmt.Sprint(i % 10), Body: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		failures, handled, last, most := 0, 0, map[string]string{}, 0
		if err := client.Serve(ctx, pubsub.Handle(s, func(_ context.Context, d *pubsub.Delivery) error {
			if time.Since(began) < time.Minute {
				failures++
				return errDown
			}
			if body := string(d.Body); len(body) < len(last[d.Key]) || len(body) == len(last[d.Key]) && body <= last[d.Key] {
				t.Errorf("%s after %s of key %s", body, last[d.Key], d.Key)
			}
			last[d.Key] = string(d.Body)
			most = max(most, d.Attempt)
			handled++
			return nil
		})); err != nil {
			t.Error(err)
		}
		// Three that open it, and one each time that it is tried.
		if failures != 8 || handled != 30 || most > 9 {
			t.Errorf("%d failures, %d handled, at most %d attempts", failures, handled, most)
		}
		if got := strings.Join(changes[:3], ", "); got != "open at 0s, half-open at 10s, open at 10s" {
			t.Error(got)
		}
		if got := b.State(); got != gobreaker.StateClosed {
			t.Error(got)
		}
	})
}
