package pubsub

import (
	"context"
	"time"
)

// A handler whose context ended gets lastGrace to return; the broker gets
// closeTimeout to take the last settlements.
const (
	lastGrace    = 2 * time.Second
	closeTimeout = 10 * time.Second
)

// shutDown drains: it ends intake, gives back what has not started, waits for
// handlers, flushes settlements and closes the session, which is nil if there is
// none. It returns ErrDrainTimeout if a handler is left behind.
func (r *receiver) shutDown(s *session) error {
	ctx, cancel := context.WithTimeout(r.base, r.config.drain+lastGrace+closeTimeout)
	defer cancel()
	close(r.drain)
	r.mu.Lock()
	r.draining = true
	r.quieten()
	r.mu.Unlock()
	if s != nil {
		s.quiesce(ctx)
		s.mu.Lock()
		s.returnWaiting() // not before: it could come right back
		s.unlock()
	}
	err := r.awaitHandlers(s)
	if s != nil {
		s.close(ctx)
	}
	return err
}

// quieten tells a drain that no handler runs any more. It is called with the lock.
func (r *receiver) quieten() {
	if r.active > 0 || r.silent {
		return
	}
	r.silent = true
	close(r.quiet)
}

// awaitHandlers waits until no handler runs. After the drain timeout it ends
// their contexts, and after a last grace it goes on without those that ignore it.
func (r *receiver) awaitHandlers(s *session) error {
	deadline := time.AfterFunc(r.config.drain, r.hurry)
	defer deadline.Stop()
	select {
	case <-r.quiet:
		return nil
	case <-r.hurried:
	}
	r.mu.Lock()
	r.cancelHandlers(s)
	r.unlock()
	last := time.NewTimer(lastGrace)
	defer last.Stop()
	select {
	case <-r.quiet:
		return nil
	case <-last.C:
	}
	r.mu.Lock()
	left := r.active
	r.mu.Unlock()
	r.log.Error("waybill: handlers ignore the end of their contexts and are left behind", "handlers", left)
	return ErrDrainTimeout
}

// cancelHandlers ends the contexts of the handlers that run. Those of sessions
// that died have ended already.
func (r *receiver) cancelHandlers(s *session) {
	if s == nil {
		return
	}
	for f := s.first; f != nil; f = f.next {
		if f.stage == running {
			f.context.cancel(ErrDrainTimeout)
		}
	}
	if r.batches != nil {
		r.batches.cancel(ErrDrainTimeout)
	}
}

// hurry ends the waiting for handlers.
func (r *receiver) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.rushed {
		r.rushed = true
		close(r.hurried)
	}
}
