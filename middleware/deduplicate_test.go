package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/deduplicationtest"
)

func TestDeduplicationStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		deduplicationtest.Run(t, middleware.NewDeduplicationStore(0), time.Sleep)
	})
}

func TestDeduplicationStoreIsBounded(t *testing.T) {
	t.Parallel()
	store := middleware.NewDeduplicationStore(2)
	for _, id := range []string{"a", "b", "a", "c"} {
		if err := store.Mark(t.Context(), id, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		id   string
		want middleware.Claim
	}{{"a", middleware.ClaimHandled}, {"c", middleware.ClaimHandled}, {"b", middleware.ClaimTaken}} { // b was the oldest
		if got, err := store.Claim(t.Context(), c.id, "o", time.Hour); err != nil || got != c.want {
			t.Errorf("%s: %s, %v", c.id, got, err)
		}
	}
}

// deduplicated runs messages through a subscription with two workers, for an hour.
func deduplicated(t *testing.T, store middleware.DeduplicationStore, policy middleware.DeduplicatePolicy, handler pubsub.Handler, messages ...*pubsub.Message) {
	t.Helper()
	broker, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := pubsub.New(t.Context(), broker, pubsub.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := client.Publisher(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Concurrency(2), pubsub.MaxAttempts(3),
		pubsub.RetryBackoff(pubsub.Backoff{Min: 10 * time.Second, Jitter: -1}), middleware.Deduplicate(store, policy))
	if err != nil {
		t.Fatal(err)
	}
	if err := topic.Publish(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := client.Serve(ctx, pubsub.Handle(s, handler)); err != nil {
		t.Error(err)
	}
}

func TestDeduplicate(t *testing.T) {
	t.Parallel()
	twice := []*pubsub.Message{{ID: "7"}, {ID: "7"}}
	for name, c := range map[string]struct {
		policy   middleware.DeduplicatePolicy
		messages []*pubsub.Message
		script   []error // of each call of the handler
		takes    time.Duration
		want     string
	}{
		"twice":                   {middleware.DeduplicatePolicy{}, twice, nil, 0, "7.1 at 0s"},
		"twice at a time":         {middleware.DeduplicatePolicy{}, twice, nil, 10 * time.Second, "7.1 at 0s"},
		"others":                  {middleware.DeduplicatePolicy{}, []*pubsub.Message{{ID: "7"}, {ID: "8"}}, nil, 0, "7.1 at 0s, 8.1 at 0s"},
		"without a name":          {middleware.DeduplicatePolicy{}, []*pubsub.Message{{}, {}}, nil, 0, ".1 at 0s, .1 at 0s"},
		"by key":                  {middleware.DeduplicatePolicy{ID: func(d *pubsub.Delivery) string { return d.Key }}, []*pubsub.Message{{ID: "7", Key: "k"}, {ID: "8", Key: "k"}}, nil, time.Second, "7.1 at 0s"},
		"the first fails":         {middleware.DeduplicatePolicy{}, twice, []error{errBoom}, time.Second / 2, "7.1 at 0s, 7.1 at 1s"},
		"dropped":                 {middleware.DeduplicatePolicy{}, twice, []error{pubsub.Drop(errBoom)}, time.Second / 2, "7.1 at 0s"},
		"permanent is not marked": {middleware.DeduplicatePolicy{}, twice, []error{pubsub.Permanent(errBoom)}, time.Second / 2, "7.1 at 0s, 7.1 at 1s"},
		"longer than the lease":   {middleware.DeduplicatePolicy{Lease: 3 * time.Second}, twice, nil, 20 * time.Minute, "7.1 at 0s"},
		"alone, tried again":      {middleware.DeduplicatePolicy{}, twice[:1], []error{errBoom, errBoom}, 0, "7.1 at 0s, 7.2 at 10s, 7.3 at 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var seen []string
				began := time.Now()
				deduplicated(t, middleware.NewDeduplicationStore(0), c.policy, func(_ context.Context, d *pubsub.Delivery) error {
					mu.Lock()
					seen = append(seen, fmt.Sprintf("%s.%d at %v", d.ID, d.Attempt, time.Since(began)))
					calls := len(seen)
					mu.Unlock()
					time.Sleep(c.takes)
					if calls <= len(c.script) {
						return c.script[calls-1]
					}
					return nil
				}, c.messages...)
				got := strings.Join(seen, ", ")
				if name == "others" && strings.HasPrefix(got, "8") {
					got = "7.1 at 0s, 8.1 at 0s"
				}
				if got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

// brittle is a store that fails now and then.
type brittle struct {
	middleware.DeduplicationStore
	mu            sync.Mutex
	claims, marks int // fail, so many of them
}

// fail has the next so many claims fail.
func (b *brittle) fail(claims int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims = claims
}

func (b *brittle) Claim(ctx context.Context, id, owner string, lease time.Duration) (middleware.Claim, error) {
	b.mu.Lock()
	b.claims--
	failing := b.claims >= 0
	b.mu.Unlock()
	if failing {
		return 0, errBoom
	}
	return b.DeduplicationStore.Claim(ctx, id, owner, lease)
}

func (b *brittle) Mark(ctx context.Context, id string, keep time.Duration) error {
	if b.marks--; b.marks >= 0 {
		return errBoom
	}
	return b.DeduplicationStore.Mark(ctx, id, keep)
}

func TestDeduplicateWithoutItsStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &brittle{DeduplicationStore: middleware.NewDeduplicationStore(0), claims: 10, marks: 1}
		attempt, calls, began := 0, 0, time.Now()
		deduplicated(t, store, middleware.DeduplicatePolicy{}, func(_ context.Context, d *pubsub.Delivery) error {
			calls++
			attempt = d.Attempt
			if after := time.Since(began); after != 10*time.Second {
				t.Errorf("handled after %v", after)
			}
			return nil
		}, &pubsub.Message{ID: "7"})
		if attempt != 1 || calls != 1 {
			t.Errorf("%d calls, the last was attempt %d", calls, attempt)
		}
		if got, err := store.Claim(t.Context(), "t/g/7", "o", time.Minute); err != nil || got != middleware.ClaimHandled {
			t.Errorf("the mark that was tried again: %s, %v", got, err)
		}
	})
}

// A claim is kept while its handler runs, though the store fails now and then; if another has
// it all the same, the handler's context ends.
func TestDeduplicateKeepsItsClaim(t *testing.T) {
	t.Parallel()
	handle := func(t *testing.T, store middleware.DeduplicationStore, policy middleware.DeduplicatePolicy, next pubsub.Handler) {
		d := &pubsub.Delivery{Topic: "t", Group: "g", Message: pubsub.Message{ID: "7"}}
		_ = middleware.Deduplicate(store, policy)(next)(t.Context(), d)
	}
	claim := func(t *testing.T, store middleware.DeduplicationStore, want middleware.Claim) {
		t.Helper()
		if got, err := store.Claim(t.Context(), "t/g/7", "other", time.Minute); err != nil || got != want {
			t.Errorf("the claim of another: %s, %v; want %s", got, err, want)
		}
	}
	t.Run("store fails", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := &brittle{DeduplicationStore: middleware.NewDeduplicationStore(0)}
			handle(t, store, middleware.DeduplicatePolicy{}, func(ctx context.Context, _ *pubsub.Delivery) error {
				for range 5 {
					store.fail(2)
					time.Sleep(70 * time.Second)
					claim(t, store.DeduplicationStore, middleware.ClaimBusy)
				}
				if ctx.Err() != nil {
					t.Error(context.Cause(ctx))
				}
				return errBoom
			})
			claim(t, store.DeduplicationStore, middleware.ClaimTaken) // it was given up
		})
	})
	t.Run("overtaken", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := &brittle{DeduplicationStore: middleware.NewDeduplicationStore(0)}
			handle(t, store, middleware.DeduplicatePolicy{}, func(ctx context.Context, _ *pubsub.Delivery) error {
				store.fail(3) // until the lease has run out
				time.Sleep(61 * time.Second)
				claim(t, store.DeduplicationStore, middleware.ClaimTaken)
				<-ctx.Done()
				if err := context.Cause(ctx); !errors.Is(err, middleware.ErrClaimLost) || pubsub.CodeOf(err) != pubsub.CodeLost {
					t.Error(err)
				}
				return errBoom
			})
			if got, err := store.Claim(t.Context(), "t/g/7", "third", time.Minute); err != nil || got != middleware.ClaimBusy {
				t.Errorf("the other's claim is gone: %s, %v", got, err)
			}
		})
	})
	t.Run("a handler that hangs", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := middleware.NewDeduplicationStore(0)
			ctx, cancel := context.WithCancel(t.Context())
			d := &pubsub.Delivery{Topic: "t", Group: "g", Message: pubsub.Message{ID: "7"}}
			_ = middleware.Deduplicate(store, middleware.DeduplicatePolicy{})(func(context.Context, *pubsub.Delivery) error {
				time.Sleep(time.Hour)
				cancel()
				time.Sleep(2 * time.Minute)
				claim(t, store, middleware.ClaimTaken) // it is no longer extended
				return errBoom
			})(ctx, d)
		})
	})
}

