package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// reception is a Receive that runs on a scripted session.
type reception struct {
	t       *testing.T
	client  *pubsub.Client
	sub     *pubsub.Subscription
	session *scriptedSession
	stop    context.CancelFunc
	done    chan error
}

func receive(t *testing.T, b *scripted, handler pubsub.Handler, options ...pubsub.SubscriberOption) *reception {
	t.Helper()
	return receiveWith(t, b.client(t), b, handler, options...)
}

func receiveWith(t *testing.T, c *pubsub.Client, b *scripted, handler pubsub.Handler, options ...pubsub.SubscriberOption) *reception {
	t.Helper()
	return receiveAs(t, c, b, handler, append([]pubsub.SubscriberOption{pubsub.Group("g"), pubsub.DropPermanent()}, options...)...)
}

// receiveAs subscribes with these options alone.
func receiveAs(t *testing.T, c *pubsub.Client, b *scripted, handler pubsub.Handler, options ...pubsub.SubscriberOption) *reception {
	t.Helper()
	r := &reception{t: t, client: c, done: make(chan error, 1)}
	s, err := r.client.Subscriber(t.Context(), "t", options...)
	if err != nil {
		t.Fatal(err)
	}
	r.sub = s
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.done <- s.Receive(ctx, handler) }()
	r.session = <-b.sessions
	return r
}

// end drains, and wants this error.
func (r *reception) end(want error) {
	r.t.Helper()
	r.stop()
	r.returned(want)
}

// returned waits for Receive's end, wants this error, and closes the client.
func (r *reception) returned(want error) {
	r.t.Helper()
	if err := <-r.done; !errors.Is(err, want) {
		r.t.Errorf("Receive: %v, want %v", err, want)
	}
	closeAll(r.t, r.client)
}

// settled wants these settlements by now, as verbs tells them.
func (r *reception) settled(want string) {
	r.t.Helper()
	if got := verbs(r.session.log()); got != want {
		r.t.Errorf("settled %q, want %q", got, want)
	}
}

func verbs(log []settled) string {
	var s []string
	for _, v := range log {
		s = append(s, fmt.Sprint(v.tag, " ", v.verb))
	}
	return strings.Join(s, ", ")
}

func TestRetriesAreHeldWhereTheBrokerCannotDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Hold: time.Hour})
		began := time.Now()
		var seen []string
		r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
			seen = append(seen, fmt.Sprintf("%d at %v", d.Attempt, time.Since(began)))
			if d.Attempt < 3 {
				return pubsub.RetryAfter(time.Minute, errBoom)
			}
			return nil
		})
		r.session.give(1, driver.Message{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := strings.Join(seen, ", "); got != "1 at 0s, 2 at 1m0s, 3 at 2m0s" {
			t.Errorf("attempts: %s", got)
		}
		r.settled("1 keep, 1 keep, 1 ack")
		r.end(nil)
	})
}

func TestShortRetriesAreHeldWhereTheBrokersUnitIsLonger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{RetryDelay: time.Hour, RetryLeast: time.Second, Hold: time.Hour})
		delays := map[string]time.Duration{"none": 0, "short": time.Second - 1, "long": time.Second}
		r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
			if d.Attempt > 1 {
				return nil
			}
			return pubsub.RetryAfter(delays[string(d.Body)], errBoom)
		}, pubsub.Concurrency(1))
		r.session.give(1, driver.Message{Body: []byte("none")}, driver.Message{Body: []byte("short")}, driver.Message{Body: []byte("long")})
		time.Sleep(time.Minute)
		synctest.Wait()
		r.settled("1 retry, 2 keep, 3 retry, 2 ack")
		r.end(nil)
	})
}

func TestReceiveEndsWhereItsFirstSessionMayNotRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error { return nil })
		r.session.die(driver.Errorf(driver.CodePermissionDenied, "may not read"))
		if err := <-r.done; pubsub.CodeOf(err) != pubsub.CodePermissionDenied {
			t.Errorf("Receive: %v", err)
		}
		closeAll(t, r.client)
	})
}

func TestSessionsOfAMemberHaveItsName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error { return nil })
		r.session.die(errBoom)
		<-b.sessions
		other := receiveWith(t, r.client, b, func(context.Context, *pubsub.Delivery) error { return nil })
		if m := b.members; m[0] == "" || m[0] != m[1] || m[0] == m[2] {
			t.Errorf("members: %q; want one name twice, then another", m)
		}
		other.stop()
		<-other.done
		r.end(nil)
	})
}

