package driver

import (
	"context"
	"sync"
)

// Requests are those of a Topic whose requests run each by itself, so many at a time.
// Embedded, it has the methods of a Life. NewRequests makes one. Its methods may be called
// concurrently.
type Requests struct {
	Life
	slots chan struct{}

	beginning sync.Mutex // nothing begins once it has ended
	running   sync.WaitGroup
}

// NewRequests makes room for most requests at a time, with a Life that ends with parent's.
func NewRequests(parent *Life, most int) *Requests {
	return &Requests{Life: NewLife(parent), slots: make(chan struct{}, most)}
}

// Go waits for room, runs a request on a goroutine of its own, and then calls told, which
// tells the fates: what begins with that finds the room that this one leaves. Where ctx or
// the Life ends before there is room, that is the error, and neither is called.
func (r *Requests) Go(ctx context.Context, request, told func()) error {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.Done():
		return r.Err()
	}
	r.beginning.Lock()
	defer r.beginning.Unlock()
	if err := r.Err(); err != nil {
		<-r.slots
		return err
	}
	r.running.Go(func() {
		request()
		<-r.slots
		told()
	})
	return nil
}

// Stop ends the Life, and with its Context what runs, and waits until all fates are told.
// For Close: the engine has waited before for what may still be done.
func (r *Requests) Stop(why error) {
	r.beginning.Lock()
	r.End(why)
	r.beginning.Unlock()
	r.running.Wait()
}
