package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A call that nobody waits for any more is waited for when the connection is closed, as
// long as that may take, and what it brings is undone. None begins after that.
func TestCallsAreAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := unconnected(t)
		asking, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		var undone atomic.Int32
		_, err := within(asking, c, func() (int32, error) { time.Sleep(time.Minute); return 7, nil }, func(n int32) { undone.Store(n) })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		c.End(errClosed)
		if _, err := within(t.Context(), c, func() (int, error) { return 0, nil }, nil); driver.CodeOf(err) != driver.CodeClosed {
			t.Errorf("a call of a closed connection: %v", err)
		}
		closing, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		c.await(closing)
		if undone.Load() != 0 {
			t.Error("closing took longer than it may")
		}
		c.await(t.Context())
		if undone.Load() != 7 {
			t.Error("closing did not wait for a call that was under way")
		}
	})
}
