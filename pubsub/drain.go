package pubsub

import (
	"context"
	"time"
)

// A handler whose context ended gets lastGrace to return; the broker gets flushTimeout to
// take the last settlements, and then closeTimeout to take back what has none.
const (
	lastGrace    = 2 * time.Second
	flushTimeout = 10 * time.Second
	closeTimeout = 10 * time.Second
)

// shutDown drains: it ends intake, gives back what has not started, waits for
// handlers, with an eye on the session, flushes settlements and closes it; it is nil if there
// is none. It returns ErrDrainTimeout if a handler is left behind. The drain timeout runs
// from the beginning: a broker may take its time to end intake.
func (r *receiver) shutDown(s *session) error {
	ctx, cut := context.WithCancel(r.base)
	defer cut()
	deadline := time.AfterFunc(r.config.drain, r.hurry)
	defer deadline.Stop()
	r.mu.Lock()
	r.draining, r.leaving, r.cutIntake = true, s, cut
	close(r.drain) // with the lock: a handler that ends for it must not make room for the next
	r.quieten()
	if r.rushed {
		r.rush()
	}
	r.unlock()
	if s != nil {
		s.quiesce(ctx)
		s.mu.Lock()
		s.quiesced = true
		r.returnWaiting()
		s.unlock()
		s.guard(ctx)
	}
	err := r.awaitHandlers()
	if s != nil {
		s.close(r.base)
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
	if r.unguard != nil {
		r.unguard()
	}
}

// awaitHandlers waits until no handler runs, or those that do ignore that their contexts
// have ended.
func (r *receiver) awaitHandlers() error {
	select {
	case <-r.quiet:
	case <-r.hurried:
	}
	r.mu.Lock()
	left := r.active
	r.rushed = true // nobody needs to be hurried any more
	if r.last != nil {
		r.last.Stop()
	}
	r.mu.Unlock()
	if left == 0 {
		return nil
	}
	r.log.Error("waybill: handlers ignore the end of their contexts and are left behind", "handlers", left)
	return ErrDrainTimeout
}

// hurry ends the waiting for handlers: at the end of the drain timeout, or when who
// closes the subscription waits no longer.
func (r *receiver) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rushed {
		return
	}
	r.rushed = true
	if r.draining { // else the drain begins with it
		r.rush()
	}
}

// rush ends the contexts of the handlers that run, and gives them a last grace to return.
// Those of sessions that died have ended already. It is called with the lock.
func (r *receiver) rush() {
	r.last = time.AfterFunc(lastGrace, r.giveUp)
	if r.leaving == nil {
		return
	}
	for f := r.leaving.first; f != nil; f = f.next {
		if f.stage == running {
			f.context.cancel(ErrDrainTimeout)
		}
	}
	if r.batches != nil {
		r.batches.cancel(ErrDrainTimeout)
	}
}

// giveUp ends the last grace, and a call to end intake that still waits for the broker.
func (r *receiver) giveUp() {
	r.cutIntake()
	close(r.hurried)
}
