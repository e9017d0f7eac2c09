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
//	receiver.go    its life: sessions opened and lost
//	intake.go      what a session gives, and how it ends
//	recall.go      what the broker takes back
//	dispatcher.go  the queue of what can start, the keys' lanes, the workers
//	batches.go     the same for handlers of batches
//	ruling.go      from a handler's error to what becomes of its message
//	hold.go        messages that wait here for their next attempt, or go back
//	settler.go     settlements on their way to the broker
//	keeper.go      leases
//	drain.go       the shutdown
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
	releases []func() // to be called when the lock is free

	work    *sync.Cond // workers wait here for something to start
	workers sync.WaitGroup
	started int  // workers
	idle    int  // of them wait
	waking  int  // of them were woken and have not looked yet
	over    bool // workers end

	ready queue
	lanes map[string]*lane // nil unless ordered
	spare *lane            // lanes for use again
	seats []seat           // for deliveries to come

	spareFlight *flight // flights for use again

	seatBytes int
	count     int // in flight, of all sessions
	bytes     int
	active    int // handlers that run
	waiting   int // messages held
	stalled   bool

	draining bool
	quiet    chan struct{} // closed when no handler runs while it drains
	silent   bool          // quiet is closed
	rushed   bool          // hurried is closed
}

func newReceiver(s *Subscription) *receiver {
	r := &receiver{
		Subscription: s,
		hooks:        &s.client.config.hooks,
		log:          s.client.config.logger.With("subscription", s.config.target()),
		returned:     make(chan struct{}),
		drain:        make(chan struct{}),
		hurried:      make(chan struct{}),
		quiet:        make(chan struct{}),
	}
	r.work = sync.NewCond(&r.mu)
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
				return r.shutDown(nil)
			}
			return errors.Join(err, r.shutDown(nil))
		}
		err = s.intake(ctx)
		if ctx.Err() != nil {
			return r.shutDown(s)
		}
		attach.lost(s, err)
	}
}

// end stops the workers. Those whose handlers do not return are left behind.
func (r *receiver) end() {
	r.mu.Lock()
	r.over = true
	if r.batches != nil {
		r.batches.stop()
	}
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

// unlock gives the lock back and does what had to wait for that.
func (r *receiver) unlock() {
	releases, stall, waiting := r.releases, r.stalls(), r.waiting
	r.releases = nil
	r.mu.Unlock()
	for _, release := range releases {
		release()
	}
	if stall {
		r.tellStall(waiting)
	}
}
