package main

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-go/waybill/bench/measure"
)

// franz is franz-go by hand. It is idempotent, with all acks, by itself.
type franz struct {
	line
	client *kgo.Client
	reader *kgo.Client
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

func franzProducer(l line, options ...kgo.Opt) (*kgo.Client, error) {
	options = append([]kgo.Opt{
		kgo.SeedBrokers(l.hosts()...), kgo.DefaultProduceTopic(l.topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MetadataMinAge(250 * time.Millisecond), // else it sits out five seconds where a new topic's leader is not ready
	}, options...)
	if l.waits {
		options = append(options, kgo.ProducerLinger(0))
	}
	return kgo.NewClient(options...)
}

func openFranz(_ context.Context, l line) (actor, error) {
	f := &franz{line: l}
	var err error
	f.client, err = franzProducer(l)
	return f, err
}

func (f *franz) publish(ctx context.Context, n, goroutines int) error {
	body := make([]byte, bodySize)
	if goroutines > 0 {
		return measure.Many(goroutines, n, func() error {
			return f.client.ProduceSync(ctx, &kgo.Record{Value: body}).FirstErr()
		})
	}
	return franzStream(ctx, f.client, n, func(int) *kgo.Record { return &kgo.Record{Value: body} })
}

// franzStream publishes without waiting for each, and returns when all are confirmed.
func franzStream(ctx context.Context, client *kgo.Client, n int, record func(int) *kgo.Record) error {
	var failed kgo.FirstErrPromise
	for i := range n {
		client.Produce(ctx, record(i), failed.Promise())
	}
	return failed.Err()
}

func (f *franz) consume(ctx context.Context, handled func()) error {
	var err error
	f.reader, err = kgo.NewClient(kgo.SeedBrokers(f.hosts()...), kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(f.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll())
	if err != nil {
		return err
	}
	ctx, f.cancel = context.WithCancel(ctx)
	f.wait.Go(func() {
		for ctx.Err() == nil {
			f.reader.PollFetches(ctx).EachRecord(func(*kgo.Record) { handled() })
			f.reader.AllowRebalance()
		}
	})
	return nil
}

func (f *franz) close(context.Context) error {
	if f.reader != nil {
		f.cancel()
		f.wait.Wait()
		f.reader.CloseAllowingRebalance()
	}
	f.client.Close()
	return nil
}
