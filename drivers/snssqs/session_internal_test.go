package snssqs

import (
	"testing"
	"time"
)

// Receipts of what is leased no longer are never settled: a session that loses leases for
// months must not keep them.
func TestLostReceiptsAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := &session{conn: &conn{}, plan: &plan{}, lease: time.Second, out: map[uint64]*receipt{
		1: {tag: 1, deadline: now.Add(-time.Second)},
		2: {tag: 2, deadline: now.Add(time.Minute)},
	}}
	s.accept(t.Context(), nil)
	if len(s.out) != 1 || s.out[2] == nil {
		t.Errorf("%d receipts are kept, want the one that is leased", len(s.out))
	}
}
