package pubsub

import (
	"errors"
	"runtime/debug"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A lane is one key of an ordered topic while any of its messages is here: they
// start one at a time, in the order in which they came. It outlives sessions, so
// that a message does not start while a handler of its key still runs, though
// that one's message was taken back.
type lane struct {
	key    string
	head   *flight // the one that may start, runs, or is held
	behind queue
	spare  *lane
}

// enqueue puts a flight where it waits for its start.
func (r *receiver) enqueue(f *flight) {
	key := f.delivery.Key
	if r.lanes == nil || key == "" {
		r.ready.push(f)
		return
	}
	l := r.lanes[key]
	if l == nil {
		if l = r.spare; l == nil {
			l = &lane{}
		} else {
			r.spare = l.spare
		}
		*l = lane{key: key, head: f}
		r.lanes[key] = l
		r.ready.push(f)
	} else {
		l.behind.push(f)
	}
	f.lane = l
}

// advance lets the next of a lane start when the head is done with.
func (r *receiver) advance(l *lane) {
	if l == nil {
		return
	}
	if l.head = l.behind.pop(); l.head != nil {
		r.ready.push(l.head)
		r.wakeOne()
		return
	}
	delete(r.lanes, l.key)
	*l = lane{spare: r.spare}
	r.spare = l
}

// withdraw takes a flight that waits or is held out of its queue, to be settled
// or lost.
func (r *receiver) withdraw(f *flight) {
	stage, l := f.stage, f.lane
	r.depart(f)
	f.lane, f.pinned = nil, true
	if stage == held {
		r.waiting--
		if f.timer != nil {
			f.timer.Stop()
		}
	}
	switch {
	case l != nil && l.head != f:
		l.behind.leave(f)
		return
	case stage == waiting:
		r.ready.leave(f)
	}
	r.advance(l)
}

// wakeOne gets one worker to look for something to start, if there is anything
// and none is looking yet; that one wakes the next if there is more.
func (r *receiver) wakeOne() {
	switch {
	case r.waking > 0 || r.ready.count == 0 || r.draining:
	case r.idle > 0:
		r.idle--
		r.waking++
		r.work.Signal()
	case r.started < r.config.concurrency:
		r.started++
		r.waking++
		r.workers.Go(r.worker)
	}
}

// worker runs handlers until the receiver is over. One lock ends a message and
// takes the next.
func (r *receiver) worker() {
	r.mu.Lock()
	r.waking--
	for !r.over {
		switch {
		case r.startNext():
		case r.owes():
			r.unlock()
			r.mu.Lock() // and there may be something to start by now
		default:
			r.idle++
			r.work.Wait()
			r.waking = max(r.waking-1, 0) // or the end woke it
		}
	}
	r.mu.Unlock()
}

// startNext runs one message, or batch, to its end; false if there is none.
func (r *receiver) startNext() bool {
	if r.draining {
		return false
	}
	if r.batches != nil {
		return r.batches.startNext()
	}
	f := r.ready.pop()
	if f == nil {
		return false
	}
	f.start()
	r.active++
	r.wakeOne()
	r.unlock()
	v := r.handle(f)
	r.mu.Lock()
	r.active--
	r.finish(f, v)
	return true
}

// handle runs the handler and rules on what it returned.
func (r *receiver) handle(f *flight) (v ruling) {
	var began time.Time
	if len(r.hooks.handle) > 0 {
		began = time.Now()
	}
	d := f.delivery
	returned := false
	defer func() {
		if !returned {
			// runtime.Goexit, from a test's FailNow for example, takes this worker along.
			if len(r.hooks.handle) > 0 {
				r.observe(d, errGoexit, time.Since(began))
			}
			v := r.rule(f, errGoexit)
			r.mu.Lock()
			r.active--
			r.started--
			r.finish(f, v)
			r.wakeOne()
			r.unlock()
		}
	}()
	err := r.protect(f)
	returned = true
	if len(r.hooks.handle) > 0 {
		r.observe(d, err, time.Since(began))
	}
	return r.rule(f, err)
}

var errGoexit error = driver.Errorf(CodeFailed, "handler ended its goroutine with runtime.Goexit")

// protect turns a handler's panic into an error.
func (r *receiver) protect(f *flight) (err error) {
	panicked := true
	defer func() {
		if panicked {
			if value := recover(); value != nil {
				err = &PanicError{Value: value, Stack: debug.Stack()}
			}
		}
	}()
	if !r.passesOver(f.delivery) {
		err = r.handler(f.context, f.delivery)
	}
	panicked = false
	return err
}

// passesOver says whether a delivery was brought back for another group.
func (r *receiver) passesOver(d *Delivery) bool {
	if len(d.Headers) == 0 || r.config.Kind != driver.Event {
		return false
	}
	group, redriven := d.Headers[HeaderRedrivenFor]
	return redriven && group != r.config.group
}

func (r *receiver) observe(d *Delivery, err error, took time.Duration) {
	verdict, _ := VerdictOf(err)
	for _, h := range r.hooks.handle {
		h.OnHandle(HandleInfo{Delivery: d, Verdict: verdict, Err: err, Took: took})
	}
}

// logPanic says where a handler panicked; the error alone does not.
func (r *receiver) logPanic(f *flight, err error) {
	var p *PanicError
	if errors.As(err, &p) {
		r.log.Error("waybill: handler panicked", "id", f.id, "attempt", f.attempt, "panic", p.Value, "stack", string(p.Stack))
	}
}

// finish ends an attempt as it was ruled.
func (r *receiver) finish(f *flight, v ruling) {
	f.context.end()
	s, l := f.session, f.lane
	switch {
	case f.lost != nil || s.closed:
		if l != nil && f.lost == nil {
			r.returnBehind(f) // the session is about to lose them all
		}
		r.depart(f)
		f.lane = nil
		s.forget(f)
		r.advance(l)
	case v.verb == driver.Keep:
		s.hold(f, v)
	default:
		r.depart(f)
		f.lane = nil
		s.settler.add(f, v.verb, v.delay, v.err)
		if v.tail {
			s.doubt(f, l.key)
			r.returnTail(l)
		}
		r.advance(l)
	}
	if r.draining {
		r.returnWaiting()
		r.quieten()
	}
}
