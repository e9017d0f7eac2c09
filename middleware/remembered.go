package middleware

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// defaultRemembered is how many messages a store in memory remembers.
const defaultRemembered = 100_000

// memoryStore is a DeduplicationStore in memory.
type memoryStore struct {
	limit int

	mu      sync.Mutex
	entries map[string]*list.Element
	order   *list.List // of *remembered, the one that was written to last at the back
}

// remembered is one message.
type remembered struct {
	id    string
	owner string // empty: handled
	until time.Time
}

// NewDeduplicationStore makes a store in the memory of this process, for what comes twice to
// the same process. It remembers as many messages as the limit at most, and forgets the
// oldest first; a limit below 1 is 100,000.
func NewDeduplicationStore(limit int) DeduplicationStore {
	if limit < 1 {
		limit = defaultRemembered
	}
	return &memoryStore{limit: limit, entries: map[string]*list.Element{}, order: list.New()}
}

// Claim takes id unless it is remembered, but for owner's own claim.
func (s *memoryStore) Claim(_ context.Context, id, owner string, lease time.Duration) (Claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e, ok := s.entries[id]; ok {
		switch r := e.Value.(*remembered); { //nolint:forcetypeassert // nothing else is in the list
		case !now.Before(r.until), r.owner != "" && r.owner == owner:
		case r.owner == "":
			return ClaimHandled, nil
		default:
			return ClaimBusy, nil
		}
	}
	s.put(id, owner, now, lease)
	return ClaimTaken, nil
}

// Mark remembers id as handled.
func (s *memoryStore) Mark(_ context.Context, id string, keep time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(id, "", time.Now(), keep)
	return nil
}

// Release forgets id if it is owner's claim.
func (s *memoryStore) Release(_ context.Context, id, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[id]; ok && owner != "" && e.Value.(*remembered).owner == owner { //nolint:forcetypeassert // as above
		s.drop(e)
	}
	return nil
}

// put remembers one, and forgets what has expired before it, or is too much.
func (s *memoryStore) put(id, owner string, now time.Time, d time.Duration) {
	if e, ok := s.entries[id]; ok {
		s.drop(e)
	}
	s.entries[id] = s.order.PushBack(&remembered{id, owner, now.Add(d)})
	for e := s.order.Front(); len(s.entries) > s.limit || !now.Before(e.Value.(*remembered).until); e = s.order.Front() { //nolint:forcetypeassert // as above
		s.drop(e)
		if len(s.entries) == 0 {
			return
		}
	}
}

func (s *memoryStore) drop(e *list.Element) {
	delete(s.entries, e.Value.(*remembered).id) //nolint:forcetypeassert // as above
	s.order.Remove(e)
}
