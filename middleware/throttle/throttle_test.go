package throttle_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware/throttle"
	"github.com/waybill-go/waybill/pubsub"
)

// handled is when each message came to its handler, and at which attempt.
type handled struct {
	mu   sync.Mutex
	list []string
}

func (h *handled) add(d *pubsub.Delivery, after time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, fmt.Sprintf("%s.%d at %v", d.Body, d.Attempt, after))
}

// run publishes messages, and receives for an hour with a limit.
func run(t *testing.T, policy throttle.Policy, bodies []string, options ...pubsub.SubscriberOption) string {
	t.Helper()
	broker, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := pubsub.New(t.Context(), broker, pubsub.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := client.Publisher(t.Context(), "t", pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.Subscriber(t.Context(), "t", append(options, pubsub.Queue(), pubsub.DropPermanent(), throttle.New(policy))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		if err := topic.Publish(t.Context(), &pubsub.Message{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var seen handled
	began := time.Now()
	if err := client.Serve(ctx, pubsub.Handle(s, func(_ context.Context, d *pubsub.Delivery) error {
		seen.add(d, time.Since(began))
		return nil
	})); err != nil {
		t.Error(err)
	}
	return strings.Join(seen.list, ", ")
}

func TestMessagesComeAtTheRate(t *testing.T) {
	t.Parallel()
	four := []string{"a", "b", "c", "d"}
	one := pubsub.Concurrency(1)
	for name, c := range map[string]struct {
		policy  throttle.Policy
		options []pubsub.SubscriberOption
		want    string
	}{
		"no limit":        {throttle.Policy{}, []pubsub.SubscriberOption{one}, "a.1 at 0s, b.1 at 0s, c.1 at 0s, d.1 at 0s"},
		"waits in place":  {throttle.Policy{Limiter: rate.NewLimiter(2, 1)}, []pubsub.SubscriberOption{one}, "a.1 at 0s, b.1 at 500ms, c.1 at 1s, d.1 at 1.5s"},
		"burst":           {throttle.Policy{Limiter: rate.NewLimiter(2, 3)}, []pubsub.SubscriberOption{one}, "a.1 at 0s, b.1 at 0s, c.1 at 0s, d.1 at 500ms"},
		"chosen":          {throttle.Policy{Choose: only("c"), Limiter: rate.NewLimiter(2, 1)}, []pubsub.SubscriberOption{one}, "a.1 at 0s, b.1 at 500ms, c.1 at 500ms, d.1 at 1s"},
		"lets nothing":    {throttle.Policy{Limiter: rate.NewLimiter(0, 0)}, nil, ""},
		"lets three":      {throttle.Policy{Limiter: rate.NewLimiter(0, 3)}, []pubsub.SubscriberOption{one}, "a.1 at 0s, b.1 at 0s, c.1 at 0s"},
		"the rate is low": {throttle.Policy{Limiter: rate.NewLimiter(rate.Every(time.Minute), 1)}, []pubsub.SubscriberOption{one, pubsub.InFlight(1, 0), pubsub.MaxAttempts(1)}, "a.1 at 0s, b.1 at 1m0s, c.1 at 2m0s, d.1 at 3m0s"},
		"never in place":  {throttle.Policy{Limiter: rate.NewLimiter(2, 1), Wait: -1}, []pubsub.SubscriberOption{one, pubsub.InFlight(1, 0)}, "a.1 at 0s, b.1 at 500ms, c.1 at 1s, d.1 at 1.5s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if got := run(t, c.policy, four, c.options...); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

// only has no limit for one body, and leaves the others to the common one.
func only(body string) func(*pubsub.Delivery) *rate.Limiter {
	none := rate.NewLimiter(rate.Inf, 0)
	return func(d *pubsub.Delivery) *rate.Limiter {
		if string(d.Body) == body {
			return none
		}
		return nil
	}
}

// What waits in place when its time is over goes back, its token too, and its attempt is not
// counted.
func TestEndOfTheWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := rate.NewLimiter(rate.Every(time.Hour), 1)
		limiter.Allow()
		handler := throttle.New(throttle.Policy{Limiter: limiter, Wait: 2 * time.Hour})(func(context.Context, *pubsub.Delivery) error {
			t.Error("handled")
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := handler(ctx, &pubsub.Delivery{})
		if verdict, delay := pubsub.VerdictOf(err); verdict != pubsub.VerdictPostpone || delay != time.Minute {
			t.Errorf("%v: %v after %v", err, verdict, delay)
		}
		time.Sleep(time.Hour - time.Minute)
		if !limiter.Allow() {
			t.Error("the token is lost")
		}
	})
}

func TestDrainEndsTheWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, err := memory.New(memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		// serve receives for a minute, and returns what it handled and how long its end took.
		serve := func(policy throttle.Policy) (attempts []int, drain time.Duration) {
			client, err := pubsub.New(t.Context(), broker, pubsub.Logger(slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Fatal(err)
			}
			s, err := client.Subscriber(t.Context(), "t", pubsub.Queue(), pubsub.DropPermanent(), throttle.New(policy))
			if err != nil {
				t.Fatal(err)
			}
			topic, err := client.Publisher(t.Context(), "t", pubsub.Queue())
			if err != nil {
				t.Fatal(err)
			}
			if policy.Limiter != nil {
				if err := topic.Publish(t.Context(), &pubsub.Message{}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			if err := client.Serve(ctx, pubsub.Handle(s, func(_ context.Context, d *pubsub.Delivery) error {
				attempts = append(attempts, d.Attempt)
				return nil
			})); err != nil {
				t.Error(err)
			}
			return attempts, time.Since(began) - time.Minute
		}
		spent := rate.NewLimiter(rate.Every(time.Hour), 1)
		spent.Allow()
		if attempts, drain := serve(throttle.Policy{Limiter: spent, Wait: 2 * time.Hour}); len(attempts) > 0 || drain != 0 {
			t.Errorf("handled %v, ended after %v", attempts, drain)
		}
		if attempts, _ := serve(throttle.Policy{}); len(attempts) != 1 || attempts[0] != 1 {
			t.Errorf("the next member's attempts are %v", attempts)
		}
	})
}
