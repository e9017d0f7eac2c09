package pubsub_test

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
)

// An idle client has no timer that fires: in virtual time, which jumps from timer to
// timer, a century passes at once, where polling once an hour would take a million
// turns. The process's own clock of CPU time says so.
func TestIdleMeansIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, err := memory.New(memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := pubsub.New(t.Context(), broker)
		if err != nil {
			t.Fatal(err)
		}
		topic, err := c.Publisher(t.Context(), "t", pubsub.Ordered())
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Subscriber(t.Context(), "t", pubsub.Group("g"), pubsub.Ordered(), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Receive(ctx, func(context.Context, *pubsub.Delivery) error { return nil }) }()
		for range 100 { // so that everything that starts with the first message has started
			if err := topic.Publish(t.Context(), &pubsub.Message{Key: "k"}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		time.Sleep(2 * time.Hour) // timers that watched these messages ring a last time
		synctest.Wait()

		before := cpuTime(t)
		time.Sleep(100 * 365 * 24 * time.Hour)
		synctest.Wait()
		if used := cpuTime(t) - before; used > 200*time.Millisecond {
			t.Errorf("an idle century took %v of CPU time on %d CPUs", used, runtime.NumCPU())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		closeAll(t, c)
	})
}

// cpuTime is the CPU time of this process.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