func TestDeduplicateTellsWhatIsNotMarked(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	store := &brittle{DeduplicationStore: middleware.NewDeduplicationStore(0), marks: 2}
	handler := middleware.Deduplicate(store, middleware.DeduplicatePolicy{Logger: slog.New(slog.NewTextHandler(&log, nil))})(fails(nil))
	d := delivery()
	d.ID = "7"
	if err := handler(t.Context(), d); err != nil || !strings.Contains(log.String(), "is not marked") {
		t.Errorf("%v, log %q", err, log.String())
	}
}

func TestDeduplicateMarksWhatWasTakenBack(t *testing.T) {
	t.Parallel()
	store := middleware.NewDeduplicationStore(0)
	ctx, cancel := context.WithCancel(t.Context())
	handler := middleware.Deduplicate(store, middleware.DeduplicatePolicy{})(func(context.Context, *pubsub.Delivery) error {
		cancel()
		return nil
	})
	if err := handler(ctx, &pubsub.Delivery{Topic: "a/b", Group: "g", Message: pubsub.Message{ID: "7"}}); err != nil {
		t.Fatal(err)
	}
	if got, _ := store.Claim(t.Context(), "a%2Fb/g/7", "o", time.Minute); got != middleware.ClaimHandled {
		t.Errorf("it is %s", got)
	}
}

func TestDeduplicateReleasesAfterAPanic(t *testing.T) {
	t.Parallel()
	store := middleware.NewDeduplicationStore(0)
	handler := middleware.Deduplicate(store, middleware.DeduplicatePolicy{})(func(context.Context, *pubsub.Delivery) error { panic(errBoom) })
	func() {
		defer func() { _ = recover() }()
		_ = handler(t.Context(), &pubsub.Delivery{Topic: "t", Message: pubsub.Message{ID: "7"}})
	}()
	if got, _ := store.Claim(t.Context(), "t//7", "o", time.Minute); got != middleware.ClaimTaken {
		t.Errorf("it is %s", got)
	}
}

func TestDeduplicateNeedsAStore(t *testing.T) {
	t.Parallel()
	client, err := pubsub.Open(t.Context(), "memory://deduplicate-needs-a-store")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(t.Context()) }()
	_, err = client.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent(), middleware.Deduplicate(nil, middleware.DeduplicatePolicy{}))
	if pubsub.CodeOf(err) != pubsub.CodeInvalid || errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
