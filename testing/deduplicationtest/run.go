// Package deduplicationtest checks stores for middleware.Deduplicate: each of ours passes
// Run, and so should a stranger's.
package deduplicationtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-go/waybill/middleware"
)

// Run checks a store that is empty. wait lets as much time pass for it as it is given.
func Run(t *testing.T, store middleware.DeduplicationStore, wait func(time.Duration)) {
	t.Helper()
	c := check{t, store}
	ctx := t.Context()

	// A claim holds off others until its lease is over.
	c.claim("a", "one", middleware.ClaimTaken)
	c.claim("a", "two", middleware.ClaimBusy)
	c.claim("A", "two", middleware.ClaimTaken) // IDs are told apart by every byte
	c.claim("a ", "two", middleware.ClaimTaken)
	c.claim("a/é\"'%_\\", "two", middleware.ClaimTaken)
	wait(time.Minute + time.Second)
	c.claim("a", "two", middleware.ClaimTaken)

	// Its owner extends it: the lease counts from then.
	wait(40 * time.Second)
	c.claim("a", "two", middleware.ClaimTaken)
	c.claim("a", "one", middleware.ClaimBusy)
	wait(40 * time.Second)
	c.claim("a", "one", middleware.ClaimBusy)
	wait(21 * time.Second)
	c.claim("a", "two", middleware.ClaimTaken) // it had run out, and nobody had taken it

	// Only its owner releases it.
	c.must(store.Release(ctx, "a", "one"))
	c.claim("a", "three", middleware.ClaimBusy)
	c.must(store.Release(ctx, "a", "two"))
	c.claim("a", "three", middleware.ClaimTaken)
	c.must(store.Release(ctx, "unknown", "one"))

	// A mark outlives the claim, and lasts as long as it should; releasing leaves it.
	c.must(store.Mark(ctx, "a", time.Hour))
	c.claim("a", "one", middleware.ClaimHandled)
	c.claim("a", "three", middleware.ClaimHandled) // also for who had claimed it
	c.must(store.Release(ctx, "a", "three"))
	c.must(store.Release(ctx, "a", ""))
	wait(2 * time.Minute)
	c.claim("a", "one", middleware.ClaimHandled)
	c.must(store.Mark(ctx, "a", time.Hour)) // again: it counts from now
	wait(59 * time.Minute)
	c.claim("a", "one", middleware.ClaimHandled)
	wait(2 * time.Minute)
	c.claim("a", "one", middleware.ClaimTaken)

	// A mark needs no claim: its lease may have ended meanwhile.
	c.must(store.Mark(ctx, "late", time.Hour))
	c.claim("late", "one", middleware.ClaimHandled)

	// Of many that claim at a time, one gets it.
	var taken atomic.Int32
	var claims sync.WaitGroup
	for i := range 16 {
		claims.Go(func() {
			got, err := store.Claim(ctx, "contended", fmt.Sprint(i), time.Minute)
			switch {
			case err != nil:
				t.Error(err)
			case got == middleware.ClaimTaken:
				taken.Add(1)
			case got != middleware.ClaimBusy:
				t.Errorf("a contender's claim is %s", got)
			}
		})
	}
	claims.Wait()
	if n := taken.Load(); n != 1 {
		t.Errorf("%d of 16 have the claim", n)
	}
}

// RunEnded checks that calls of a store whose context has ended fail and change nothing; for
// stores that have something to wait for.
func RunEnded(t *testing.T, store middleware.DeduplicationStore) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Claim(ended, "ended", "one", time.Minute); err == nil {
		t.Error("Claim: no error")
	}
	if err := store.Mark(ended, "ended", time.Minute); err == nil {
		t.Error("Mark: no error")
	}
	if err := store.Release(ended, "ended", "one"); err == nil {
		t.Error("Release: no error")
	}
	check{t, store}.claim("ended", "two", middleware.ClaimTaken)
}

type check struct {
	*testing.T
	store middleware.DeduplicationStore
}

func (c check) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c check) claim(id, owner string, want middleware.Claim) {
	c.Helper()
	got, err := c.store.Claim(c.Context(), id, owner, time.Minute)
	c.must(err)
	if got != want {
		c.Errorf("claim of %q by %s is %s, want %s", id, owner, got, want)
	}
}
