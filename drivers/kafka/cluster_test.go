package kafka

import (
	"context"
	"crypto/rand"
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
		fault func(ctx context.Context, t *testing.T, topic string) error
	}{
		{"a node is killed", func(ctx context.Context, _ *testing.T, _ string) error {
			if err := b.Kill(ctx, 0); err != nil {
				return err
			}
			wait(ctx, 5*time.Second)
			return b.Start(ctx, 0) // leaders move again
		}},
		{"leaders move", func(ctx context.Context, t *testing.T, topic string) error {
			for range 4 {
				lead(t, b, topic)
				wait(ctx, time.Second)
			}
			return nil
		}},
		{"all are stopped and started", func(ctx context.Context, _ *testing.T, _ string) error {
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
				Fault: func(ctx context.Context) error { return c.fault(ctx, t, topic) },
			}.Run(t)
		})
	}
}

// lead makes the next replica the leader of each partition, though no node is gone.
func lead(t *testing.T, b *brokers.Broker, topic string) {
	t.Helper()
	config := sarama.NewConfig()
	config.Version = sarama.V3_0_0_0
	admin, err := sarama.NewClusterAdmin(hosts(b), config)
	must(t, err)
	defer admin.Close()
	found, err := admin.DescribeTopics([]string{topic})
	must(t, err)
	leaders := map[int32]int32{}
	replicas := make([][]int32, len(found[0].Partitions))
	var all []int32
	for _, p := range found[0].Partitions {
		at := slices.Index(p.Replicas, p.Leader)
		replicas[p.ID] = append(slices.Clone(p.Replicas[at+1:]), p.Replicas[:at+1]...)
		leaders[p.ID] = p.Leader
		all = append(all, p.ID)
	}
	must(t, admin.AlterPartitionReassignments(topic, replicas))
	_, err = admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: all})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for moved := 0; moved < len(all); {
		if ctx.Err() != nil {
			t.Error("leaders have not moved")
			return
		}
		wait(ctx, 50*time.Millisecond)
		found, err = admin.DescribeTopics([]string{topic})
		must(t, err)
		moved = 0
		for _, p := range found[0].Partitions {
			if p.Leader != leaders[p.ID] {
				moved++
			}
		}
	}
}