func TestRetryGoesToTheBrokerWhereItCanDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{RetryDelay: 10 * time.Minute, Hold: time.Hour})
		r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
			if string(d.Body) == "long" {
				return pubsub.RetryAfter(20*time.Minute, errBoom)
			}
			return pubsub.RetryAfter(5*time.Minute, errBoom)
		})
		r.session.give(1, driver.Message{}, driver.Message{Body: []byte("long")})
		synctest.Wait()
		log := r.session.log()
		slices.SortFunc(log, func(a, b settled) int { return int(a.tag) - int(b.tag) })
		if verbs(log) != "1 retry, 2 keep" || log[0].delay != 5*time.Minute {
			t.Errorf("settled %+v", log)
		}
		r.end(nil)
	})
}

// Where the broker delays for groups alone, what a broadcast has to try again waits here.
func TestBroadcastThatHolds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{RetryDelay: driver.Unlimited, RetryLeast: time.Minute, BroadcastHolds: true, Hold: driver.Unlimited})
		handler := func(context.Context, *pubsub.Delivery) error { return pubsub.RetryAfter(5*time.Minute, errBoom) }
		for want, options := range map[string][]pubsub.SubscriberOption{
			"1 keep":  {pubsub.DropPermanent(), pubsub.Broadcast()},
			"1 retry": {pubsub.DropPermanent(), pubsub.Group("g")},
		} {
			r := receiveAs(t, b.client(t), b, handler, options...)
			r.session.give(1, driver.Message{})
			synctest.Wait()
			r.settled(want)
			r.end(nil)
		}
	})
}

// What SQS can hide a message for ends twelve hours after its receipt, and not after its
// failure: what is cut off is logged.
func TestRetryThatTheBrokerCannotKeepToItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{RetryDelay: 12 * time.Hour, RetryInHold: true, Hold: 12 * time.Hour, Competing: true})
		var logs bytes.Buffer
		c := b.client(t, pubsub.Logger(slog.New(slog.NewTextHandler(&logs, nil))))
		r := receiveWith(t, c, b, func(_ context.Context, d *pubsub.Delivery) error {
			time.Sleep(2 * time.Hour)
			delay, _ := time.ParseDuration(string(d.Body))
			return pubsub.RetryAfter(delay, errBoom)
		}, pubsub.MaxHandling(3*time.Hour))
		r.session.give(1, driver.Message{Body: []byte("10h")}, driver.Message{Body: []byte("11h")})
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		log := r.session.log()
		if len(log) != 2 || log[0].delay != 10*time.Hour || log[1].delay != 10*time.Hour {
			t.Errorf("settled %+v; want two retries in ten hours", log)
		}
		if got := logs.String(); strings.Count(got, "a message comes again earlier than asked for") != 1 || !strings.Contains(got, "asked=11h0m0s delay=10h0m0s") {
			t.Errorf("logs: %s", got)
		}
		r.end(nil)
	})
}

// A keyed message that only we can hold, and that fails for longer than it may be held, is
// not tried in a loop meanwhile.
func TestRetryBeyondTheHoldWaits(t *testing.T) {
	for _, hold := range []time.Duration{driver.Unlimited, 35 * time.Minute} {
		t.Run(hold.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{Hold: hold, OrderedRetry: driver.HoldsNone})
				attempts := 0
				r := receive(t, b, func(context.Context, *pubsub.Delivery) error {
					if attempts++; attempts == 100 {
						return nil
					}
					return pubsub.RetryAfter(10*time.Minute, errBoom)
				}, pubsub.Ordered())
				r.session.give(1, driver.Message{Key: "k"})
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				if attempts < 18 || attempts > 20 {
					t.Errorf("%d attempts in three hours; want one every ten minutes", attempts)
				}
				r.end(nil)
			})
		})
	}
}

func TestRetryTakesItsTailAlong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{RetryDelay: time.Hour, Hold: time.Second, OrderedRetry: driver.WithTail, SettleBatch: driver.Batch{Messages: 2}})
		r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
			if string(d.Body) == "1" {
				return pubsub.RetryAfter(time.Minute, errBoom)
			}
			return nil
		}, pubsub.Ordered())
		message := func(body string) driver.Message { return driver.Message{Key: "k", Body: []byte(body)} }
		r.session.give(1, message("1"), message("2"), message("3"), message("4"))
		synctest.Wait()
		log := r.session.log()
		if verbs(log) != "1 retry, 2 return, 3 return, 4 return" {
			t.Errorf("settled %s", verbs(log))
		}
		for _, v := range log {
			if v.call != log[0].call {
				t.Errorf("the tail was not in one Settle: %+v", log)
			}
		}
		r.end(nil)
	})
}

func TestHandlerThatHoldsForTooLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Lease: 30 * time.Second})
		var cause error
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return nil
		}, pubsub.MaxHandling(time.Minute))
		r.session.intake <- driver.Intake{Deliveries: []driver.Delivery{{Receipt: driver.Receipt{Tag: 1, Deadline: time.Now().Add(30 * time.Second)}}}}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !errors.Is(cause, pubsub.ErrHandlerTooSlow) {
			t.Errorf("cause %v", cause)
		}
		r.end(nil)
	})
}

func TestLostLeaseEndsTheHandler(t *testing.T) {
	for name, extends := range map[string]func(*driver.Receipt, time.Duration){
		"told by Extend":              func(r *driver.Receipt, _ time.Duration) { r.Deadline = time.Time{} },
		"inferred from its deadline":  func(*driver.Receipt, time.Duration) {},
		"though the driver is silent": func(*driver.Receipt, time.Duration) { time.Sleep(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{Lease: 30 * time.Second})
				var cause error
				r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
					<-ctx.Done()
					cause = context.Cause(ctx)
					return nil
				})
				r.session.extends = extends
				r.session.intake <- driver.Intake{Deliveries: []driver.Delivery{{Receipt: driver.Receipt{Tag: 1, Deadline: time.Now().Add(30 * time.Second)}}}}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if !errors.Is(cause, pubsub.ErrLeaseLost) {
					t.Errorf("cause %v", cause)
				}
				if log := r.session.log(); len(log) > 0 {
					t.Errorf("a lost message was settled: %+v", log)
				}
				r.end(nil)
			})
		})
	}
}

func TestRevocationWithGrace(t *testing.T) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprint("slow=", slow), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				var released time.Duration
				var cause error
				began := time.Now()
				r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
					d := 10 * time.Second
					if slow {
						d = time.Hour
					}
					select {
					case <-time.After(d):
					case <-ctx.Done():
						cause = context.Cause(ctx)
					}
					return nil
				}, pubsub.Concurrency(1))
				r.session.give(1, driver.Message{}, driver.Message{})
				synctest.Wait()
				r.session.intake <- driver.Intake{Revocations: []driver.Revocation{{
					Grace: began.Add(30 * time.Second), Release: func() { released = time.Since(began) }, Cause: errBoom,
				}}}
				time.Sleep(time.Minute)
				synctest.Wait()
				if !slow && (verbs(r.session.log()) != "2 return, 1 ack" || released != 10*time.Second || cause != nil) {
					t.Errorf("settled %s, released after %v, cause %v", verbs(r.session.log()), released, cause)
				}
				if slow && (verbs(r.session.log()) != "2 return" || released != 30*time.Second || !errors.Is(cause, pubsub.ErrTakenBack) || !errors.Is(cause, errBoom)) {
					t.Errorf("settled %s, released after %v, cause %v", verbs(r.session.log()), released, cause)
				}
				r.end(nil)
			})
		})
	}
}

func TestSettlementsAreTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		tries := 0
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error { return nil })
		r.session.settles = func(v *driver.Settlement) {
			if tries++; tries < 3 {
				v.Outcome, v.OutcomeErr = driver.Again, errBoom
			}
		}
		r.session.give(1, driver.Message{})
		time.Sleep(time.Minute)
		synctest.Wait()
		if tries != 3 || r.session.messages != 1001 {
			t.Errorf("%d tries, credit for %d messages in all", tries, r.session.messages)
		}
		r.end(nil)
	})
}

func TestSessionsAreOpenedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		var causes []error
		r := receive(t, b, func(ctx context.Context, d *pubsub.Delivery) error {
			if string(d.Body) == "first" {
				<-ctx.Done()
				causes = append(causes, context.Cause(ctx))
			}
			return nil
		})
		r.session.give(1, driver.Message{Body: []byte("first")})
		synctest.Wait()
		r.session.die(errBoom)
		again := <-b.sessions
		again.give(1, driver.Message{Body: []byte("second")})
		synctest.Wait()
		if verbs(again.log()) != "1 ack" || len(r.session.log()) > 0 || !r.session.closed {
			t.Errorf("settled %s on the new session, %s on the dead one", verbs(again.log()), verbs(r.session.log()))
		}
		if len(causes) != 1 || !errors.Is(causes[0], pubsub.ErrTakenBack) || !errors.Is(causes[0], errBoom) {
			t.Errorf("causes %v", causes)
		}
		r.end(nil)
	})
}

func TestNativeDeadLetterCountsAttemptsThatAreMadeHere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{DeadLetter: true, Attempts: driver.AtLeast})
		var attempts []int
		r := receiveAs(t, b.client(t), b, func(_ context.Context, d *pubsub.Delivery) error {
			attempts = append(attempts, d.Attempt)
			return errBoom
		}, pubsub.Group("g"), pubsub.Ordered(), pubsub.NativeDeadLetter("dead", 3))
		r.session.give(1, driver.Message{Key: "k"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := verbs(r.session.log()); !slices.Equal(attempts, []int{1, 2, 3}) || got != "1 keep, 1 keep, 1 dead" {
			t.Errorf("attempts %v; settled %s", attempts, got)
		}
		r.end(nil)
	})
}

func TestInterruptedIntakeGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		free := make(chan struct{})
		r := receive(t, b, func(ctx context.Context, d *pubsub.Delivery) error {
			if string(d.Body) == "slow" {
				<-free
			}
			return ctx.Err()
		})
		r.session.give(1, driver.Message{Body: []byte("slow")})
		synctest.Wait()
		for range 3 {
			r.session.errs <- fmt.Errorf("poll: %w", &driver.Interrupted{Err: errBoom})
		}
		began := time.Now()
		for len(r.session.errs) > 0 && time.Since(began) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		if waited := time.Since(began); waited < 400*time.Millisecond {
			t.Errorf("three interruptions in a row took %v: there was no backoff", waited)
		}
		close(free)
		time.Sleep(10 * time.Second)
		r.session.give(2, driver.Message{Body: []byte("after")})
		synctest.Wait()
		if got := verbs(r.session.log()); got != "1 ack, 2 ack" || len(b.sessions) > 0 {
			t.Errorf("settled %s; %d further sessions were opened", got, len(b.sessions))
		}
		r.end(nil)
	})
}

func TestFinalErrorsEndReceive(t *testing.T) {
	denied := driver.Errorf(driver.CodePermissionDenied, "denied")
	t.Run("at once before the first success", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			b := newScripted(driver.Capabilities{})
			b.opens = func(what string) error {
				if what == "session" {
					return denied
				}
				return nil
			}
			c := b.client(t)
			s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent())
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := s.Receive(t.Context(), func(context.Context, *pubsub.Delivery) error { return nil }); !errors.Is(err, denied) || time.Since(began) > 0 {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			closeAll(t, c)
		})
	})
	t.Run("after a grace later on", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			b := newScripted(driver.Capabilities{})
			r := receive(t, b, func(context.Context, *pubsub.Delivery) error { return nil })
			began := time.Now()
			b.opens = func(string) error { return denied }
			r.session.die(errBoom)
			if err := <-r.done; !errors.Is(err, denied) || time.Since(began) < time.Minute {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			closeAll(t, r.client)
		})
	})
}

func TestDrainLeavesAHandlerBehindThatIgnoresItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		release := make(chan struct{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error {
			<-release
			return nil
		}, pubsub.DrainTimeout(time.Second))
		r.session.give(1, driver.Message{})
		synctest.Wait()
		r.stop()
		if err := <-r.done; !errors.Is(err, pubsub.ErrDrainTimeout) {
			t.Errorf("Receive: %v", err)
		}
		close(release)
		synctest.Wait()
		if len(r.session.log()) > 0 {
			t.Errorf("settled %s after its session was closed", verbs(r.session.log()))
		}
		closeAll(t, r.client)
	})
}

func TestCloseHurriesADrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		})
		r.session.give(1, driver.Message{})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := r.sub.Close(ctx); pubsub.CodeOf(err) != pubsub.CodeCanceled || time.Since(began) > 5*time.Second {
			t.Errorf("Close after %v: %v", time.Since(began), err)
		}
		r.returned(nil)
	})
}

func TestDrainReturnsAKeyBehindItsHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Hold: time.Hour})
		release := make(chan struct{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error {
			<-release
			return errBoom
		}, pubsub.Ordered())
		key := func(k string) driver.Message { return driver.Message{Key: k} }
		r.session.give(1, key("a"), key("a"), key("a"))
		synctest.Wait()
		r.stop()
		synctest.Wait()
		r.settled("")
		close(release)
		r.returned(nil)
		r.settled("1 keep, 1 return, 2 return, 3 return")
	})
}

// Postponed messages fill what may be in flight as failed ones do.
func TestStallIsTold(t *testing.T) {
	for name, verdict := range map[string]error{
		"failed": pubsub.RetryAfter(time.Minute, errBoom), "postponed": pubsub.Postpone(time.Minute, errBoom),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{Hold: time.Hour})
				h := &hookCounts{}
				r := receiveWith(t, b.client(t, pubsub.Observe(h)), b, func(context.Context, *pubsub.Delivery) error {
					return verdict
				}, pubsub.InFlight(2, 0))
				r.session.give(1, driver.Message{}, driver.Message{})
				synctest.Wait()
				if h.stalls.Load() != 1 {
					t.Errorf("%d stalls", h.stalls.Load())
				}
				r.end(nil)
			})
		})
	}
}

// What is being settled makes room in a moment: that is no stall.
func TestNoStallWhileSettling(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Hold: time.Hour})
		h := &hookCounts{}
		r := receiveWith(t, b.client(t, pubsub.Observe(h)), b, func(_ context.Context, d *pubsub.Delivery) error {
			if len(d.Body) == 0 {
				return pubsub.RetryAfter(time.Minute, errBoom)
			}
			return nil
		}, pubsub.InFlight(2, 0), pubsub.Concurrency(1))
		r.session.give(1, driver.Message{}, driver.Message{Body: []byte("done")})
		synctest.Wait()
		if h.stalls.Load() != 0 {
			t.Errorf("%d stalls", h.stalls.Load())
		}
		r.end(nil)
	})
}

// hookCounts has every hook.
type hookCounts struct{ publishes, intakes, handles, settles, leases, stalls, connects atomic.Int32 }

func (h *hookCounts) OnPublish(pubsub.PublishInfo) { h.publishes.Add(1) }
func (h *hookCounts) OnIntake(pubsub.IntakeInfo)   { h.intakes.Add(1) }
func (h *hookCounts) OnHandle(i pubsub.HandleInfo) {
	if i.Delivery != nil && i.Verdict == pubsub.VerdictDone && i.Took >= 0 {
		h.handles.Add(1)
	}
}
func (h *hookCounts) OnSettle(pubsub.SettleInfo) { h.settles.Add(1) }
func (h *hookCounts) OnLease(i pubsub.LeaseInfo) { h.leases.Add(int32(i.Extended)) }
func (h *hookCounts) OnStall(pubsub.StallInfo)   { h.stalls.Add(1) }
func (h *hookCounts) OnConnect(i pubsub.ConnectInfo) {
	if i.Err == nil {
		h.connects.Add(1)
	}
}

func TestHooks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := &hookCounts{}
		broker, err := memory.New(memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := pubsub.New(t.Context(), broker, pubsub.Observe(h))
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Subscriber(t.Context(), "t", pubsub.Queue(), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		if err := open(t, c, pubsub.Queue()).Publish(t.Context(), &pubsub.Message{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = c.Serve(ctx, pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error {
			time.Sleep(time.Minute)
			cancel()
			return nil
		}))
		if err != nil || h.publishes.Load() != 1 || h.intakes.Load() != 1 || h.handles.Load() != 1 || h.settles.Load() != 1 ||
			h.leases.Load() < 2 || h.connects.Load() != 1 {
			t.Errorf("%v, %+v", err, h)
		}
	})
}

func TestHandlersThatEndTheirGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{RetryDelay: time.Hour})
		calls := 0
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error {
			if calls++; calls == 1 {
				runtime.Goexit()
			}
			return nil
		}, pubsub.Concurrency(1))
		r.session.give(1, driver.Message{}, driver.Message{})
		synctest.Wait()
		r.settled("1 retry, 2 ack")
		r.end(nil)
	})
}

