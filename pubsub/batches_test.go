package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// receiveBatches is as receive, with a handler of batches.
func receiveBatches(t *testing.T, b *scripted, handler pubsub.BatchHandler, options ...pubsub.SubscriberOption) *reception {
	t.Helper()
	return receiveBatchesBy(t, b, pubsub.BatchPolicy{}, handler, options...)
}

func receiveBatchesBy(t *testing.T, b *scripted, policy pubsub.BatchPolicy, handler pubsub.BatchHandler, options ...pubsub.SubscriberOption) *reception {
	t.Helper()
	r := &reception{t: t, client: b.client(t), done: make(chan error, 1)}
	options = append([]pubsub.SubscriberOption{pubsub.Group("g"), pubsub.DropPermanent()}, options...)
	s, err := r.client.Subscriber(t.Context(), "t", options...)
	if err != nil {
		t.Fatal(err)
	}
	r.sub = s
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.done <- s.ReceiveBatch(ctx, policy, handler) }()
	r.session = <-b.sessions
	return r
}

func attempt(tag uint64, key string, n int) driver.Delivery {
	return driver.Delivery{Message: driver.Message{Key: key}, Attempt: n, Receipt: driver.Receipt{Tag: tag}}
}

// A batch handler that ends its goroutine has failed each delivery by its own attempts
// and key: the one whose attempts are used up does not take the others along.
func TestBatchHandlerThatEndsItsGoroutine(t *testing.T) {
	t.Run("attempts", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			b := newScripted(driver.Capabilities{RetryDelay: time.Hour, Attempts: driver.Exact})
			r := receiveBatches(t, b, func(context.Context, []*pubsub.Delivery) []error {
				runtime.Goexit()
				return nil
			}, pubsub.MaxAttempts(3))
			r.session.intake <- driver.Intake{Deliveries: []driver.Delivery{attempt(1, "", 3), attempt(2, "", 1)}}
			synctest.Wait()
			r.settled("1 ack, 2 retry")
			r.end(nil)
		})
	})
	t.Run("keys", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			b := newScripted(driver.Capabilities{RetryDelay: time.Hour, Hold: time.Second, OrderedRetry: driver.WithTail})
			r := receiveBatches(t, b, func(context.Context, []*pubsub.Delivery) []error {
				time.Sleep(2 * time.Second) // beyond the hold
				runtime.Goexit()
				return nil
			}, pubsub.Ordered())
			r.session.intake <- driver.Intake{Deliveries: []driver.Delivery{attempt(1, "k", 1), attempt(2, "", 1)}}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			r.settled("1 retry, 2 retry")
			r.end(nil)
		})
	})
}

// untilItsContextEnds is a handler that says why its context ended, and after how long.
func untilItsContextEnds(cause *error, took *time.Duration) pubsub.BatchHandler {
	return func(ctx context.Context, _ []*pubsub.Delivery) []error {
		began := time.Now()
		select {
		case <-ctx.Done():
		case <-time.After(time.Hour):
		}
		*cause, *took = context.Cause(ctx), time.Since(began)
		return nil
	}
}

// A batch whose deliveries were all held for too long is told so, as a handler is.
func TestBatchHandlerThatHoldsForTooLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		var cause error
		var took time.Duration
		r := receiveBatches(t, b, untilItsContextEnds(&cause, &took), pubsub.MaxHandling(time.Minute))
		r.session.give(1, driver.Message{}, driver.Message{})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if !errors.Is(cause, pubsub.ErrHandlerTooSlow) || took != time.Minute {
			t.Errorf("after %v: cause %v", took, cause)
		}
		r.end(nil)
	})
}

// Middleware that ends the contexts of all deliveries ends the batch handler's.
func TestBatchHandlerInsideOfATimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{RetryDelay: time.Hour})
		timeout := pubsub.Middleware(func(next pubsub.Handler) pubsub.Handler {
			return func(ctx context.Context, d *pubsub.Delivery) error {
				ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(len(d.Body))*time.Minute, errBoom)
				defer cancel()
				return next(ctx, d)
			}
		})
		var cause error
		var took time.Duration
		r := receiveBatches(t, b, untilItsContextEnds(&cause, &took), timeout)
		r.session.give(1, driver.Message{Body: make([]byte, 3)}, driver.Message{Body: make([]byte, 2)})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if !errors.Is(cause, errBoom) || took != 3*time.Minute {
			t.Errorf("after %v: cause %v", took, cause)
		}
		r.end(nil)
	})
}

// A batch does not wait for company that cannot come: where what may be in flight is here
// already, or behind a key whose first is in hand.
func TestBatchDoesNotWaitBehindAFullWindow(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered=", ordered), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				var sizes []int
				var at []time.Duration
				began := time.Now()
				options := []pubsub.SubscriberOption{pubsub.InFlight(1000, 10)}
				if ordered {
					options = append(options, pubsub.Ordered())
				}
				r := receiveBatchesBy(t, b, pubsub.BatchPolicy{Wait: time.Hour}, func(_ context.Context, batch []*pubsub.Delivery) []error {
					sizes, at = append(sizes, len(batch)), append(at, time.Since(began))
					return nil
				}, options...)
				messages := slices.Repeat([]driver.Message{{Key: "k", Body: []byte("12345")}}, 2)
				r.session.give(1, messages...)
				time.Sleep(time.Minute)
				synctest.Wait()
				want := []int{2}
				if ordered {
					want = []int{1} // the second has room behind it: it may get company
				}
				if !slices.Equal(sizes, want) || at[0] > 0 {
					t.Errorf("batches of %v after %v, want %v at once", sizes, at, want)
				}
				r.end(nil)
			})
		})
	}
}

// What a full batch left behind waits no longer than Wait, the time behind that batch included.
func TestRestOfABatchHasWaitedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		var at []time.Duration
		began := time.Now()
		r := receiveBatchesBy(t, b, pubsub.BatchPolicy{Messages: 2, Wait: time.Minute}, func(context.Context, []*pubsub.Delivery) []error {
			at = append(at, time.Since(began))
			time.Sleep(50 * time.Second)
			return nil
		}, pubsub.Concurrency(1))
		r.session.give(1, driver.Message{}, driver.Message{}, driver.Message{})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if want := []time.Duration{0, time.Minute}; !slices.Equal(at, want) {
			t.Errorf("batches began after %v, want %v", at, want)
		}
		r.end(nil)
	})
}
