package gcppubsub

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A stream that breaks is opened again, for as long as the leases it gave may be good:
// they outlive it. After that the session is dead, and the engine goes on.
const (
	mending    = time.Minute
	pingEvery  = 30 * time.Second // or Google ends an idle stream
	least      = 50 * time.Millisecond
	most       = 5 * time.Second
	leastLease = 10 * time.Second // that a stream can ask for
)

var errQuiet = driver.Errorf(driver.CodeUnavailable, "gcppubsub: stream closed")

// stream keeps a stream open until ctx ends, or nothing helps.
func (s *session) stream(ctx context.Context) {
	defer close(s.ended)
	select {
	case <-s.grow: // the first credit
	case <-ctx.Done():
		return
	}
	var broken time.Time
	pause := least
	for ctx.Err() == nil && !s.over() {
		began := time.Now()
		worked, err := s.pull(ctx)
		if ctx.Err() != nil || s.over() {
			return
		}
		if worked || errors.Is(err, errQuiet) {
			broken, pause = time.Time{}, least
		}
		if errors.Is(err, errQuiet) {
			continue
		}
		if broken.IsZero() {
			broken = began
		}
		if !driver.CodeOf(err).Heals() || time.Since(broken) > mending {
			s.End(err)
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, most)
	}
}

// over says whether the session takes nothing more.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Err() != nil || s.quiesced
}

// pull opens a stream and reads it to its end; errQuiet if it was ended from here, to
// be opened anew.
func (s *session) pull(ctx context.Context) (worked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.conn.client.Subscriptions.StreamingPull(ctx)
	if err != nil {
		return false, failure("pull", err)
	}
	s.mu.Lock()
	window := s.window
	s.parked = 0
	s.mu.Unlock()
	err = stream.Send(&pubsubpb.StreamingPullRequest{
		Subscription:             s.plan.subscription,
		StreamAckDeadlineSeconds: seconds(max(s.plan.lease, leastLease)),
		MaxOutstandingMessages:   int64(window.Messages),
		MaxOutstandingBytes:      int64(window.Bytes),
		ClientId:                 s.conn.member,
		ProtocolVersion:          1,
	})
	if err != nil && !errors.Is(err, io.EOF) { // EOF: Recv tells why
		return false, failure("pull", err)
	}
	var sending sync.Mutex // a stream's sends must not overlap
	finish := func() error {
		sending.Lock()
		defer sending.Unlock()
		return stream.CloseSend()
	}
	s.mu.Lock()
	s.finish = finish
	quiesced := s.quiesced
	s.mu.Unlock()
	if quiesced {
		_ = finish()
	}
	renewed := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(ctx, cancel, renewed, finish, func() error {
			sending.Lock()
			defer sending.Unlock()
			return stream.Send(&pubsubpb.StreamingPullRequest{})
		})
	}()
	defer func() {
		s.mu.Lock()
		s.finish = nil
		s.mu.Unlock()
		cancel()
		<-watched
	}()
	for {
		r, err := stream.Recv()
		from := time.Now()
		if err != nil {
			select {
			case <-renewed:
				return worked, errQuiet
			default:
				if errors.Is(err, io.EOF) {
					return worked, driver.Wrap(driver.CodeUnavailable, "gcppubsub: pull: the stream was closed", err)
				}
				return worked, failure("pull", err)
			}
		}
		worked = true
		if p := r.SubscriptionProperties; p != nil {
			s.mu.Lock()
			s.exact = p.ExactlyOnceDeliveryEnabled
			s.mu.Unlock()
		}
		list := r.ReceivedMessages
		if len(list) == 0 {
			continue
		}
		if s.plan.lease < leastLease || s.isExact() {
			list, from = s.receipt(ctx, list), time.Now()
		}
		_ = s.giveBack(ctx, s.take(list, from))
		s.awaitRoom(ctx)
	}
}

func (s *session) isExact() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exact
}

// watch pings a stream, and ends it when it must be opened with a larger window.
func (s *session) watch(ctx context.Context, cancel context.CancelFunc, renewed chan struct{}, finish, send func() error) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.grow:
			close(renewed)
			_ = finish() // what is on its way still comes
			patience := time.NewTimer(time.Second)
			defer patience.Stop()
			select {
			case <-patience.C:
			case <-ctx.Done():
			}
			cancel()
			return
		case <-ping.C:
			if s.over() {
				return
			}
			s.mu.Lock()
			s.sweep(time.Now())
			s.mu.Unlock()
			if err := send(); err != nil {
				return
			}
		}
	}
}

// receipt sets the leases of what just came: where they are shorter than a stream's,
// and under exactly-once delivery, where Google says which are good.
func (s *session) receipt(ctx context.Context, list []*pubsubpb.ReceivedMessage) []*pubsubpb.ReceivedMessage {
	ids := make([]string, len(list))
	for i, m := range list {
		ids[i] = m.AckId
	}
	bad := results(s.modify(ctx, ids, seconds(s.plan.lease)))
	if len(bad) == 0 {
		return list
	}
	good := list[:0]
	for _, m := range list {
		if _, ok := bad[m.AckId]; !ok {
			good = append(good, m)
		}
	}
	return good
}

// awaitRoom waits while a whole window waits here: the emulator knows no limit.
func (s *session) awaitRoom(ctx context.Context) {
	for {
		s.mu.Lock()
		full := len(s.held)-s.given > s.window.Messages && !s.quiesced && s.Err() == nil
		s.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-s.room:
		case <-ctx.Done():
			return
		}
	}
}
