package pubsub_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// postponements runs a script: what the handler returns at each call; after that, nil.
func postponements(seen *[]string, script ...error) pubsub.Handler {
	began, calls := time.Now(), 0
	return func(_ context.Context, d *pubsub.Delivery) error {
		*seen = append(*seen, fmt.Sprintf("%s%d at %v", d.Body, d.Attempt, time.Since(began)))
		if calls++; calls <= len(script) {
			return script[calls-1]
		}
		return nil
	}
}

func TestPostponedMessagesAreHeldAndNotCounted(t *testing.T) {
	minute := pubsub.Postpone(time.Minute, errBoom)
	for name, c := range map[string]struct {
		script []error
		seen   string
		verbs  string
	}{
		"alone": {[]error{minute, minute}, "1 at 0s, 1 at 1m0s, 1 at 2m0s", "1 ack"},
		"among failures": {
			[]error{pubsub.RetryAfter(time.Second, errBoom), minute, pubsub.RetryAfter(time.Second, errBoom)},
			"1 at 0s, 2 at 1s, 2 at 1m1s, 3 at 1m2s", "1 keep, 1 keep, 1 ack",
		},
		"under a ceiling": {
			[]error{minute, minute, pubsub.RetryAfter(time.Second, errBoom), minute, errBoom},
			"1 at 0s, 1 at 1m0s, 1 at 2m0s, 2 at 2m1s, 2 at 3m1s", "1 keep, 1 ack",
		},
		"for no time": {[]error{pubsub.Postpone(-1, nil)}, "1 at 0s, 1 at 0s", "1 ack"},
	} {
		for _, ordered := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, ordered %t", name, ordered), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					// The broker could delay a retry, but would count it.
					b := newScripted(driver.Capabilities{RetryDelay: time.Hour, RetryLeast: time.Hour, OrderedRetry: driver.WithTail, Hold: time.Hour, Attempts: driver.Exact})
					var seen []string
					options := []pubsub.SubscriberOption{pubsub.MaxAttempts(3)}
					if name == "under a ceiling" {
						options[0] = pubsub.MaxAttempts(2)
					}
					if ordered {
						options = append(options, pubsub.Ordered())
					}
					r := receive(t, b, postponements(&seen, c.script...), options...)
					r.session.give(1, driver.Message{Key: "k"})
					time.Sleep(time.Hour / 2)
					synctest.Wait()
					if got := strings.Join(seen, ", "); got != c.seen {
						t.Errorf("attempts: %s, want %s", got, c.seen)
					}
					r.settled(c.verbs)
					r.end(nil)
				})
			})
		}
	}
}

func TestPostponedMessageHoldsBackItsKeyAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Hold: time.Hour})
		var seen []string
		r := receive(t, b, postponements(&seen, pubsub.Postpone(time.Minute, nil)), pubsub.Ordered(), pubsub.Concurrency(1))
		r.session.give(1, driver.Message{Key: "a", Body: []byte("a")}, driver.Message{Key: "a", Body: []byte("A")}, driver.Message{Key: "b", Body: []byte("b")})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := strings.Join(seen, ", "); got != "a1 at 0s, b1 at 0s, a1 at 1m0s, A1 at 1m0s" {
			t.Errorf("attempts: %s", got)
		}
		r.end(nil)
	})
}

func TestDrainReturnsWhatIsPostponed(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("ordered %t, running %t", ordered, running), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := newScripted(driver.Capabilities{RetryDelay: time.Hour, Hold: time.Hour})
					var options []pubsub.SubscriberOption
					if ordered {
						options = append(options, pubsub.Ordered())
					}
					r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
						if running {
							<-pubsub.Draining(ctx)
						}
						return pubsub.Postpone(time.Minute, errBoom)
					}, options...)
					r.session.give(1, driver.Message{Key: "a"}, driver.Message{Key: "b"})
					synctest.Wait()
					r.end(nil)
					got := verbs(r.session.log())
					if got != "1 return, 2 return" && got != "2 return, 1 return" {
						t.Errorf("settled: %s", got)
					}
				})
			})
		}
	}
}

