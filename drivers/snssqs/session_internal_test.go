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

// With a backlog, more and more polls run at a time, and deletions come before them: what was
// handled is to be gone before more is fetched.
func TestPollsGrowWithABacklog(t *testing.T) {
	t.Parallel()
	s := &session{conn: &conn{config: Config{Parallel: 8}}, want: 1}
	for _, want := range []int{2, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6} {
		if s.adapt(batchMessages, batchMessages); s.most() != want {
			t.Fatalf("%d polls; want %d", s.most(), want)
		}
	}
	for range 100 {
		s.adapt(batchMessages, batchMessages)
	}
	for deletions, want := range map[int]int{0: 8, 3: 5, 8: 1, 80: 1} {
		if s.deletions = deletions; s.most() != want {
			t.Errorf("%d polls beside %d deletions; want %d", s.most(), deletions, want)
		}
	}
	s.deletions = 0
	if s.adapt(1, batchMessages); s.most() != 7 {
		t.Errorf("%d polls after one that was not full; want 7", s.most())
	}
	if s.adapt(0, batchMessages); s.most() != 1 {
		t.Errorf("%d polls after one that brought nothing; want 1", s.most())
	}
}
