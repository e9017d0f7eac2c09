package pubsub_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

func done(context.Context, *pubsub.Delivery) error { return nil }

// credit returns what the session was allowed in all.
func (s *scriptedSession) credit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages
}

func (s *scriptedSession) commitCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit
}

func TestCreditDoesNotWaitForTheCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SettleCommits: true})
		r := receive(t, b, done, pubsub.InFlight(10, 0))
		r.session.commits = func(int) error {
			time.Sleep(time.Second) // the broker is far away
			return nil
		}
		for i := range 5 {
			r.session.give(uint64(1+10*i), make([]driver.Message, 10)...)
			synctest.Wait()
		}
		if got := r.session.credit(); got != 10+50 {
			t.Errorf("credit is %d in all, want 60", got)
		}
		if n := r.session.commitCount(); n != 1 {
			t.Errorf("%d commits are under way or done, want 1", n)
		}
		time.Sleep(time.Hour)
		if n := r.session.commitCount(); n != 2 { // the second took all that came since
			t.Errorf("%d commits, want 2", n)
		}
		r.end(nil)
	})
}

func TestACommitWaitsForCompanyWhileHandlersRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const linger = 10 * time.Millisecond
		b := newScripted(driver.Capabilities{SettleCommits: true, SettleBatch: driver.Batch{Linger: linger}})
		free := make(chan struct{})
		r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
			if string(d.Body) == "slow" {
				<-free
			}
			return nil
		})
		var at []time.Duration
		began := time.Now()
		r.session.commits = func(int) error {
			at = append(at, time.Since(began))
			return nil
		}
		r.session.give(1, driver.Message{Body: []byte("slow")})
		synctest.Wait()
		r.session.give(2, driver.Message{}, driver.Message{})
		time.Sleep(linger / 2)
		r.session.give(4, driver.Message{})
		time.Sleep(time.Minute)
		close(free)
		synctest.Wait()
		if want := []time.Duration{linger, linger/2 + time.Minute}; !slices.Equal(at, want) {
			t.Errorf("committed at %v, want %v", at, want)
		}
		r.end(nil)
	})
}

// Where commits do not come through, what is settled without one is bounded, and all of
// it is committed in the end, before the session is closed.
func TestFailedCommitsHoldIntakeBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SettleCommits: true})
		var logs bytes.Buffer
		client := b.client(t, pubsub.Logger(slog.New(slog.NewTextHandler(&logs, nil))))
		r := receiveWith(t, client, b, done, pubsub.InFlight(10, 0))
		var broken atomic.Bool
		broken.Store(true)
		r.session.commits = func(int) error {
			if broken.Load() {
				return errBoom
			}
			if r.session.closed {
				t.Error("a commit after Close")
			}
			return nil
		}
		for i := range 100 {
			if r.session.credit() < 10*(i+1) {
				break // as a driver does
			}
			r.session.give(uint64(1+10*i), make([]driver.Message, 10)...)
			synctest.Wait()
		}
		if got := len(r.session.log()); got < 100 || got > 200 {
			t.Errorf("%d messages were settled without a commit, want some 16 times the 10 that may be in flight", got)
		}
		before := r.session.commitCount()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := r.session.commitCount() - before; n < 10 || n > 100 {
			t.Errorf("%d further commits within a minute, want one a second or so", n)
		}
		if got := strings.Count(logs.String(), "did not take a commit"); got < 10 {
			t.Errorf("the log tells of %d failed commits", got)
		}
		broken.Store(false)
		time.Sleep(time.Minute)
		if got, want := r.session.credit(), 10+len(r.session.log()); got != want {
			t.Errorf("credit is %d in all once commits work, want %d", got, want)
		}
		r.end(nil)
	})
}

func TestADrainWaitsForTheLastCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SettleCommits: true, SettleBatch: driver.Batch{Linger: time.Minute}})
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			<-pubsub.Draining(ctx)
			return nil
		})
		var committed int
		r.session.commits = func(n int) error {
			if time.Sleep(time.Second); n == 1 {
				return errBoom
			}
			committed = len(r.session.log())
			if r.session.closed {
				t.Error("closed before the last commit")
			}
			return nil
		}
		r.session.give(1, driver.Message{}, driver.Message{})
		synctest.Wait()
		r.end(nil)
		if committed != 2 {
			t.Errorf("%d of 2 settlements were committed", committed)
		}
	})
}

func TestASessionThatClaimsToCommitMust(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SettleCommits: true})
		c := b.client(t)
		d := struct{ driver.Session }{}
		b.wraps = func(s driver.Session) driver.Session {
			d.Session = s
			return d
		}
		s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		err = s.Receive(t.Context(), done)
		if pubsub.CodeOf(err) != pubsub.CodeUnsupported || !strings.Contains(err.Error(), "Committer") {
			t.Errorf("got %v", err)
		}
		closeAll(t, c)
	})
}
