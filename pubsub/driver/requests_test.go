package driver_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		errClosed := errors.New("closed")
		r := driver.NewRequests(nil, 2)
		told := make(chan string, 3)
		answer := make(chan string)
		ask := func(ctx context.Context) error {
			var got string
			return r.Go(ctx, func() {
				select {
				case got = <-answer:
				case <-r.Context().Done():
					got = context.Cause(r.Context()).Error()
				}
			}, func() { told <- got })
		}
		for range 2 {
			if err := ask(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		short, cancel := context.WithTimeoutCause(t.Context(), time.Second, errLate)
		defer cancel()
		if err := ask(short); !errors.Is(err, errLate) {
			t.Errorf("a third request: %v, want that there is no room", err)
		}
		answer <- "stored"
		if err := ask(t.Context()); err != nil {
			t.Error(err)
		}
		r.Stop(errClosed)
		for _, want := range []string{"stored", "closed", "closed"} {
			if got := <-told; got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		if err := ask(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("after Stop: %v", err)
		}
	})
}

// Whoever is told may send again, and finds room.
func TestRequestsTellWithoutTheirRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := driver.NewRequests(nil, 1)
		again := make(chan error)
		err := r.Go(t.Context(), func() {}, func() {
			again <- r.Go(t.Context(), func() {}, func() {})
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-again; err != nil {
			t.Error(err)
		}
		r.Stop(nil)
	})
}
