package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	partitions = 6
	keys       = 1000
)

// A line is a topic and a group that reads it.
type line struct {
	broker       string // its URL
	topic, group string
	ordered      bool
	waits        bool // publishers wait for each message
}

// hosts are the brokers.
func (l line) hosts() []string { return strings.Split(strings.TrimPrefix(l.broker, "kafka://"), ",") }

// newLine makes a topic of so many partitions.
func newLine(ctx context.Context, broker string, partitions int32) (l line, remove func() error, err error) {
	l = line{broker: broker, topic: "bench-" + strings.ToLower(rand.Text()[:10]), group: rand.Text()}
	admin, err := sarama.NewClusterAdmin(l.hosts(), sarama.NewConfig())
	if err != nil {
		return l, nil, err
	}
	if err := admin.CreateTopic(l.topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: -1}, false); err != nil {
		return l, nil, errors.Join(err, admin.Close())
	}
	remove = func() error { return errors.Join(admin.DeleteTopic(l.topic), admin.Close()) }
	if err := l.awaitLeaders(ctx, admin); err != nil {
		return l, nil, errors.Join(err, remove())
	}
	return l, remove, nil
}

// awaitLeaders waits until the topic is known: clients that ask too early wait for long
// before they ask again.
func (l line) awaitLeaders(ctx context.Context, admin sarama.ClusterAdmin) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := admin.DescribeTopics([]string{l.topic})
		if err != nil {
			return err
		}
		led := 0
		for _, p := range found[0].Partitions {
			if p.Err == sarama.ErrNoError && p.Leader >= 0 {
				led++
			}
		}
		if led > 0 && led == len(found[0].Partitions) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// source is the line with the messages of a case in which everyone reads the same; of
// another case it has no topic. end removes it.
func source(ctx context.Context, broker, name string, n int) (l line, end func() error, err error) {
	spread := int32(partitions)
	l = line{broker: broker}
	switch name {
	case "consume", "consume-keyed":
	case "slow":
		spread = 1
	default:
		return l, func() error { return nil }, nil
	}
	l, remove, err := newLine(ctx, broker, spread)
	if err != nil {
		return l, nil, err
	}
	l.ordered = name != "consume"
	if err := l.fill(ctx, n); err != nil {
		return l, nil, errors.Join(err, remove())
	}
	return l, remove, nil
}

// fill publishes what is consumed later.
func (l line) fill(ctx context.Context, n int) error {
	client, err := franzProducer(l)
	if err != nil {
		return err
	}
	defer client.Close()
	body := make([]byte, bodySize)
	return franzStream(ctx, client, n, func(i int) *kgo.Record {
		r := &kgo.Record{Value: body}
		if l.ordered {
			r.Key = fmt.Append(nil, "key-", i%keys)
		}
		return r
	})
}

// each publishes a message to each partition.
func (l line) each(ctx context.Context, client *kgo.Client) error {
	list := make([]*kgo.Record, partitions)
	for p := range list {
		list[p] = &kgo.Record{Partition: int32(p), Value: make([]byte, bodySize)}
	}
	return client.ProduceSync(ctx, list...).FirstErr()
}

// trickle publishes to each partition, every few milliseconds, until it is stopped.
func (l line) trickle() (stop func() error, err error) {
	client, err := franzProducer(l, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		defer client.Close()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				ended <- nil
				return
			}
			if err := l.each(ctx, client); err != nil && ctx.Err() == nil {
				ended <- err
				return
			}
		}
	}()
	return func() error { cancel(); return <-ended }, nil
}