func TestPanicsAreLoggedWithoutBodies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out bytes.Buffer
		b := newScripted(driver.Capabilities{RetryDelay: time.Hour})
		c, err := pubsub.New(t.Context(), b, pubsub.Logger(slog.New(slog.NewTextHandler(&out, nil))))
		if err != nil {
			t.Fatal(err)
		}
		r := receiveWith(t, c, b, func(context.Context, *pubsub.Delivery) error { panic("oh") })
		r.session.give(1, driver.Message{ID: "7", Body: []byte("secret")})
		synctest.Wait()
		r.end(nil)
		if got := out.String(); !strings.Contains(got, "panic=oh") || !strings.Contains(got, "id=7") || strings.Contains(got, "secret") {
			t.Errorf("logged %s", got)
		}
	})
}

func TestContextOfAHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type key struct{}
		b := newScripted(driver.Capabilities{})
		c := b.client(t)
		s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		var kept context.Context
		var child context.Context
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		done := make(chan error)
		go func() {
			done <- s.Receive(ctx, func(ctx context.Context, _ *pubsub.Delivery) error {
				if ctx.Value(key{}) != "value" || ctx.Err() != nil || context.Cause(ctx) != nil || pubsub.Draining(ctx) == nil {
					t.Errorf("value %v, error %v", ctx.Value(key{}), ctx.Err())
				}
				cancel() // a shutdown does not end it
				<-pubsub.Draining(ctx)
				if ctx.Err() != nil {
					t.Error("the context ended with the shutdown's beginning")
				}
				kept = ctx
				var stop context.CancelFunc
				child, stop = context.WithTimeout(ctx, time.Hour)
				context.AfterFunc(child, stop)
				return nil
			})
		}()
		(<-b.sessions).give(1, driver.Message{})
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-kept.Done()
		<-child.Done()
		if !errors.Is(kept.Err(), context.Canceled) || !errors.Is(child.Err(), context.Canceled) {
			t.Errorf("after the handler: %v, %v", kept.Err(), child.Err())
		}
		closeAll(t, c)
	})
}

func TestBatches(t *testing.T) {
	deliver := func(t *testing.T, policy pubsub.BatchPolicy, handler pubsub.BatchHandler, options ...pubsub.SubscriberOption) (*reception, func()) {
		b := newScripted(driver.Capabilities{RetryDelay: time.Hour})
		r := &reception{t: t, client: b.client(t), done: make(chan error, 1)}
		s, err := r.client.Subscriber(t.Context(), "t", append(options, pubsub.Group("g"), pubsub.DropPermanent())...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		go func() { r.done <- s.ReceiveBatch(ctx, policy, handler) }()
		r.session = <-b.sessions
		return r, func() { r.session.give(1, driver.Message{}, driver.Message{}, driver.Message{}) }
	}
	bodies := func(sizes *[]int, mu *sync.Mutex) pubsub.BatchHandler {
		return func(_ context.Context, batch []*pubsub.Delivery) []error {
			mu.Lock()
			defer mu.Unlock()
			*sizes = append(*sizes, len(batch))
			return nil
		}
	}
	t.Run("by count and by time", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			var mu sync.Mutex
			var sizes []int
			r, give := deliver(t, pubsub.BatchPolicy{Messages: 2, Wait: time.Minute}, bodies(&sizes, &mu))
			give()
			synctest.Wait()
			mu.Lock()
			if !reflect.DeepEqual(sizes, []int{2}) {
				t.Errorf("batches of %v at first", sizes)
			}
			mu.Unlock()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if !reflect.DeepEqual(sizes, []int{2, 1}) {
				t.Errorf("batches of %v in the end", sizes)
			}
			r.end(nil)
		})
	})
	t.Run("each has its verdict", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r, give := deliver(t, pubsub.BatchPolicy{}, func(_ context.Context, batch []*pubsub.Delivery) []error {
				verdicts := make([]error, len(batch))
				verdicts[1] = errBoom
				return verdicts
			})
			give()
			synctest.Wait()
			r.settled("1 ack, 2 retry, 3 ack")
			r.end(nil)
		})
	})
	for name, handler := range map[string]pubsub.BatchHandler{
		"panics":                   func(context.Context, []*pubsub.Delivery) []error { panic("oh") },
		"wrong number of verdicts": func(context.Context, []*pubsub.Delivery) []error { return []error{nil} },
		"ends its goroutine":       func(context.Context, []*pubsub.Delivery) []error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, give := deliver(t, pubsub.BatchPolicy{}, handler)
				give()
				synctest.Wait()
				r.settled("1 retry, 2 retry, 3 retry")
				r.end(nil)
			})
		})
	}
	t.Run("middleware surrounds each", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			var calls [][]uint64
			retryOnce := func(next pubsub.Handler) pubsub.Handler {
				return func(ctx context.Context, d *pubsub.Delivery) error {
					if string(d.Body) == "skip" {
						return nil
					}
					if err := next(ctx, d); err == nil {
						return nil
					}
					return next(ctx, d)
				}
			}
			b := newScripted(driver.Capabilities{RetryDelay: time.Hour})
			c := b.client(t)
			s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Use(retryOnce))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				done <- s.ReceiveBatch(ctx, pubsub.BatchPolicy{}, func(_ context.Context, batch []*pubsub.Delivery) []error {
					verdicts := make([]error, len(batch))
					var ids []uint64
					for i, d := range batch {
						ids = append(ids, uint64(d.Body[0]-'0'))
						if len(calls) == 0 && string(d.Body) == "3" {
							verdicts[i] = errBoom
						}
					}
					calls = append(calls, ids)
					return verdicts
				})
			}()
			session := <-b.sessions
			body := func(s string) driver.Message { return driver.Message{Body: []byte(s)} }
			session.give(1, body("1"), body("skip"), body("3"), body("4"))
			synctest.Wait()
			if !reflect.DeepEqual(calls, [][]uint64{{1, 3, 4}, {3}}) || verbs(session.log()) != "1 ack, 2 ack, 3 ack, 4 ack" {
				t.Errorf("calls %v, settled %s", calls, verbs(session.log()))
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			closeAll(t, c)
		})
	})
}

func TestServeEndsAllWhenOneFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		c := b.client(t)
		s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		err = pubsub.Serve(t.Context(), pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error { return nil }), pubsub.Handle(s, nil))
		if pubsub.CodeOf(err) != pubsub.CodeInvalid {
			t.Errorf("got %v", err)
		}
		closeAll(t, c)
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryStaysFlatBehindABlockedHandler publishes without waiting to a handler that
// does not return: what is kept is bounded on each leg of the way.
func TestMemoryStaysFlatBehindABlockedHandler(t *testing.T) {
	const body = 10 << 10
	broker, err := memory.New(memory.Config{BacklogMessages: 100})
	if err != nil {
		t.Fatal(err)
	}
	c, err := pubsub.New(t.Context(), broker)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent(), pubsub.InFlight(50, 0))
	if err != nil {
		t.Fatal(err)
	}
	topic := open(t, c, pubsub.PublishLimit(100, 0))
	release := make(chan struct{})
	serving, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Serve(serving, pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error {
			<-release
			return nil
		}))
	}()
	var outcomes sync.WaitGroup
	var stored atomic.Int32
	publish := func() int64 {
		publishing, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		for publishing.Err() == nil {
			outcomes.Add(1)
			topic.PublishAsync(publishing, &pubsub.Message{Body: make([]byte, body)}, func(err error) {
				defer outcomes.Done()
				if err == nil {
					stored.Add(1)
				}
			})
		}
		return heap()
	}
	empty, full := heap(), publish()
	atFirst := stored.Load()
	for before := int32(-1); before != atFirst; { // a busy machine takes a while to fill it all
		before = atFirst
		full = publish()
		atFirst = stored.Load()
	}
	later := publish()
	t.Logf("%d messages of %d bytes stored, heap %d KiB; %d stored, heap %d KiB", atFirst, body, (full-empty)>>10, stored.Load(), (later-empty)>>10)
	if full-empty > 8<<20 || later-full > 1<<20 {
		t.Errorf("the heap grew by %d bytes, then by %d", full-empty, later-full)
	}
	close(release)
	outcomes.Wait()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestMemoryStaysFlat shows that a publisher that does not wait for a broker that
// hangs keeps within its bounds.
func TestMemoryStaysFlat(t *testing.T) {
	b := newScripted(driver.Capabilities{SendBatch: driver.Batch{Messages: 10}})
	stuck := make(chan struct{})
	b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
		<-stuck
		all(driver.Stored, nil)(n, batch, fate)
	}
	c := b.client(t)
	topic := open(t, c, pubsub.PublishLimit(100, 1<<20))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	before := heap()
	sent := 0
	for ctx.Err() == nil {
		topic.PublishAsync(ctx, &pubsub.Message{Body: make([]byte, 10<<10)}, nil)
		sent++
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes with a limit of 1 MiB", grown)
	}
	if sent > 200 {
		t.Errorf("%d messages were taken with a limit of 100", sent)
	}
	close(stuck)
	closeAll(t, c)
}

