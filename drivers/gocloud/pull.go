package gocloud

import (
	"context"
	"fmt"
	"sync"
	"time"

	cloud "gocloud.dev/pubsub"
	cloudriver "gocloud.dev/pubsub/driver"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// NewSubscription makes a subscription of gocloud.dev's of a subscriber, which its
// Shutdown closes. It begins to receive at once. Each message that a program has received
// and not acknowledged is a handler that waits, so Concurrency bounds how many there
// can be: beyond it, Receive waits for an Ack.
//
// Ack is the verdict nil. Nack is an error, so the subscriber's RetryBackoff, MaxAttempts
// and dead letter are in force. An Ack that comes after the message was lost (its lease, a
// connection) has no effect, and the message comes again. What has no verdict at
// Shutdown goes back.
//
// As takes a *pubsub.Subscriber, a message's As a **pubsub.Delivery, and ErrorAs a
// **pubsub.Error.
func NewSubscription(s pubsub.Subscriber) *cloud.Subscription {
	return cloud.NewSubscription(newPull(s), nil, nil)
}

// pull is a cloudriver.Subscription.
type pull struct {
	translator
	from    pubsub.Subscriber
	ready   chan *pulled
	closing chan struct{}
	stop    context.CancelFunc
	run     sync.WaitGroup
	ended   chan struct{} // closed when err is set
	err     error
}

// pulled is the AckID of a delivery.
type pulled struct {
	delivery *pubsub.Delivery
	verdict  chan error // takes one
}

var (
	errNacked   error = driver.Errorf(driver.CodeFailed, "nacked through gocloud.dev")
	errShutdown error = driver.Errorf(driver.CodeClosed, "subscription was shut down")
)

// pollTime is how long a ReceiveBatch waits for a message, as gocloud.dev asks.
const pollTime = time.Second

func newPull(s pubsub.Subscriber) *pull {
	p := &pull{from: s, ready: make(chan *pulled), closing: make(chan struct{}), ended: make(chan struct{})}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	p.run.Go(func() {
		defer close(p.ended)
		if p.err = s.Receive(ctx, p.handle); p.err == nil {
			p.err = errShutdown
		}
	})
	return p
}

// handle offers a delivery and waits for its verdict.
func (p *pull) handle(ctx context.Context, d *pubsub.Delivery) error {
	one := &pulled{delivery: d, verdict: make(chan error, 1)}
	select {
	case p.ready <- one:
	case <-p.closing:
		return errShutdown
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-one.verdict:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.closing:
	}
	select {
	case err := <-one.verdict: // it came first
		return err
	default:
		return errShutdown
	}
}

func (p *pull) ReceiveBatch(ctx context.Context, most int) ([]*cloudriver.Message, error) {
	timer := time.NewTimer(pollTime)
	defer timer.Stop()
	var batch []*cloudriver.Message
	select {
	case one := <-p.ready:
		batch = append(batch, one.message())
	case <-timer.C:
		return nil, nil
	case <-p.ended:
		return nil, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(batch) < most {
		select {
		case one := <-p.ready:
			batch = append(batch, one.message())
		default:
			return batch, nil
		}
	}
	return batch, nil
}

func (o *pulled) message() *cloudriver.Message {
	d := o.delivery
	name := d.ID
	if name == "" {
		name = fmt.Sprintf("%s, attempt %d, published %s", d.Topic, d.Attempt, d.PublishTime.Format(time.RFC3339Nano))
	}
	return &cloudriver.Message{
		LoggableID: name, Body: d.Body, Metadata: d.Headers, AckID: o,
		AsFunc: func(i any) bool { return assign(i, d) },
	}
}

func (p *pull) SendAcks(_ context.Context, ids []cloudriver.AckID) error { return settle(ids, nil) }

func (p *pull) CanNack() bool { return true }

func (p *pull) SendNacks(_ context.Context, ids []cloudriver.AckID) error {
	return settle(ids, errNacked)
}

// settle gives verdicts; a second one of a message has no effect.
func settle(ids []cloudriver.AckID, verdict error) error {
	for _, id := range ids {
		select {
		case id.(*pulled).verdict <- verdict:
		default:
		}
	}
	return nil
}

func (p *pull) As(i any) bool { return assign(i, p.from) }

func (p *pull) Close() error {
	close(p.closing)
	p.stop()
	p.run.Wait()
	return closeIt(p.from)
}
