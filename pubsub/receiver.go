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
//	committer.go   the same, where the broker is told of many at once
//	keeper.go      leases
//	drain.go       the shutdown
//
// Its goroutines: Receive's own takes in; a settler a session, and a committer where
// settlements are committed; workers, up to
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

	mu    sync.Mutex
	later []func() // to be called when the lock is free: logs, and releases of claims

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
	departing int // messages that are being settled
	stalled   bool

	draining  bool
	quiet     chan struct{}      // closed when no handler runs while it drains
	silent    bool               // quiet is closed
	rushed    bool               // the handlers' contexts have ended, or will when it drains
	leaving   *session           // what drains; nil if there is none
	cutIntake context.CancelFunc // ends the call to end intake
	unguard   context.CancelFunc // ends the watch over what drains; nil before it begins
	last      *time.Timer        // of the last grace
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
		err = s.intake(ctx, &attach)
		if ctx.Err() != nil {
			return r.shutDown(s)
		}
		var interrupted *driver.Interrupted
		if errors.As(err, &interrupted) {
			return errors.Join(interrupted.Err, r.shutDown(s))
		}
		if attach.futile(s, err) {
			s.die(err)
			return errors.Join(err, r.shutDown(nil))
		}
		if attach.lost(s, err) {
			return errors.Join(err, r.shutDown(nil))
		}
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
	worked   bool // a session was open once
	sessions int
	tries    int // in a row that came to nothing
	trouble  trouble
	opened   time.Time // the last session
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
			a.worked, a.opened = true, time.Now()
			a.sessions++
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
	s, err := conn.Subscribe(ctx, a.request)
	if _, commits := s.(driver.Committer); err == nil && a.caps.SettleCommits && !commits {
		_ = s.Close(ctx)
		return nil, driver.Errorf(CodeUnsupported, "the driver of %s says that settlements are committed, and its session is no Committer", &a.caps)
	}
	return s, err
}

// final says whether an error ends Receive: at once before anything worked, after
// the grace later on.
func (a *attachment) final(err error) bool {
	return errors.Is(err, ErrClosed) || a.trouble.lasts(err) || !a.worked && !CodeOf(err).Heals()
}

// futile says whether the first session never came to work, and will not: some brokers
// say only then that its reader may not read.
func (a *attachment) futile(s *session, err error) bool {
	first := a.sessions == 1 && !s.received && time.Since(a.opened) < grace
	return first && !CodeOf(err).Heals()
}

// lost ends a session that died and takes back what it gave. It says whether that ends
// Receive: some brokers let a session open that may not read.
func (a *attachment) lost(s *session, err error) bool {
	b, lived := a.client.config.backoff.withDefaults(), time.Since(a.opened)
	if s.received || lived > grace {
		a.trouble = trouble{}
	}
	final := a.final(err)
	if !final {
		a.log.Warn("waybill: subscription lost, opening it again", "error", err)
	}
	// One that worked for a while is opened again at once.
	if lived > b.Max || s.received && lived > b.Min {
		a.tries = 0
	} else {
		a.tries++
	}
	s.die(err)
	return final
}

// owes says whether there is something to do that had to wait for the lock to be free.
func (r *receiver) owes() bool { return len(r.later) > 0 || r.stalling() }

// unlock gives the lock back and does what had to wait for that.
func (r *receiver) unlock() {
	later, stall, waiting := r.later, r.stalls(), r.waiting
	r.later = nil
	r.mu.Unlock()
	for _, do := range later {
		do()
	}
	if stall {
		r.tellStall(waiting)
	}
}
