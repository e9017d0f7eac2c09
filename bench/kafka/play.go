package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-go/waybill/bench/measure"
)

// prepare makes ready what a case does not measure.
func (l library) prepare(ctx context.Context, k kind, shared line) (run func(context.Context, int) error, stop func() error, err error) {
	on := shared
	var ends []func() error // the last first
	end := func() error {
		var errs []error
		for i := len(ends) - 1; i >= 0; i-- {
			errs = append(errs, ends[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	if on.topic == "" {
		made, remove, err := newLine(ctx, shared.broker, partitions)
		if err != nil {
			return nil, nil, err
		}
		ends = append(ends, remove)
		on = made
	}
	on.group = rand.Text()
	on.waits = k.goroutines > 0
	a, err := l.open(ctx, on)
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, func() error { return a.close(context.Background()) })
	switch {
	case strings.HasPrefix(k.name, "publish"):
		if err := a.publish(ctx, partitions, min(k.goroutines, 1)); err != nil {
			return nil, nil, err
		}
		run = func(ctx context.Context, n int) error { return a.publish(ctx, n, k.goroutines) }
	case k.name == "rebalance":
		quiet, err := on.trickle()
		if err != nil {
			return nil, nil, err
		}
		ends = append(ends, quiet)
		busy := measure.NewCountdown(2 * partitions)
		if err := a.consume(ctx, busy.Done); err != nil {
			return nil, nil, err
		}
		if err := busy.Wait(ctx); err != nil {
			return nil, nil, err
		}
		run = func(ctx context.Context, n int) error { return l.visit(ctx, on, n) }
	case k.name == "end-to-end":
		g := newGate(partitions)
		if err := a.consume(ctx, g.handled); err != nil {
			return nil, nil, err
		}
		if err := warm(ctx, on, g); err != nil {
			return nil, nil, err
		}
		run = func(ctx context.Context, n int) error {
			all := g.open(n)
			if err := a.publish(ctx, n, 0); err != nil {
				return err
			}
			return all.Wait(ctx)
		}
	default:
		g := newGate(1)
		handled := g.handled
		if k.name == "slow" {
			handled = func() {
				if g.wait() {
					<-time.After(5 * time.Millisecond) // its work
					g.all.Done()
				}
			}
		}
		if err := a.consume(ctx, handled); err != nil {
			return nil, nil, err
		}
		if err := g.arrived.Wait(ctx); err != nil {
			return nil, nil, err
		}
		run = func(ctx context.Context, n int) error { return g.open(n).Wait(ctx) }
	}
	return run, end, nil
}

// visit has a second member join and leave.
func (l library) visit(ctx context.Context, on line, n int) error {
	for range n {
		a, err := l.open(ctx, on)
		if err != nil {
			return err
		}
		var once sync.Once
		first := make(chan struct{})
		if err := a.consume(ctx, func() { once.Do(func() { close(first) }) }); err != nil {
			return errors.Join(err, a.close(ctx))
		}
		select {
		case <-first:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), a.close(ctx))
		}
		if err := a.close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// warm has a message of each partition handled.
func warm(ctx context.Context, on line, g *gate) error {
	client, err := franzProducer(on, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := on.each(ctx, client); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	return g.arrived.Wait(ctx)
}

// A gate holds handlers back until the measuring begins.
type gate struct {
	free    int // how many may pass before
	begun   chan struct{}
	arrived *measure.Countdown
	mu      sync.Mutex
	came    int
	all     *measure.Countdown
}

// newGate waits for the first n messages to arrive. If that is more than one they
// pass.
func newGate(n int) *gate {
	g := &gate{begun: make(chan struct{}), arrived: measure.NewCountdown(n)}
	if n > 1 {
		g.free = n
	}
	return g
}

// wait waits for the gate to open; false if the message is one of those that pass before.
func (g *gate) wait() bool {
	select {
	case <-g.begun:
		return true
	default:
	}
	g.mu.Lock()
	g.came++
	passes := g.came <= g.free
	g.mu.Unlock()
	g.arrived.Done()
	if passes {
		return false
	}
	<-g.begun
	return true
}

// handled counts a message, once the gate is open.
func (g *gate) handled() {
	if g.wait() {
		g.all.Done()
	}
}

// open begins to count n messages.
func (g *gate) open(n int) *measure.Countdown {
	g.all = measure.NewCountdown(n)
	close(g.begun)
	return g.all
}