// TestReturnedMessagesDoNotDisturbTheQueue gives messages back while others wait,
// and new ones in their place.
func TestReturnedMessagesDoNotDisturbTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		release := make(chan struct{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error {
			<-release
			return nil
		}, pubsub.Concurrency(1), pubsub.MaxHandling(time.Minute))
		r.session.give(1, make([]driver.Message, 5)...)
		for round := range uint64(3) {
			time.Sleep(2 * time.Minute) // those that wait go back
			synctest.Wait()
			r.session.give(10+10*round, make([]driver.Message, 5)...)
			synctest.Wait()
		}
		close(release)
		synctest.Wait()
		acked := 0
		for _, v := range r.session.log() {
			if v.verb == driver.Ack {
				acked++
			}
		}
		if acked != 6 { // the first, and the last five
			t.Errorf("%d acknowledged: %s", acked, verbs(r.session.log()))
		}
		r.end(nil)
	})
}

// A Receive that is under way when a message goes back may carry a later one of its key,
// which must not start before the one that went back has come again. The handler owns its
// delivery, with the key: what it makes of that changes nothing.
func TestWhatAReceiveCarriesWhileItsKeyGoesBack(t *testing.T) {
	for _, key := range []string{"k", "mine"} {
		t.Run(key, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{Hold: time.Minute, RetryDelay: time.Hour, OrderedRetry: driver.WithTail})
				var seen []string
				fail := make(chan struct{})
				r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
					seen = append(seen, string(d.Body))
					if d.Key = key; len(seen) == 1 {
						<-fail
						return pubsub.RetryAfter(10*time.Minute, errBoom)
					}
					return nil
				}, pubsub.Ordered())
				message := func(body string) driver.Message { return driver.Message{Key: "k", Body: []byte(body)} }
				r.session.give(1, message("1"))
				synctest.Wait()
				r.session.carry(2, message("2"))
				synctest.Wait()
				close(fail)
				synctest.Wait()
				r.session.land()
				synctest.Wait()
				if got := strings.Join(seen, " "); got != "1" {
					t.Errorf("handled %s while 1 was away", got)
				}
				r.settled("1 retry, 2 return")
				r.session.give(3, message("1"), message("2"))
				synctest.Wait()
				if got := strings.Join(seen, " "); got != "1 1 2" {
					t.Errorf("handled %s, want 1 1 2", got)
				}
				r.end(nil)
			})
		})
	}
}

// The same where a lease was lost meanwhile.
func TestHandlerThatChangesTheKeyKeepsTheOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		var seen []string
		r := receive(t, b, func(ctx context.Context, d *pubsub.Delivery) error {
			seen = append(seen, string(d.Body))
			if d.Key = "mine"; len(seen) == 1 {
				<-ctx.Done()
			}
			return nil
		}, pubsub.Ordered())
		message := func(body string) driver.Message { return driver.Message{Key: "k", Body: []byte(body)} }
		r.session.give(1, message("1"))
		synctest.Wait()
		r.session.intake <- driver.Intake{Revocations: []driver.Revocation{{Tags: []uint64{1}, Cause: pubsub.ErrLeaseLost}}}
		synctest.Wait()
		r.session.give(2, message("2")) // was on its way
		synctest.Wait()
		r.session.give(3, message("1"), message("2"))
		synctest.Wait()
		if got := strings.Join(seen, " "); got != "1 1 2" {
			t.Errorf("handled %s, want 1 1 2", got)
		}
		r.end(nil)
	})
}

// A panic of who looks gives back what was taken, as an end does.
func TestBrowseGivesBackAfterAPanic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		c := b.client(t)
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_ = c.Browse(t.Context(), "t", "g", pubsub.BrowsePolicy{}, func(*pubsub.Delivery) bool { panic("looked too closely") })
		}()
		session := <-b.sessions
		session.give(1, driver.Message{})
		if value := <-panicked; value != "looked too closely" {
			t.Errorf("panic %v", value)
		}
		if got := verbs(session.log()); got != "1 return" || !session.closed {
			t.Errorf("settled %q, closed: %t", got, session.closed)
		}
		closeAll(t, c)
	})
}
