package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// ensure makes or verifies a topic as the request says.
func (c *conn) ensure(ctx context.Context, r *driver.TopicRequest) error {
	want, err := settingsOf(r.Settings)
	if err != nil || r.Topology == driver.Assume {
		return err
	}
	_, err = driver.Within(ctx, c.calls, func() (struct{}, error) { return struct{}{}, c.ensureTopic(ctx, r, want) }, nil)
	return err
}

// settingsOf finds a topic's settings.
func settingsOf(list []any) (s TopicSettings, err error) {
	for i, v := range list {
		own, ok := v.(TopicSettings)
		switch {
		case !ok:
			return s, errorf(driver.CodeInvalid, "setting of type %T is none of this driver's; want kafka.TopicSettings", v)
		case i > 0:
			return s, errorf(driver.CodeInvalid, "kafka.TopicSettings are given more than once")
		case own.Partitions < 0 || own.Partitions > 1<<20 || own.Replicas < 0 || own.Replicas > 1<<10:
			return s, errorf(driver.CodeInvalid, "settings of %d partitions, %d replicas make no sense", own.Partitions, own.Replicas)
		}
		s = own
	}
	return s, nil
}

func (c *conn) ensureTopic(ctx context.Context, r *driver.TopicRequest, want TopicSettings) error {
	doing := "kafka: topic " + r.Topic
	found, err := c.describe(r.Topic)
	if err != nil {
		return classify(doing, err)
	}
	if found.Err == sarama.ErrUnknownTopicOrPartition {
		if r.Topology == driver.Verify {
			return errorf(driver.CodeNotFound, "topic %q does not exist: create it, or let Topology Create do so", r.Topic)
		}
		if err := c.create(r.Topic, want); err != nil {
			return classify(doing, err)
		}
		return c.awaitTopic(ctx, r.Topic)
	}
	if found.Err != sarama.ErrNoError && found.Err != sarama.ErrLeaderNotAvailable {
		return classify(doing, found.Err)
	}
	if err := c.compare(found, want); err != nil {
		return err
	}
	return c.awaitTopic(ctx, r.Topic)
}

// describe asks about a topic. It does not make it.
func (c *conn) describe(topic string) (*sarama.TopicMetadata, error) {
	broker := c.client.LeastLoadedBroker()
	if broker == nil {
		return nil, sarama.ErrOutOfBrokers
	}
	if err := broker.Open(c.client.Config()); err != nil && !errors.Is(err, sarama.ErrAlreadyConnected) {
		return nil, err
	}
	response, err := broker.GetMetadata(sarama.NewMetadataRequest(c.client.Config().Version, []string{topic}))
	if err != nil {
		_ = broker.Close()
		return nil, err
	}
	for _, t := range response.Topics {
		if t.Name == topic {
			return t, nil
		}
	}
	return nil, sarama.ErrIncompleteResponse
}

func (c *conn) create(topic string, want TopicSettings) error {
	admin, err := sarama.NewClusterAdminFromClient(c.client)
	if err != nil {
		return err
	}
	detail := &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ConfigEntries: map[string]*string{}}
	if n := max(want.Partitions, 0); n > 0 || c.config.Partitions > 0 {
		detail.NumPartitions = int32(or(n, c.config.Partitions)) //nolint:gosec // was checked
	}
	if n := want.Replicas; n > 0 || c.config.Replicas > 0 {
		detail.ReplicationFactor = int16(or(n, c.config.Replicas)) //nolint:gosec // was checked
	}
	for name, value := range want.Config {
		detail.ConfigEntries[name] = &value
	}
	err = admin.CreateTopic(topic, detail, false)
	if errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return nil // another was quicker, with the same wishes
	}
	return err
}

func or(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// awaitTopic waits until the client sees each partition's leader: brokers learn of a
// new topic one after the other.
func (c *conn) awaitTopic(ctx context.Context, topic string) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(c.config.Timeout)
	for {
		err := c.client.RefreshMetadata(topic)
		if err == nil {
			all, _ := c.client.Partitions(topic)
			led, err := c.client.WritablePartitions(topic)
			if err == nil && len(all) > 0 && len(led) == len(all) {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return classify("kafka: leaders of topic "+topic, errors.Join(sarama.ErrLeaderNotAvailable, err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// compare names what differs between a topic and what is asked of it.
func (c *conn) compare(found *sarama.TopicMetadata, want TopicSettings) error {
	differs := func(what string, is, want any) error {
		return errorf(driver.CodeConflict, "topic %q has %s %v, want %v: change the topic or the settings", found.Name, what, is, want)
	}
	if n := len(found.Partitions); want.Partitions > 0 && n != want.Partitions {
		return differs("a number of partitions of", n, want.Partitions)
	}
	if len(found.Partitions) > 0 {
		if n := len(found.Partitions[0].Replicas); want.Replicas > 0 && n != want.Replicas {
			return differs("a number of replicas of", n, want.Replicas)
		}
	}
	if len(want.Config) == 0 {
		return nil
	}
	admin, err := sarama.NewClusterAdminFromClient(c.client)
	if err != nil {
		return classify("kafka: configuration of "+found.Name, err)
	}
	names := slices.Sorted(maps.Keys(want.Config))
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: found.Name, ConfigNames: names}
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return classify("kafka: configuration of "+found.Name, err)
	}
	is := map[string]string{}
	for _, r := range results {
		if r.ErrorCode != sarama.ErrNoError {
			return classify("kafka: configuration of "+found.Name, r.ErrorCode)
		}
		for _, e := range r.Configs {
			is[e.Name] = e.Value
		}
	}
	for _, name := range names {
		if is[name] != want.Config[name] {
			return differs(name, fmt.Sprintf("%q", is[name]), fmt.Sprintf("%q", want.Config[name]))
		}
	}
	return nil
}
