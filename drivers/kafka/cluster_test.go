package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// TestCluster has faults strike a cluster of three while messages flow.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes its time")
	}
	t.Parallel()
	b := brokers.Kafka(t, brokers.Nodes(3), brokers.Private())
	for _, c := range []struct {
		name  string
		fault func(ctx context.Context, topic string) error
	}{
		{"a node is killed", func(ctx context.Context, _ string) error {
			if err := b.Kill(ctx, 0); err != nil {
				return err
			}
			wait(ctx, 5*time.Second)
			return b.Start(ctx, 0) // leaders move again
		}},
		{"leaders move", func(ctx context.Context, topic string) error {
			for range 4 {
				if err := lead(ctx, b, topic); err != nil {
					return err
				}
				wait(ctx, time.Second)
			}
			return nil
		}},
		{"all are stopped and started", func(ctx context.Context, _ string) error {
			if err := b.Stop(ctx); err != nil {
				return err
			}
			wait(ctx, time.Second)
			return b.Start(ctx)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := spread(b)
			config.Replicas = 3
			d, err := New(config)
			must(t, err)
			topic := "cluster-" + rand.Text()
			defer stored(t, config, topic)
			pubsubtest.Storm{
				Driver: d, Topic: topic, Strikes: 5, Pace: 10 * time.Millisecond, Patience: 2 * time.Minute,
				Fault: func(ctx context.Context) error { return c.fault(ctx, topic) },
			}.Run(t)
		})
	}
}

// lead makes the next replica the leader of each partition, though no node is gone.
func lead(ctx context.Context, b *brokers.Broker, topic string) error {
	config := sarama.NewConfig()
	config.Version = sarama.V3_0_0_0
	admin, err := sarama.NewClusterAdmin(hosts(b), config)
	if err != nil {
		return err
	}
	defer admin.Close()
	found, err := admin.DescribeTopics([]string{topic})
	if err != nil {
		return err
	}
	leaders := map[int32]int32{}
	replicas := make([][]int32, len(found[0].Partitions))
	var all []int32
	for _, p := range found[0].Partitions {
		at := slices.Index(p.Replicas, p.Leader)
		replicas[p.ID] = append(slices.Clone(p.Replicas[at+1:]), p.Replicas[:at+1]...)
		leaders[p.ID] = p.Leader
		all = append(all, p.ID)
	}
	if err := admin.AlterPartitionReassignments(topic, replicas); err != nil {
		return err
	}
	if _, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: all}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for moved := 0; moved < len(all); {
		if ctx.Err() != nil {
			return errors.New("leaders have not moved")
		}
		wait(ctx, 50*time.Millisecond)
		found, err = admin.DescribeTopics([]string{topic})
		if err != nil {
			continue
		}
		moved = 0
		for _, p := range found[0].Partitions {
			if p.Leader != leaders[p.ID] {
				moved++
			}
		}
	}
	return nil
}
