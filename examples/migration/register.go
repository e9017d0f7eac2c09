package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/pubsub"
)

// register knows which scans were written and which were tracked.
type register struct {
	written level // the last that is stored
	tracked level // all up to it were read

	mu    sync.Mutex
	seen  map[int]bool
	reads map[string]int // by broker
	again int
}

func newRegister() *register { return &register{seen: map[int]bool{}, reads: map[string]int{}} }

// track makes the handler of what comes from a broker.
func (r *register) track(broker string) pubsub.Handler {
	return pubsub.Typed(codec.JSON[Scan](), func(_ context.Context, s Scan, _ *pubsub.Delivery) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.seen[s.Number] {
			r.again++
			return nil
		}
		r.seen[s.Number] = true
		r.reads[broker]++
		n := r.tracked.now()
		for r.seen[n+1] {
			n++
		}
		r.tracked.rise(n)
		return nil
	})
}

// from returns how many scans were read from a broker.
func (r *register) from(broker string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reads[broker]
}

// report tells what came of it, and returns an error if something was lost.
func (r *register) report(w io.Writer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	written, lost := r.written.now(), 0
	for i := range written {
		if !r.seen[i+1] {
			lost++
		}
	}
	fmt.Fprintf(w, "\n  %d scans written; %d read from the old broker, %d from the new; %d came again, %d lost\n",
		written, r.reads["old"], r.reads["new"], r.again, lost)
	if lost > 0 {
		return fmt.Errorf("of %d scans %d were lost", written, lost)
	}
	return nil
}

// level is a number that rises, and that can be waited for. Its zero value is ready.
type level struct {
	mu    sync.Mutex
	n     int
	risen chan struct{} // closed when it rises, if somebody waits
}

func (l *level) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

func (l *level) rise(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n = max(l.n, n)
	if l.risen != nil {
		close(l.risen)
		l.risen = nil
	}
}

// wait waits until the level is n; if ctx ends first, it returns why.
func (l *level) wait(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		if l.n >= n {
			l.mu.Unlock()
			return nil
		}
		if l.risen == nil {
			l.risen = make(chan struct{})
		}
		risen := l.risen
		l.mu.Unlock()
		select {
		case <-risen:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
