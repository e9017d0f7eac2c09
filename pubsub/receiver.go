package pubsub

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// receiver is one Receive. What it does is spread over files:
//
//	receiver.go    its life: sessions opened and lost, drain
//	intake.go      what a session gives: deliveries and revocations
//	dispatcher.go  the queue of what can start, the keys' lanes, the workers
//	ruling.go      from a handler's error to what becomes of its message
//	hold.go        messages that wait here for their next attempt
//	settler.go     settlements on their way to the broker
//	keeper.go      leases
//
// Its goroutines: Receive's own takes in; a settler a session; workers, up to
// Concurrency, started when first needed. One mutex guards it all. Calls to the
// driver, handlers, hooks and logs are made without it.
type receiver struct {
	*Subscription

	handler  Handler  // with its middleware
	batches  *batches // instead of handler, for ReceiveBatch
	hooks    *hooks
	log      *slog.Logger
	cancel   context.CancelFunc // ends Receive's context
	returned chan struct{}      // closed when Receive has returned
	drain    chan struct{}      // closed when the drain begins
	hurried  chan struct{}      // closed when the drain must not wait any longer
	base     context.Context    //nolint:containedctx // of all handlers: Receive's values, without its end

	mu       sync.Mutex
	work     *sync.Cond // workers wait for something to start
	still    *sync.Cond // the drain waits until nothing runs
	workers  sync.WaitGroup
	started  int  // workers
	idle     int  // of them wait
	waking   int  // of them were woken and have not looked yet
	over     bool // workers end
	draining bool
	stalled  bool
	rushed   bool // hurried is closed

	ready      queue
	lanes      map[string]*lane // nil unless ordered
	spare      *lane            // lanes for use again
	chunk      []Delivery       // deliveries for use
	chunkBytes int
	count      int // in flight, of all sessions
	active     int // of them with their handlers
	waiting    int // of them held
}

func newReceiver(s *Subscription) *receiver {
	r := &receiver{
		Subscription: s,
		hooks:        &s.client.config.hooks,
		log:          s.client.config.logger.With("subscription", s.config.target()),
		returned:     make(chan struct{}),
		drain:        make(chan struct{}),
		hurried:      make(chan struct{}),
	}
	r.work, r.still = sync.NewCond(&r.mu), sync.NewCond(&r.mu)
	if s.config.Ordered {
		r.lanes = map[string]*lane{}
	}
	return r
}

// run receives until ctx ends or an error is final.
func (r *receiver) run(ctx context.Context) error {
	r.base = context.WithoutCancel(ctx)
	defer r.end()
	attach := attachment{receiver: r}
	for {
		s, err := attach.open(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return r.finishDrain(nil)
			}
			return errors.Join(err, r.finishDrain(nil))
		}
		err = s.intake(ctx)
		if ctx.Err() != nil {
			return r.finishDrain(s)
		}
		attach.lost(s, err)
	}
}

// end stops the workers. Those whose handlers do not return are left behind.
func (r *receiver) end() {
	r.mu.Lock()
	r.over = true
	r.work.Broadcast()
	abandoned := r.active > 0
	r.mu.Unlock()
	if !abandoned {
		r.workers.Wait()
	}
}

// attachment opens sessions, one after the other, with backoff.
type attachment struct {
	*receiver
	worked bool      // a session was open once
	tries  int       // in a row that came to nothing
	since  time.Time // the first error in a row that waiting may not heal
	opened time.Time // the last session
}

func (a *attachment) open(ctx context.Context) (*session, error) {
	config := &a.client.config
	for {
		if a.tries > 0 {
			if err := wait(ctx, config.backoff.Delay(a.tries), nil); err != nil {
				return nil, err
			}
		}
		incarnation, err := a.subscribe(ctx)
		if err == nil {
			a.worked, a.since, a.opened = true, time.Time{}, time.Now()
			return a.newSession(incarnation), nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if a.final(err) {
			return nil, err
		}
		a.tries++
		a.log.Warn("waybill: subscription cannot be opened", "tries", a.tries, "error", err)
	}
}

func (a *attachment) subscribe(ctx context.Context) (driver.Session, error) {
	conn, err := a.client.connection.get(ctx)
	if err != nil {
		return nil, err
	}
	if a.worked {
		// The broker may have lost what was declared when it was away.
		if err := conn.Declare(ctx, a.request); err != nil {
			return nil, err
		}
	}
	return conn.Subscribe(ctx, a.request)
}

// final says whether an error ends Receive: at once before anything worked, after
// the grace later on.
func (a *attachment) final(err error) bool {
	switch {
	case errors.Is(err, ErrClosed):
		return true
	case CodeOf(err).Heals():
		a.since = time.Time{}
		return false
	case !a.worked:
		return true
	case a.since.IsZero():
		a.since = time.Now()
	}
	return time.Since(a.since) > grace
}

// lost ends a session that died and takes back what it gave.
func (a *attachment) lost(s *session, err error) {
	a.log.Warn("waybill: subscription lost, opening it again", "error", err)
	// One that worked for a while is opened again at once.
	if s.received || time.Since(a.opened) > a.client.config.backoff.withDefaults().Max {
		a.tries = 0
	} else {
		a.tries++
	}
	s.die(err)
}

// hurry ends the handlers that a drain waits for.
func (r *receiver) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.rushed {
		r.rushed = true
		close(r.hurried)
	}
}

// A handler whose context ended gets this long to return; the broker gets this
// long to take the last settlements.
const (
	lastGrace    = 2 * time.Second
	closeTimeout = 10 * time.Second
)

// finishDrain ends intake, waits for handlers, flushes settlements and closes the
// session, which is nil or dead if there is none.
func (r *receiver) finishDrain(s *session) error {
	ctx, cancel := context.WithTimeout(r.base, r.config.drain+lastGrace+closeTimeout)
	defer cancel()
	close(r.drain)
	if s != nil {
		s.quiesce(ctx)
	}
	r.mu.Lock()
	r.draining = true
	r.returnWaiting()
	r.mu.Unlock()
	if s != nil {
		s.poke()
	}
	err := r.awaitHandlers()
	if s != nil {
		s.close(ctx)
	}
	return err
}

// awaitHandlers waits until no handler runs. After the drain timeout it ends
// their contexts, and goes on without those that ignore it.
func (r *receiver) awaitHandlers() error {
	deadline := time.AfterFunc(r.config.drain, r.hurry)
	defer deadline.Stop()
	quiet := make(chan struct{})
	gaveUp := false
	go func() {
		defer close(quiet)
		r.mu.Lock()
		defer r.mu.Unlock()
		for r.active > 0 && !gaveUp {
			r.still.Wait()
		}
	}()
	select {
	case <-quiet:
		return nil
	case <-r.hurried:
	}
	r.cancelHandlers(ErrDrainTimeout)
	last := time.NewTimer(lastGrace)
	defer last.Stop()
	select {
	case <-quiet:
		return nil
	case <-last.C:
	}
	r.mu.Lock()
	gaveUp = true
	r.still.Broadcast()
	left := r.active
	r.mu.Unlock()
	<-quiet
	r.log.Error("waybill: handlers ignore the end of their contexts and are left behind", "handlers", left)
	return ErrDrainTimeout
}
