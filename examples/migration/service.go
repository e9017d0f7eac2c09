package main

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// Scan is an event: a parcel was seen somewhere.
type Scan struct {
	Number int
}

// service runs by one configuration file after another, without standing still.
type service struct {
	track   func(broker string) pubsub.Handler
	fail    context.CancelCauseFunc
	options []pubsub.ClientOption

	mu  sync.RWMutex
	now *generation
}

// generation is the service by one file.
type generation struct {
	scans pubsub.TypedPublisher[Scan]
	stop  context.CancelFunc
	ended chan error
}

// newService makes a service that is not started. It calls fail when receiving fails.
func newService(track func(broker string) pubsub.Handler, fail context.CancelCauseFunc) *service {
	return &service{track: track, fail: fail, options: ledger.ThisRun()}
}

// change goes on by another file. The next generation receives before the last one drains;
// both are members of the same groups, so that each message is for one of them. If the
// next cannot start, the last one goes on.
func (s *service) change(ctx context.Context, file string) error {
	next, err := s.start(ctx, file)
	if err != nil {
		return err
	}
	return s.replace(next)
}

// stop ends the service.
func (s *service) stop() error { return s.replace(nil) }

func (s *service) replace(next *generation) error {
	s.mu.Lock() // until what is being published is stored
	last := s.now
	s.now = next
	s.mu.Unlock()
	if last == nil {
		return nil
	}
	last.stop()
	return <-last.ended
}

// publish writes to wherever the file says.
func (s *service) publish(ctx context.Context, scan Scan) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.scans.Publish(ctx, scan)
}

// start receives on every subscription of a file: tracking@old and tracking@new have the
// same handler.
func (s *service) start(ctx context.Context, file string) (*generation, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	client, err := cfg.Client(ctx, s.options...)
	if err != nil {
		return nil, err
	}
	topic, err := client.Publisher(ctx, "scans")
	var routes []pubsub.Route
	for _, name := range cfg.Subscriptions() {
		_, broker, _ := strings.Cut(name, "@")
		subscription, failed := client.Subscriber(ctx, name)
		err = errors.Join(err, failed)
		routes = append(routes, pubsub.Handle(subscription, s.track(broker)))
	}
	if err != nil {
		return nil, errors.Join(err, client.Close(ctx))
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // until it is replaced
	g := &generation{
		scans: pubsub.TypedPublisher[Scan]{Publisher: topic, Codec: codec.JSON[Scan]()},
		stop:  stop, ended: make(chan error, 1),
	}
	go func() {
		err := client.Serve(serving, routes...)
		if err != nil {
			s.fail(err)
		}
		g.ended <- err
	}()
	return g, nil
}
