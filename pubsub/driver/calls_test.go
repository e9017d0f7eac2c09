package driver_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func ExampleCalls() {
	life := driver.NewLife(nil)
	calls := driver.NewCalls(&life)
	dial := func() (string, error) { return "a session", nil } // of a client that knows no contexts
	hangUp := func(session string) { fmt.Println("hang up", session) }

	session, err := driver.Within(context.Background(), calls, dial, hangUp)
	fmt.Println(session, err)

	life.End(errors.New("connection closed"))
	calls.Wait(context.Background())
	_, err = driver.Within(context.Background(), calls, dial, hangUp)
	fmt.Println(err)
	// Output:
	// a session <nil>
	// connection closed
}

var errLate = errors.New("too late")

func TestWithin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls driver.Calls
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errLate)
		defer cancel()
		var undone []int
		undo := func(n int) { undone = append(undone, n) }
		after := func(d time.Duration, n int, err error) func() (int, error) {
			return func() (int, error) {
				time.Sleep(d) // of the bubble
				return n, err
			}
		}
		boom := errors.New("boom")
		for _, c := range []struct {
			call func() (int, error)
			n    int
			err  error
		}{
			{after(time.Millisecond, 1, nil), 1, nil},
			{after(time.Millisecond, 2, boom), 2, boom},
			{after(time.Minute, 3, nil), 0, errLate},
			{after(time.Minute, 4, boom), 0, errLate},
		} {
			if n, err := driver.Within(ctx, &calls, c.call, undo); n != c.n || !errors.Is(err, c.err) {
				t.Errorf("got %d, %v; want %d, %v", n, err, c.n, c.err)
			}
		}
		if _, err := driver.Within(ctx, &calls, after(time.Minute, 5, nil), nil); !errors.Is(err, errLate) {
			t.Errorf("got %v", err)
		}
		calls.Wait(t.Context())
		if len(undone) != 1 || undone[0] != 3 {
			t.Errorf("undone: %v; want that which came too late, and no failure", undone)
		}
	})
}

// A call that nobody waits for any more is waited for in the end, as long as that may
// take, and what it brings is undone. None begins after the Life.
func TestCallsAreAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		life := driver.NewLife(nil)
		calls := driver.NewCalls(&life)
		calls.Wait(t.Context()) // for nothing
		asking, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		var undone atomic.Int32
		_, err := driver.Within(asking, calls, func() (int32, error) { time.Sleep(time.Minute); return 7, nil }, func(n int32) { undone.Store(n) })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		over := errors.New("over")
		life.End(over)
		called := false
		if _, err := driver.Within(t.Context(), calls, func() (int, error) { called = true; return 0, nil }, nil); !errors.Is(err, over) || called {
			t.Errorf("a call after the end: %v, called: %t", err, called)
		}
		closing, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		calls.Wait(closing)
		if undone.Load() != 0 {
			t.Error("waiting took longer than it may")
		}
		calls.Wait(t.Context())
		if undone.Load() != 7 {
			t.Error("a call that was under way was not waited for")
		}
		calls.Go(func() { undone.Store(8) })
		if calls.Wait(t.Context()); undone.Load() != 8 {
			t.Error("what began after the end was not waited for")
		}
	})
}
