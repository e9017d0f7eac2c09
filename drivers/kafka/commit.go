package kafka

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// commit tells the broker what of the session's claims has changed, one commit at a
// time: what changes meanwhile goes into the next.
func (s *session) commit(ctx context.Context) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { s.turn <- struct{}{} }()
		for {
			again, err := s.commitOnce()
			if !again {
				done <- err
				return
			}
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// moving are answers to a commit while its group shares its partitions anew.
var moving = []sarama.KError{
	sarama.ErrRebalanceInProgress, sarama.ErrIllegalGeneration,
	sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrOffsetsLoadInProgress,
}

// flush commits before claims are given up, and for so long again where the group is moving.
func (s *session) flush(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, s.conn.config.Timeout)
	defer cancel()
	patient := time.NewTimer(patience)
	defer patient.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := s.commit(ctx)
		var k sarama.KError
		if !errors.As(err, &k) || !slices.Contains(moving, k) {
			return err
		}
		select {
		case <-ticker.C:
		case <-patient.C:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// part is what a commit says of one claim.
type part struct {
	*claim
	version uint64
}

// commitOnce sends one commit. It says whether another should follow at once, and what
// went wrong with a claim that is still this member's.
func (s *session) commitOnce() (again bool, wrong error) {
	request, parts := s.prepare()
	if len(parts) == 0 {
		return false, nil
	}
	failed, err := s.conn.commit(request)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err() != nil {
		return false, nil // it comes again
	}
	for _, p := range parts {
		k := failed[p.topic][p.partition]
		switch {
		case err == nil && k == sarama.ErrNoError:
			p.committed = max(p.committed, p.version)
		case k == sarama.ErrOffsetMetadataTooLarge && s.metadata > 0:
			// The brokers keep less than we were told.
			s.limit(s.metadata / 2)
			again = true
		case p.gone:
		case err != nil:
			wrong = err
		default:
			wrong = k
		}
	}
	return again, wrong
}

// prepare makes the request of what has changed.
func (s *session) prepare() (*sarama.OffsetCommitRequest, []part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []part
	var request *sarama.OffsetCommitRequest
	for _, c := range s.order {
		if c.gone || c.failure != nil || c.version == c.committed {
			continue
		}
		if s.group == "" {
			c.committed = c.version
			continue
		}
		if request == nil {
			request = s.conn.commitRequest(s.group, s.member)
		}
		n := c.note(!c.ending)
		request.AddBlockWithLeaderEpoch(c.topic, c.partition, n.base, -1, 0, n.encode(s.metadata))
		parts = append(parts, part{c, c.version})
	}
	return request, parts
}

// commitRequest is for a member, or for nobody if that is nil.
func (c *conn) commitRequest(group string, member sarama.ConsumerGroupSession) *sarama.OffsetCommitRequest {
	r := &sarama.OffsetCommitRequest{
		Version: 8, ConsumerGroup: group,
		ConsumerGroupGeneration: sarama.GroupGenerationUndefined,
	}
	if member != nil {
		r.ConsumerID, r.ConsumerGroupGeneration = member.MemberID(), member.GenerationID()
		if c.config.Instance != "" {
			r.GroupInstanceId = &c.config.Instance
		}
	}
	return r
}

// commit sends a commit to the group's coordinator, and looks for another one if that
// is not it any more.
func (c *conn) commit(r *sarama.OffsetCommitRequest) (map[string]map[int32]sarama.KError, error) {
	broker, err := c.client.Coordinator(r.ConsumerGroup)
	if err != nil {
		return nil, err
	}
	response, err := broker.CommitOffset(r)
	if err != nil {
		_ = broker.Close()
		_ = c.client.RefreshCoordinator(r.ConsumerGroup)
		return nil, err
	}
	for _, partitions := range response.Errors {
		for _, k := range partitions {
			if errors.Is(k, sarama.ErrNotCoordinatorForConsumer) || errors.Is(k, sarama.ErrConsumerCoordinatorNotAvailable) {
				_ = c.client.RefreshCoordinator(r.ConsumerGroup)
				return response.Errors, nil
			}
		}
	}
	return response.Errors, nil
}

var errClosed error = driver.Errorf(driver.CodeClosed, "kafka: closed")
