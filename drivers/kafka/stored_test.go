package kafka

import (
	"strconv"
	"testing"

	"github.com/IBM/sarama"
)

// stored reads a topic with sarama alone and fails where a key's numbers are not in
// order, or one is there twice.
func stored(t *testing.T, c Config, topic string) {
	t.Helper()
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	client, err := sarama.NewClient(c.Brokers, config)
	must(t, err)
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	must(t, err)
	defer consumer.Close()
	partitions, err := client.Partitions(topic)
	must(t, err)
	next, wrong, total := map[string]int{}, 0, 0
	for _, p := range partitions {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		must(t, err)
		if end == 0 {
			continue
		}
		reader, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		must(t, err)
		for m := range reader.Messages() {
			total++
			n, err := strconv.Atoi(string(m.Value))
			must(t, err)
			if n != next[string(m.Key)] {
				if wrong++; wrong < 5 {
					t.Errorf("partition %d, offset %d: key %s has %d, want %d", p, m.Offset, m.Key, n, next[string(m.Key)])
				}
			}
			next[string(m.Key)] = n + 1
			if m.Offset == end-1 {
				break
			}
		}
		must(t, reader.Close())
	}
	t.Logf("%d messages are stored, %d out of place", total, wrong)
}
