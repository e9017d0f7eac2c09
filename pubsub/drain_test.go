package pubsub_test

import (
	"context"
	"errors"
	"strings"
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
		r.stop()
		if err := <-r.done; err != nil {
			t.Errorf("Receive: %v", err)
		}
		if ended != 10*time.Second || !errors.Is(cause, pubsub.ErrDrainTimeout) {
			t.Errorf("the handler's context ended after %v by %v, want 10s by the drain timeout", ended, cause)
		}
		if got := verbs(r.session.log()); got != "1 ack" {
			t.Errorf("settled %q, want what was handled", got)
		}
		closeAll(t, r.client)
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
		if err := <-r.done; err != nil {
			t.Errorf("Receive: %v", err)
		}
		if ended != time.Second {
			t.Errorf("the handler's context ended after %v, want 1s", ended)
		}
		closeAll(t, r.client)
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
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if got := verbs(r.session.log()); !strings.HasSuffix(got, ", 2 return, 3 return, 4 return") {
			t.Errorf("settled %s", got)
		}
		closeAll(t, r.client)
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
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if got := verbs(second.log()); got != "1 return, 2 return" {
			t.Errorf("settled %q", got)
		}
		closeAll(t, r.client)
	})
}
