package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// position is what a group has committed of a partition.
type position struct {
	offset   int64 // -1: nothing
	metadata string
}

// committed asks what a group has committed. One that does not exist has committed
// nothing, whether the broker says that or that it does not exist.
func (c *conn) committed(group, topic string, partitions []int32) (map[int32]position, error) {
	broker, err := c.client.Coordinator(group)
	if err != nil {
		return nil, err
	}
	request := sarama.NewOffsetFetchRequest(c.client.Config().Version, group, map[string][]int32{topic: partitions})
	request.RequireStable = c.config.ReadCommitted
	response, err := broker.FetchOffset(request)
	if err != nil {
		_ = broker.Close()
		_ = c.client.RefreshCoordinator(group)
		return nil, err
	}
	all := map[int32]position{}
	if response.Err == sarama.ErrGroupIDNotFound {
		for _, p := range partitions {
			all[p] = position{offset: -1}
		}
		return all, nil
	}
	if response.Err != sarama.ErrNoError {
		_ = c.client.RefreshCoordinator(group)
		return nil, response.Err
	}
	for _, p := range partitions {
		b := response.GetBlock(topic, p)
		switch {
		case b == nil:
			return nil, sarama.ErrIncompleteResponse
		case b.Err != sarama.ErrNoError:
			_ = c.client.RefreshCoordinator(group)
			return nil, b.Err
		}
		all[p] = position{b.Offset, b.Metadata}
	}
	return all, nil
}

// offsets asks for the oldest or newest offset of partitions.
func (c *conn) offsets(topic string, partitions []int32, which int64) (map[int32]int64, error) {
	requests := map[*sarama.Broker]*sarama.OffsetRequest{}
	for _, p := range partitions {
		leader, err := c.client.Leader(topic, p)
		if err != nil {
			return nil, err
		}
		if requests[leader] == nil {
			requests[leader] = sarama.NewOffsetRequest(c.client.Config().Version)
			requests[leader].IsolationLevel = c.config.isolation()
		}
		requests[leader].AddBlock(topic, p, which, 1)
	}
	all := map[int32]int64{}
	for leader, r := range requests {
		response, err := leader.GetAvailableOffsets(r)
		if err != nil {
			_ = leader.Close()
			_ = c.client.RefreshMetadata(topic)
			return nil, err
		}
		for _, p := range partitions {
			b := response.GetBlock(topic, p)
			switch {
			case b == nil: // another broker's
			case b.Err == sarama.ErrUnknownTopicOrPartition:
				return nil, unheard(b.Err)
			case b.Err != sarama.ErrNoError:
				_ = c.client.RefreshMetadata(topic)
				return nil, b.Err
			default:
				all[p] = b.Offset
			}
		}
	}
	return all, nil
}

// pin commits where a new group begins, so that what is published from now on is kept
// for it though no member has joined.
func (c *conn) pin(r *driver.SubscribeRequest) error {
	doing := fmt.Sprintf("kafka: declare group %s of %s", r.Group, r.Topic)
	group := c.groupOf(r)
	partitions, err := c.client.Partitions(r.Topic)
	if err != nil {
		return classify(doing, err)
	}
	which := sarama.OffsetNewest
	if c.config.Start == "earliest" {
		which = sarama.OffsetOldest
	}
	// In this order: of two that declare at once, neither skips what the other keeps.
	begin, err := c.offsets(r.Topic, partitions, which)
	if err != nil {
		return classify(doing, err)
	}
	committed, err := c.committed(group, r.Topic, partitions)
	if err != nil {
		return classify(doing, err)
	}
	for _, p := range committed {
		if p.offset >= 0 {
			return nil // what has none is a partition that was added: it is read from its beginning
		}
	}
	if r.Topology == driver.Verify {
		return errorf(driver.CodeNotFound, "group %q has committed nothing of topic %q: it does not exist, or its offsets have expired; let Topology Create make it", r.Group, r.Topic)
	}
	request := c.commitRequest(group, nil)
	for p, offset := range begin {
		request.AddBlockWithLeaderEpoch(r.Topic, p, offset, -1, 0, "")
	}
	failed, err := c.commit(request)
	if err != nil {
		return classify(doing, err)
	}
	for _, k := range failed[r.Topic] {
		switch {
		case k == sarama.ErrNoError:
		case errors.Is(k, sarama.ErrUnknownMemberId):
			return nil // it has members, who commit where they are
		case k == sarama.ErrUnknownTopicOrPartition:
			return unheard(k)
		default:
			return classify(doing, k)
		}
	}
	return nil
}

// reach asks what a group has committed of each partition, and what is there of it.
func (c *conn) reach(group, topic string) (committed map[int32]position, oldest, newest map[int32]int64, err error) {
	partitions, err := c.client.Partitions(topic)
	if err == nil {
		committed, err = c.committed(group, topic, partitions)
	}
	if err == nil {
		oldest, err = c.offsets(topic, partitions, sarama.OffsetOldest)
	}
	if err == nil {
		newest, err = c.offsets(topic, partitions, sarama.OffsetNewest)
	}
	return committed, oldest, newest, classify(fmt.Sprintf("kafka: offsets of group %s in %s", group, topic), err)
}

// inRange fails where a group has committed what is no longer there, and nobody said
// what to do then.
func (c *conn) inRange(group, topic string) error {
	if c.config.OutOfRange != "error" {
		return nil
	}
	committed, oldest, newest, err := c.reach(group, topic)
	if err != nil {
		return err
	}
	for p, at := range committed {
		if at.offset >= 0 && (at.offset < oldest[p] || at.offset > newest[p]) {
			return errOutOfRange(topic, p)
		}
	}
	return nil
}

// lag counts what is in the partitions and not done.
func (c *conn) lag(group, topic string) (b driver.Backlog, err error) {
	committed, oldest, newest, err := c.reach(group, topic)
	if err != nil {
		return b, err
	}
	b.Unsettled = -1 // the members know, the brokers do not
	for p, last := range committed {
		at := max(last.offset, oldest[p])
		if n, ours, err := readNote(last.metadata); ours && err == nil && n.base == at {
			b.Ready += int64(len(n.undone))
			at = n.head
		}
		b.Ready += max(newest[p]-at, 0)
	}
	return b, nil
}

// unsettled are answers of a cluster that is still finding its places: it has just
// begun, made a topic, or lost a broker.
var unsettled = []sarama.KError{
	sarama.ErrOffsetsLoadInProgress, sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable,
	sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable,
}

// unheard makes unsettled what a broker says that has not heard yet of a topic that the
// cluster knows.
func unheard(k sarama.KError) error { return errors.Join(sarama.ErrLeaderNotAvailable, k) }

// settled asks until the cluster has found its places, within the timeout.
func (c *conn) settled(ctx context.Context, ask func() error) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(c.config.Timeout); ; {
		err := ask()
		var k sarama.KError
		if !errors.As(err, &k) || !slices.Contains(unsettled, k) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
