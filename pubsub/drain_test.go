package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// slowToQuiesce is a session that lets its polls finish.
type slowToQuiesce struct {
	*scriptedSession
	takes time.Duration
}

func (s *slowToQuiesce) Quiesce(ctx context.Context) error {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
	}
	return s.scriptedSession.Quiesce(ctx)
}

// The drain timeout begins with the drain, not when the broker has ended intake, and
// what the handlers ruled by then is still settled.
func TestDrainTimeoutRunsWhileIntakeEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		b.wraps = func(s driver.Session) driver.Session {
			return &slowToQuiesce{s.(*scriptedSession), 25 * time.Second} //nolint:forcetypeassert // ours
		}
		var ended time.Duration
		var cause error
		var stopped time.Time
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			<-ctx.Done()
			ended, cause = time.Since(stopped), context.Cause(ctx)
			time.Sleep(time.Second)
			return nil
		}, pubsub.DrainTimeout(10*time.Second))
		r.session.give(1, driver.Message{})
		synctest.Wait()
		stopped = time.Now()
		r.end(nil)
		if ended != 10*time.Second || !errors.Is(cause, pubsub.ErrDrainTimeout) {
			t.Errorf("the handler's context ended after %v by %v, want 10s by the drain timeout", ended, cause)
		}
		r.settled("1 ack")
	})
}

// hesitant is a session that takes no settlements, and notes how long its Close may take.
type hesitant struct {
	*scriptedSession
	began  time.Time // of the flush
	flush  time.Duration
	closes time.Duration
}

func (s *hesitant) Settle(ctx context.Context, batch []driver.Settlement) {
	s.began = time.Now()
	<-ctx.Done()
	for i := range batch {
		batch[i].Outcome, batch[i].OutcomeErr = driver.Again, context.Cause(ctx)
	}
}

func (s *hesitant) Close(ctx context.Context) error {
	s.flush = time.Since(s.began)
	if until, bounded := ctx.Deadline(); bounded {
		s.closes = time.Until(until)
	}
	return s.scriptedSession.Close(ctx)
}

// hesitating makes a broker's session a hesitant one.
func hesitating(b *scripted) *hesitant {
	s := &hesitant{}
	b.wraps = func(from driver.Session) driver.Session {
		s.scriptedSession = from.(*scriptedSession) //nolint:forcetypeassert // ours
		return s
	}
	return s
}

// A broker that takes no settlements leaves Close its own time, to give back what it has.
func TestCloseHasItsOwnTimeAfterAFlush(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		s := hesitating(b)
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			<-pubsub.Draining(ctx)
			return nil
		})
		r.session.give(1, driver.Message{})
		synctest.Wait()
		r.end(nil)
		if s.flush != 10*time.Second || s.closes != 10*time.Second {
			t.Errorf("the flush took %v, want 10s; then Close had %v, want 10s", s.flush, s.closes)
		}
	})
}

func TestCloseHasItsOwnTimeAfterABrowse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		s := hesitating(b)
		c := b.client(t)
		done := make(chan error, 1)
		go func() {
			done <- c.Browse(t.Context(), "t", "g", pubsub.BrowsePolicy{}, func(*pubsub.Delivery) bool { return true })
		}()
		(<-b.sessions).give(1, driver.Message{})
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s.flush != 12*time.Second || s.closes != 10*time.Second {
			t.Errorf("giving back took %v, want 12s; then Close had %v, want 10s", s.flush, s.closes)
		}
		closeAll(t, c)
	})
}

// A subscription's Close ends the handlers with its context, though the broker is slow
// to end intake.
func TestCloseHurriesHandlersWhileIntakeEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		b.wraps = func(s driver.Session) driver.Session {
			return &slowToQuiesce{s.(*scriptedSession), 15 * time.Second} //nolint:forcetypeassert // ours
		}
		var ended time.Duration
		var stopped time.Time
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			<-ctx.Done()
			ended = time.Since(stopped)
			return nil
		})
		r.session.give(1, driver.Message{})
		synctest.Wait()
		stopped = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.sub.Close(ctx); pubsub.CodeOf(err) != pubsub.CodeCanceled {
			t.Errorf("Close: %v", err)
		}
		r.returned(nil)
		if ended != time.Second {
			t.Errorf("the handler's context ended after %v, want 1s", ended)
		}
	})
}

// While intake ends nothing goes back, for it could come right back.
func TestDrainReturnsNothingBeforeIntakeHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Hold: time.Hour})
		b.wraps = func(s driver.Session) driver.Session {
			return &slowToQuiesce{s.(*scriptedSession), 5 * time.Second} //nolint:forcetypeassert // ours
		}
		r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
			time.Sleep(time.Second)
			if string(d.Body) == "fails" {
				return errBoom
			}
			return nil
		}, pubsub.Concurrency(2), pubsub.Ordered())
		r.session.give(1, driver.Message{}, driver.Message{Key: "k", Body: []byte("fails")}, driver.Message{Key: "k"}, driver.Message{})
		synctest.Wait()
		r.stop()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := verbs(r.session.log()); got != "1 ack, 2 keep" && got != "2 keep, 1 ack" {
			t.Errorf("settled %s while intake was to end", got)
		}
		r.returned(nil)
		if got := verbs(r.session.log()); !strings.HasSuffix(got, ", 2 return, 3 return, 4 return") {
			t.Errorf("settled %s", got)
		}
	})
}

