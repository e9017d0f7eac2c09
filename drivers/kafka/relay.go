package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A relay moves a group's delayed messages on when their time is over. Every member of the
// group has one; between them they share the partitions.
type relay struct {
	conn   *conn
	topics delays
	client sarama.Client
	group  sarama.ConsumerGroup
	stop   context.CancelFunc
	ended  sync.WaitGroup

	mu  sync.Mutex
	out map[string]*topic
}

func newRelay(c *conn, d delays) (*relay, error) {
	s := c.config.forGroup()
	s.Consumer.MaxWaitTime = c.config.MaxWait
	doing := "kafka: read " + d.waiting
	client, err := sarama.NewClient(c.config.Brokers, s)
	if err != nil {
		return nil, classify(doing, err)
	}
	group, err := sarama.NewConsumerGroupFromClient(c.config.GroupPrefix+d.waiting, client)
	if err != nil {
		_ = client.Close()
		return nil, classify(doing, err)
	}
	r := &relay{conn: c, topics: d, client: client, group: group, out: map[string]*topic{}}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.ended.Go(func() {
		for err := range group.Errors() {
			c.config.Logger.Debug("waybill: kafka relay", "topic", d.waiting, "error", err)
		}
	})
	r.ended.Go(func() {
		r.run(ctx)
		_ = group.Close()
		_ = client.Close()
	})
	return r, nil
}

// relayPatience is how long a relay waits after what failed.
const relayPatience = 500 * time.Millisecond

func (r *relay) run(ctx context.Context) {
	for ctx.Err() == nil && r.conn.Err() == nil {
		if err := r.group.Consume(ctx, []string{r.topics.waiting}, r); err != nil && ctx.Err() == nil {
			r.conn.config.Logger.Warn("waybill: delayed messages wait: their topic cannot be read", "topic", r.topics.waiting, "error", err)
			until(ctx, time.Now().Add(relayPatience))
		}
	}
}

// until waits for a time; false if ctx ended before.
func until(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *relay) close() {
	r.stop()
	r.ended.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.out {
		r.conn.forgetTopic(t)
		_ = t.end(errClosed)
	}
	r.out = nil
}

// Setup is sarama's.
func (r *relay) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is sarama's.
func (r *relay) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// relayed is how many messages a relay moves at a time.
const relayed = 500

// ConsumeClaim is sarama's. A partition whose first message has time does not hold up the
// others: sarama leaves it out of its fetches until it is read again.
func (r *relay) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	ctx := s.Context()
	var next *sarama.ConsumerMessage
	for {
		if next == nil {
			select {
			case next = <-claim.Messages():
			case <-ctx.Done():
			}
			if next == nil {
				return nil
			}
		}
		if !until(ctx, over(next, time.Now())) {
			return nil
		}
		batch := []*sarama.ConsumerMessage{next}
		next = nil
		for now := time.Now(); next == nil && len(batch) < relayed; {
			var m *sarama.ConsumerMessage
			select {
			case m = <-claim.Messages():
			default:
			}
			if m == nil {
				break
			}
			if over(m, now).After(now) {
				next = m
			} else {
				batch = append(batch, m)
			}
		}
		if !r.move(ctx, batch) {
			return nil
		}
		s.MarkMessage(batch[len(batch)-1], "")
		s.Commit()
	}
}

// move sends messages on until all are stored; false if ctx ended before.
func (r *relay) move(ctx context.Context, batch []*sarama.ConsumerMessage) bool {
	for ctx.Err() == nil {
		err := r.try(ctx, &batch)
		if len(batch) == 0 {
			return true
		}
		r.conn.config.Logger.Warn("waybill: delayed messages wait: they cannot be moved", "topic", r.topics.waiting, "messages", len(batch), "error", err)
		until(ctx, time.Now().Add(relayPatience))
	}
	return false
}

// try sends each message of a batch on once, and leaves in it what was not stored.
func (r *relay) try(ctx context.Context, batch *[]*sarama.ConsumerMessage) error {
	waiting, err := r.topic(ctx, r.topics.waiting)
	if err != nil {
		return err
	}
	due, err := r.topic(ctx, r.topics.due)
	if err != nil {
		return err
	}
	lengths, err := waiting.lengths()
	if err != nil {
		return err
	}
	var over, further []parcel
	var last, longer, left []*sarama.ConsumerMessage
	now := time.Now()
	for _, m := range *batch {
		p := copied(m)
		at, _ := timeIn(m, dueHeader)
		if to, more := length(at.Sub(now), lengths); more {
			p.to, p.fixed = to, true
			further, longer = append(further, p), append(longer, m)
		} else {
			over, last = append(over, p), append(last, m)
		}
	}
	for _, part := range []struct {
		topic    *topic
		parcels  []parcel
		messages []*sarama.ConsumerMessage
	}{{waiting, further, longer}, {due, over, last}} {
		unstored, failure := part.topic.forward(ctx, part.parcels)
		for _, i := range unstored {
			left = append(left, part.messages[i])
		}
		if failure != nil {
			err = failure
		}
	}
	*batch = left
	return err
}

// topic publishes to one of the topics.
func (r *relay) topic(ctx context.Context, name string) (*topic, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.out[name]; t != nil && t.Err() == nil {
		return t, nil
	}
	opened, err := r.conn.Topic(ctx, driver.TopicRequest{Topic: name, Topology: driver.Assume})
	if err != nil {
		return nil, err
	}
	if r.out == nil {
		_ = opened.Close(ctx)
		return nil, errClosed
	}
	if dead := r.out[name]; dead != nil {
		r.conn.forgetTopic(dead)
		_ = dead.end(errClosed)
	}
	r.out[name] = opened.(*topic)
	return r.out[name], nil
}

// park stores copies of messages that are due later, and says which of them it did not
// store.
func (r *relay) park(ctx context.Context, parcels []parcel, delays []time.Duration) (left []int, err error) {
	all := make([]int, len(parcels))
	for i := range all {
		all[i] = i
	}
	t, err := r.topic(ctx, r.topics.waiting)
	if err != nil {
		return all, err
	}
	lengths, err := t.lengths()
	if err != nil {
		return all, err
	}
	for i := range parcels {
		parcels[i].fixed = true
		parcels[i].to, _ = length(delays[i], lengths)
	}
	return t.forward(ctx, parcels)
}
