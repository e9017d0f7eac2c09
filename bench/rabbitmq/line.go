package main

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// dial connects with the raw client.
func dial(broker string) (*amqp.Connection, error) {
	_, address, _ := strings.Cut(broker, "://")
	return amqp.Dial("amqp://" + address)
}

// newLine declares a line. The names are as the driver would choose them for a topic
// and its group, so that it finds what it would have made.
func newLine(broker, kind string) (l line, remove func() error, err error) {
	topic := "bench-" + strings.ToLower(rand.Text()[:10])
	l = line{broker: broker, exchange: topic, queue: topic + "/readers", kind: kind}
	conn, err := dial(broker)
	if err != nil {
		return l, nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return l, nil, errors.Join(err, conn.Close())
	}
	remove = func() error {
		_, err := ch.QueueDelete(l.queue, false, false, false)
		return errors.Join(err, ch.ExchangeDelete(l.exchange, false, false), conn.Close())
	}
	return l, remove, nil
}

// declare makes a line's exchange and queue, for those that do not make their own.
func (l line) declare() error {
	conn, err := dial(l.broker)
	if err != nil {
		return err
	}
	ch, err := conn.Channel()
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	err = ch.ExchangeDeclare(l.exchange, amqp.ExchangeFanout, true, false, false, false, nil)
	if err == nil {
		_, err = ch.QueueDeclare(l.queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: l.kind})
	}
	if err == nil {
		err = ch.QueueBind(l.queue, "", l.exchange, false, nil)
	}
	return errors.Join(err, conn.Close())
}

// fill publishes what is consumed later.
func fill(ctx context.Context, l line, n int) error {
	conn, err := dial(l.broker)
	if err != nil {
		return err
	}
	return errors.Join(publishWindow(ctx, conn, l.exchange, n), conn.Close())
}
