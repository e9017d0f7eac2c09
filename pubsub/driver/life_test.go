package driver_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func ExampleLife() {
	type conn struct{ driver.Life }
	type topic struct{ driver.Life }

	c := conn{driver.NewLife(nil)}
	first, second := topic{driver.NewLife(&c.Life)}, topic{driver.NewLife(&c.Life)}
	first.End(errors.New("channel closed"))
	fmt.Println(first.Err(), "-", second.Err())
	c.End(errors.New("connection lost"))
	<-second.Done()
	fmt.Println(first.Err(), "-", second.Err())
	// Output:
	// channel closed - <nil>
	// channel closed - connection lost
}

var errLate = errors.New("too late")

func TestWithin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls sync.WaitGroup
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
		calls.Wait()
		if len(undone) != 1 || undone[0] != 3 {
			t.Errorf("undone: %v; want that which came too late, and no failure", undone)
		}
	})
}
