package driver

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A Shelf is what a Session has between its broker and the engine: what arrived lies on
// it until there is credit. Embedded, it is the Session's Credit, Receive and Quiesce, and
// has the methods of a Life. NewShelf makes one. Its methods may be called concurrently,
// and but for Receive none of them blocks.
type Shelf struct {
	Life
	fetch func(context.Context)
	wake  Wake

	mu          sync.Mutex
	messages    int // credit
	bytes       int
	held        []Delivery
	revocations []Revocation
	trouble     error // to be told
	quiesced    bool
	said        bool // that it is
}

// NewShelf makes a Shelf with a Life, which ends with parent's.
//
// fetch, unless nil, is called by Receive before it gives what is here, and again when it
// waited and there is more credit, or Put was called. It gets as much as Room says and
// Puts it, or starts what does so. Where a broker pushes, Put alone will do.
func NewShelf(parent *Life, fetch func(ctx context.Context)) *Shelf {
	return &Shelf{Life: NewLife(parent), fetch: fetch, wake: NewWake()}
}

// Credit is the Session's.
func (s *Shelf) Credit(messages, bytes int) {
	s.mu.Lock()
	starved := s.messages <= 0 || s.bytes <= 0
	s.messages += messages
	s.bytes += bytes
	s.mu.Unlock()
	if starved || s.fetch != nil {
		s.wake.Poke()
	}
}

// Room is how many messages may be fetched: what there is credit for, and is not here yet.
// There is none while Receive has an error to tell.
func (s *Shelf) Room() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes <= 0 || s.quiesced || s.trouble != nil || s.Err() != nil {
		return 0
	}
	return max(s.messages-len(s.held), 0)
}

// Put takes what a broker gave, in order, with or without credit; perhaps nothing, which
// makes fetch be called again. False: intake has ended, and it takes nothing.
func (s *Shelf) Put(list ...Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiesced || s.Err() != nil {
		return false
	}
	if len(s.held) == 0 {
		s.wake.Poke()
	}
	s.held = append(s.held, list...)
	return true
}

// Revoke has Receive tell of a Revocation.
func (s *Shelf) Revoke(r Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revocations = append(s.revocations, r)
	s.wake.Poke()
}

// Interrupt has Receive tell, as Interrupted, of an error that the Session outlives.
func (s *Shelf) Interrupt(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = err
	s.wake.Poke()
}

// Receive is the Session's. What lay here for longer than its lease it drops.
func (s *Shelf) Receive(ctx context.Context, in *Intake) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.fetch != nil {
			s.fetch(ctx)
		}
		if given, err := s.give(in); given || err != nil {
			return err
		}
		select {
		case <-s.wake:
		case <-s.Done():
		case <-ctx.Done():
		}
	}
}

// give gives what is here, as far as there is credit.
func (s *Shelf) give(in *Intake) (given bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Err(); err != nil {
		return false, err
	}
	given = len(s.revocations) > 0
	in.Revocations = append(in.Revocations, s.revocations...)
	s.revocations = nil
	n := 0
	var now time.Time
	for n < len(s.held) && (s.messages > 0 && s.bytes > 0 || s.quiesced) {
		d := &s.held[n]
		n++
		if !d.Deadline.IsZero() {
			if now.IsZero() {
				now = time.Now()
			}
			if !now.Before(d.Deadline) {
				continue
			}
		}
		s.messages--
		s.bytes -= d.Size()
		in.Deliveries = append(in.Deliveries, *d)
		given = true
	}
	s.held = slices.Delete(s.held, 0, n)
	switch trouble := s.trouble; {
	case given:
		return true, nil
	case s.quiesced && s.said:
		return false, nil
	case s.quiesced:
		s.said = true
		return false, ErrQuiesced
	case trouble != nil:
		s.trouble = nil
		return false, &Interrupted{Err: trouble}
	default:
		return false, nil
	}
}

// Quiesce is the Session's: what lies here is given, whether or not there is credit, and
// then there is ErrQuiesced, once. A driver that brings things by itself ends that before.
func (s *Shelf) Quiesce(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiesced = true
	s.wake.Poke()
	return s.Err()
}

// Clear ends intake as well, and returns what lay here: it was not given, and is the
// caller's to give back.
func (s *Shelf) Clear() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.held
	s.quiesced, s.held = true, nil
	s.wake.Poke()
	return held
}
