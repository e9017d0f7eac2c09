package main

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/bench/measure"
)

// raw is amqp091-go by hand: a connection for each direction.
type raw struct {
	line
	out, in *amqp.Connection
	every   int // how many are acknowledged at a time
	done    chan struct{}
}

func openRaw(every int) func(context.Context, line) (actor, error) {
	return func(_ context.Context, l line) (actor, error) {
		if err := l.declare(); err != nil {
			return nil, err
		}
		r := &raw{line: l, every: every}
		var err error
		if r.out, err = dial(l.broker); err != nil {
			return nil, err
		}
		if r.in, err = dial(l.broker); err != nil {
			return nil, errors.Join(err, r.out.Close())
		}
		return r, nil
	}
}

func (r *raw) publish(ctx context.Context, n int, many bool) error {
	if many {
		return publishMany(ctx, r.out, r.exchange, n)
	}
	return publishWindow(ctx, r.out, r.exchange, n)
}

var errNotStored = errors.New("the broker did not store a message")

func persistent(body []byte) amqp.Publishing {
	return amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body}
}

// publishWindow publishes from one goroutine with a window of confirms outstanding.
func publishWindow(ctx context.Context, conn *amqp.Connection, exchange string, n int) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, window))
	body := make([]byte, bodySize)
	confirm := func() error {
		if c, ok := <-confirms; !ok || !c.Ack {
			return errNotStored
		}
		return nil
	}
	for i := range n {
		if i >= window {
			if err := confirm(); err != nil {
				return err
			}
		}
		if err := ch.PublishWithContext(ctx, exchange, "", false, false, persistent(body)); err != nil {
			return err
		}
	}
	for range min(n, window) {
		if err := confirm(); err != nil {
			return err
		}
	}
	return ch.Close()
}

// publishMany publishes from as many goroutines as the window has places.
func publishMany(ctx context.Context, conn *amqp.Connection, exchange string, n int) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	body := make([]byte, bodySize)
	err = measure.Many(window, n, func() error {
		c, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, "", false, false, persistent(body))
		if err != nil {
			return err
		}
		stored, err := c.WaitContext(ctx)
		if err == nil && !stored {
			err = errNotStored
		}
		return err
	})
	return errors.Join(err, ch.Close())
}

func (r *raw) consume(_ context.Context, handled func()) error {
	ch, err := r.in.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(window, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(r.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		n := 0
		for d := range deliveries {
			handled()
			// Messages come in multiples of every, and fewer than the prefetch.
			if n++; n%r.every != 0 {
				continue
			}
			if err := d.Ack(r.every > 1); err != nil {
				return
			}
		}
	}()
	return nil
}

func (r *raw) close(context.Context) error {
	err := errors.Join(r.out.Close(), r.in.Close())
	if r.done != nil {
		<-r.done
	}
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