// What is postponed for longer than it may stay here goes back to the broker, with the
// rest of its key.
func TestPostponedForLongerThanAHold(t *testing.T) {
	for name, c := range map[string]struct {
		caps    driver.Capabilities
		ordered bool
		seen    string
		verbs   string
		delay   time.Duration
	}{
		"the broker delays":                     {driver.Capabilities{RetryDelay: 2 * time.Hour}, false, "a1 at 0s, A1 at 0s", "1 retry, 2 ack", 2 * time.Hour},
		"the broker delays a key with its tail": {driver.Capabilities{RetryDelay: 2 * time.Hour, OrderedRetry: driver.WithTail}, true, "a1 at 0s", "1 retry, 2 return", 2 * time.Hour},
		// It may be handled once more when the hold is over, though that is early, and then goes back.
		"the broker cannot": {driver.Capabilities{}, false, "a1 at 0s, A1 at 0s", "2 ack, 1 return", 0},
		// RabbitMQ would give what comes behind before all that goes back has come again.
		"the broker cannot for a key":               {driver.Capabilities{RetryDelay: 2 * time.Hour}, true, "a1 at 0s", "", 0},
		"the broker cannot for a key, and has time": {driver.Capabilities{RetryDelay: 2 * time.Hour, Hold: driver.Unlimited}, true, "a1 at 0s", "1 return, 2 return", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c.caps.Hold = cmp.Or(c.caps.Hold, time.Hour)
				b := newScripted(c.caps)
				var options []pubsub.SubscriberOption
				if c.ordered {
					options = append(options, pubsub.Ordered())
				}
				var seen []string
				began := time.Now()
				r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
					seen = append(seen, fmt.Sprintf("%s%d at %v", d.Body, d.Attempt, time.Since(began)))
					if string(d.Body) == "a" {
						return pubsub.Postpone(3*time.Hour, nil)
					}
					return nil
				}, append(options, pubsub.Concurrency(1), pubsub.MaxHandling(time.Hour))...)
				r.session.give(1, driver.Message{Key: "k", Body: []byte("a")}, driver.Message{Key: "k", Body: []byte("A")})
				time.Sleep(100 * time.Minute)
				synctest.Wait()
				if got := strings.TrimSuffix(strings.Join(seen, ", "), ", a1 at 1h0m0s"); got != c.seen {
					t.Errorf("attempts: %s, want %s", got, c.seen)
				}
				r.settled(c.verbs)
				for _, v := range r.session.log() {
					if v.tag == 1 && v.delay != c.delay {
						t.Errorf("delay %v, want %v", v.delay, c.delay)
					}
				}
				r.end(nil)
			})
		})
	}
}

func TestPostponedOutOfABatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Hold: time.Hour})
		c := b.client(t)
		s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		var seen []string
		began := time.Now()
		go func() {
			done <- s.ReceiveBatch(ctx, pubsub.BatchPolicy{Messages: 10}, func(_ context.Context, batch []*pubsub.Delivery) []error {
				verdicts := make([]error, len(batch))
				for i, d := range batch {
					seen = append(seen, fmt.Sprintf("%s%d at %v", d.Body, d.Attempt, time.Since(began)))
					if string(d.Body) == "b" && time.Since(began) < time.Minute {
						verdicts[i] = pubsub.Postpone(time.Minute, nil)
					}
				}
				return verdicts
			})
		}()
		session := <-b.sessions
		session.give(1, driver.Message{Body: []byte("a")}, driver.Message{Body: []byte("b")}, driver.Message{Body: []byte("c")})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := strings.Join(seen, ", "); got != "a1 at 0s, b1 at 0s, c1 at 0s, b1 at 1m0s" {
			t.Errorf("attempts: %s", got)
		}
		if got := verbs(session.log()); got != "1 ack, 3 ack, 2 ack" {
			t.Errorf("settled: %s", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		closeAll(t, c)
	})
}

func TestPostponeSaysWhy(t *testing.T) {
	t.Parallel()
	err := pubsub.Postpone(time.Second, errBoom)
	verdict, delay := pubsub.VerdictOf(fmt.Errorf("around: %w", err))
	if verdict != pubsub.VerdictPostpone || delay != time.Second || !errors.Is(err, errBoom) {
		t.Errorf("%v: %v after %v", err, verdict, delay)
	}
	if got := err.Error(); got != "postponed by 1s: boom" {
		t.Error(got)
	}
	if got := pubsub.VerdictPostpone.String(); got != "postpone" {
		t.Error(got)
	}
	if verdict, delay := pubsub.VerdictOf(pubsub.Postpone(-1, nil)); verdict != pubsub.VerdictPostpone || delay != 0 {
		t.Errorf("without a reason: %v after %v", verdict, delay)
	}
}