// What waits behind a handler of a session that was lost goes back too.
func TestDrainReturnsAKeyBehindAHandlerOfALostSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		release := make(chan struct{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error {
			<-release
			return nil
		}, pubsub.Ordered())
		r.session.give(1, driver.Message{Key: "k"})
		synctest.Wait()
		r.session.die(errBoom)
		second := <-b.sessions
		second.give(1, driver.Message{Key: "k"}, driver.Message{Key: "k"})
		synctest.Wait()
		r.stop()
		synctest.Wait()
		close(release)
		r.returned(nil)
		if got := verbs(second.log()); got != "1 return, 2 return" {
			t.Errorf("settled %q", got)
		}
	})
}

// patient is a handler that runs for so long, unless its context ends, and notes when and
// why that was.
func patient(d time.Duration, ended *time.Duration, cause *error) pubsub.Handler {
	return func(ctx context.Context, _ *pubsub.Delivery) error {
		began := time.Now()
		select {
		case <-time.After(d):
		case <-ctx.Done():
			*cause = context.Cause(ctx)
		}
		*ended = time.Since(began)
		return nil
	}
}

// A handler that runs on while its subscription drains learns as soon as any other that
// its session is lost.
func TestSessionLostWhileItDrains(t *testing.T) {
	for _, batched := range []bool{false, true} {
		t.Run(fmt.Sprint("batched=", batched), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				var ended time.Duration
				var cause error
				handler := patient(20*time.Second, &ended, &cause)
				var r *reception
				if batched {
					r = receiveBatches(t, b, func(ctx context.Context, _ []*pubsub.Delivery) []error {
						return []error{handler(ctx, nil)}
					})
				} else {
					r = receive(t, b, handler)
				}
				r.session.give(1, driver.Message{})
				synctest.Wait()
				r.stop()
				time.Sleep(5 * time.Second)
				r.session.die(errBoom)
				r.returned(nil)
				if ended != 5*time.Second || !errors.Is(cause, pubsub.ErrTakenBack) || !errors.Is(cause, errBoom) {
					t.Errorf("the handler's context ended after %v by %v; want 5s, by the loss", ended, cause)
				}
				if log := r.session.log(); len(log) > 0 {
					t.Errorf("settled %s on a dead session", verbs(log))
				}
				if !r.session.closed {
					t.Error("the session was not closed")
				}
			})
		})
	}
}

// What is taken back while a subscription drains is taken back as ever: with a grace, and
// released as soon as nothing of it runs.
func TestRevocationWhileItDrains(t *testing.T) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprint("slow=", slow), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				runs := 10 * time.Second
				if slow {
					runs = 29 * time.Second
				}
				var ended, released time.Duration
				var cause error
				r := receive(t, b, patient(runs, &ended, &cause))
				began := time.Now()
				r.session.give(1, driver.Message{})
				synctest.Wait()
				r.stop()
				synctest.Wait()
				r.session.intake <- driver.Intake{Revocations: []driver.Revocation{{
					Grace: began.Add(20 * time.Second), Release: func() { released = time.Since(began) }, Cause: errBoom,
				}}}
				r.returned(nil)
				synctest.Wait()
				if !slow && (verbs(r.session.log()) != "1 ack" || released != 10*time.Second || cause != nil) {
					t.Errorf("settled %q, released after %v, cause %v", verbs(r.session.log()), released, cause)
				}
				if slow && (len(r.session.log()) > 0 || released != 20*time.Second || ended != 20*time.Second || !errors.Is(cause, errBoom)) {
					t.Errorf("settled %q, released after %v, ended after %v by %v", verbs(r.session.log()), released, ended, cause)
				}
			})
		})
	}
}

// A session that tells nothing after ErrQuiesced, and says it again, is not asked in a loop.
func TestDrainOfASessionThatSaysQuiescedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		var ended time.Duration
		var cause error
		r := receive(t, b, patient(20*time.Second, &ended, &cause))
		r.session.blunt = true
		r.session.give(1, driver.Message{})
		synctest.Wait()
		r.end(nil)
		if ended != 20*time.Second || cause != nil || verbs(r.session.log()) != "1 ack" {
			t.Errorf("settled %q; the handler ended after %v by %v", verbs(r.session.log()), ended, cause)
		}
	})
}

// A handler that ends because a drain begins makes no room for the next message.
func TestNothingStartsOnceADrainHasBegun(t *testing.T) {
	t.Parallel()
	for range 300 {
		b := newScripted(driver.Capabilities{})
		var starts atomic.Int32
		started := make(chan struct{}, 100)
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			starts.Add(1)
			started <- struct{}{}
			<-pubsub.Draining(ctx)
			return nil
		}, pubsub.Concurrency(4))
		r.session.give(1, make([]driver.Message, 50)...)
		for range 4 {
			<-started
		}
		r.end(nil)
		if n := starts.Load(); n != 4 {
			t.Fatalf("%d handlers were started, want 4", n)
		}
	}
}
