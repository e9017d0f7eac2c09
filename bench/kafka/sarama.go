package main

import (
	"context"
	"errors"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/bench/measure"
)

// careful are settings of sarama's under which what is confirmed is stored once.
func careful(c *sarama.Config) *sarama.Config {
	c.Version = sarama.V3_0_0_0
	c.Net.MaxOpenRequests = 1 // or it refuses to be idempotent
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

// raw is sarama by hand: a client for each direction, since a fetch that waits holds up
// what is behind it.
type raw struct {
	line
	client sarama.Client
	group  sarama.ConsumerGroup
	cancel context.CancelFunc
	done   chan error
}

func openSarama(_ context.Context, l line) (actor, error) {
	r := &raw{line: l}
	var err error
	r.client, err = sarama.NewClient(l.hosts(), careful(sarama.NewConfig()))
	return r, err
}

func (r *raw) publish(_ context.Context, n, goroutines int) error {
	body := sarama.ByteEncoder(make([]byte, bodySize))
	if goroutines > 0 {
		p, err := sarama.NewSyncProducerFromClient(r.client)
		if err != nil {
			return err
		}
		err = measure.Many(goroutines, n, func() error {
			_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: r.topic, Value: body})
			return err
		})
		return errors.Join(err, p.Close())
	}
	p, err := sarama.NewAsyncProducerFromClient(r.client)
	if err != nil {
		return err
	}
	told := make(chan error, 1)
	go func() {
		for range n {
			select {
			case <-p.Successes():
			case err := <-p.Errors():
				told <- err
				return
			}
		}
		told <- nil
	}()
	for range n {
		select {
		case p.Input() <- &sarama.ProducerMessage{Topic: r.topic, Value: body}:
		case err := <-told:
			return errors.Join(err, p.Close())
		}
	}
	return errors.Join(<-told, p.Close())
}

// loop is what is written in ConsumeClaim.
type loop func()

// Setup is sarama's.
func (loop) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is sarama's.
func (loop) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim is sarama's.
func (handled loop) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-c.Messages():
			if !ok {
				return nil
			}
			handled()
			s.MarkMessage(m, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func (r *raw) consume(ctx context.Context, handled func()) error {
	var err error
	if r.group, err = sarama.NewConsumerGroup(r.hosts(), r.line.group, careful(sarama.NewConfig())); err != nil {
		return err
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.done = make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := r.group.Consume(ctx, []string{r.topic}, loop(handled)); err != nil {
				r.done <- err
				return
			}
		}
		r.done <- nil
	}()
	return nil
}

func (r *raw) close(context.Context) error {
	var err error
	if r.group != nil {
		r.cancel()
		err = errors.Join(<-r.done, r.group.Close())
	}
	return errors.Join(err, r.client.Close())
}
