package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// member is a session's part in a consumer group, in sarama's terms. It has a client
// of its own: a join blocks the connection that it goes over, commits must not.
type member struct {
	*session
	client  sarama.Client
	links   *links
	group   sarama.ConsumerGroup
	fetcher *fetcher
	joined  chan struct{} // closed at the first assignment
	once    sync.Once
}

// join opens a member and waits until the group has taken it in.
func (s *session) join(ctx context.Context) error {
	links := &links{config: &s.conn.config}
	settings := s.conn.config.forGroup()
	settings.Net.Proxy.Enable, settings.Net.Proxy.Dialer = true, links
	client, err := sarama.NewClient(s.conn.config.Brokers, settings)
	if err != nil {
		return classify("kafka: join group "+s.group, err)
	}
	group, err := sarama.NewConsumerGroupFromClient(s.group, client)
	if err != nil {
		_ = client.Close()
		return classify("kafka: join group "+s.group, err)
	}
	m := &member{session: s, client: client, links: links, group: group, fetcher: newFetcher(s, client), joined: make(chan struct{})}
	consuming, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	ended := make(chan struct{})
	all.Go(func() {
		defer close(ended)
		m.consume(consuming)
	})
	errorsEnd := make(chan struct{})
	go func() {
		defer close(errorsEnd)
		m.watch()
	}()
	err = s.begun(ctx, func(ctx context.Context) error {
		stop()
		m.quit(ctx, ended)
		m.fetcher.close()
		err := m.hangUp(ctx, ended)
		<-errorsEnd
		return classify("kafka: leave group "+s.group, err)
	})
	if err != nil {
		return err
	}
	select {
	case <-m.joined:
		return nil
	case <-s.Done():
		err = s.Err()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = s.Close(ctx)
	return err
}

// joinPatience is how long a member that leaves waits for an answer of its group.
const joinPatience = 2 * time.Second

// quit waits, within ctx, until the member takes no part any more. A join is answered when
// all members have joined, and may outlast the drain: its connection is cut, so that
// this one can leave over another, and hold up nobody. sarama cannot end a request.
func (m *member) quit(ctx context.Context, ended <-chan struct{}) {
	ticker := time.NewTicker(joinPatience)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.links.cut()
		}
	}
}

// hangUp leaves the group, for as long as that is worth, and frees the client. A group
// that is not told waits for its member's heartbeats.
func (m *member) hangUp(ctx context.Context, ended <-chan struct{}) error {
	select {
	case <-ended:
	default:
		m.links.cut()
		<-ended
	}
	patience := m.conn.config.Timeout
	if ctx.Err() != nil {
		patience = min(patience, joinPatience)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	left := make(chan error, 1)
	go func() { left <- m.group.Close() }()
	select {
	case err := <-left:
		_ = m.client.Close()
		return err
	case <-timer.C:
		_ = m.client.Close()
		m.links.shut()
		return <-left
	}
}

// consume takes part in the group until ctx ends or that fails.
func (m *member) consume(ctx context.Context) {
	for ctx.Err() == nil {
		if err := m.group.Consume(ctx, []string{m.request.Topic}, m); err != nil && ctx.Err() == nil {
			m.die(classify("kafka: group "+m.session.group, err))
			return
		}
	}
}

// watch acts on what goes wrong with single partitions.
func (m *member) watch() {
	for err := range m.group.Errors() {
		var at *sarama.ConsumerError
		if errors.As(err, &at) && errors.Is(at.Err, sarama.ErrOffsetOutOfRange) {
			m.outOfRange(at.Partition)
			continue
		}
		m.conn.config.Logger.Debug("waybill: kafka consumer", "group", m.session.group, "error", err)
	}
}

// outOfRange goes on where the settings say, or ends the session.
func (m *member) outOfRange(partition int32) {
	to := sarama.OffsetOldest
	switch m.conn.config.OutOfRange {
	case "error":
		m.die(errOutOfRange(m.request.Topic, partition))
		return
	case "newest":
		to = sarama.OffsetNewest
	}
	offsets, err := m.conn.offsets(m.request.Topic, []int32{partition}, to)
	if err == nil {
		m.mu.Lock()
		r := m.conn.commitRequest(m.session.group, m.session.member)
		m.mu.Unlock()
		r.AddBlockWithLeaderEpoch(m.request.Topic, partition, offsets[partition], -1, 0, "")
		_, err = m.conn.commit(r)
	}
	m.conn.config.Logger.Warn("waybill: what the group has committed is no longer there; going on as out-of-range says",
		"topic", m.request.Topic, "partition", partition, "group", m.session.group, "policy", m.conn.config.OutOfRange, "offset", offsets[partition], "error", err)
}

func errOutOfRange(topic string, partition int32) error {
	return errorf(driver.CodeNotFound, "the offset that the group has committed of %s/%d is no longer there: messages were deleted before they were handled, or the topic was made anew; "+
		"say what to do with out-of-range=oldest or newest, or reset the group's offsets", topic, partition)
}

// Setup is sarama's: the group has given partitions.
func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	m.session.member = s
	m.mu.Unlock()
	m.once.Do(func() { close(m.joined) })
	return nil
}

// Cleanup is sarama's: all claims have returned.
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim is sarama's: it owns a partition until it returns.
func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, from sarama.ConsumerGroupClaim) error {
	c := newClaim(m.session, from.Topic(), from.Partition())
	m.group.Pause(c.name()) // sarama is not to read it
	c.head = from.InitialOffset()
	if err := m.takeOver(c); err != nil {
		m.die(classify(fmt.Sprintf("kafka: take over %s/%d", c.topic, c.partition), err))
		return nil
	}
	m.adopt(c)
	m.fetcher.follow(c, c.base())
	for open := true; open; {
		select {
		case _, open = <-from.Messages(): // none comes; it is closed where the claim ends
		case <-s.Context().Done():
			open = false
		case <-c.failed: // what is committed of it from now on is where it goes on
			m.outOfRange(c.partition)
			open = false
		}
	}
	grace := m.conn.config.Grace
	cause := context.Cause(s.Context())
	if voids(cause) {
		grace = 0
	}
	if errors.Is(cause, context.Canceled) {
		cause = nil
	}
	c.revoke(grace, classify("kafka: partition revoked", cause))
	return nil
}

// voids says whether a member whose session ended for that reason owns nothing any more.
func voids(cause error) bool {
	switch {
	case cause == nil, errors.Is(cause, context.Canceled), errors.Is(cause, sarama.ErrRebalanceInProgress),
		errors.Is(cause, sarama.ErrSessionPartitionCountChanged), errors.Is(cause, sarama.ErrSessionConsumeClaimExited):
		return false
	default:
		return true
	}
}

// takeOver reads what the last owner noted beside its commit. An owner that did not
// leave counts as one more attempt of the message that it had longest, so that one
// which kills its readers reaches its limit; that is committed before it is given.
func (m *member) takeOver(c *claim) error {
	committed, err := m.conn.committed(m.session.group, c.topic, []int32{c.partition})
	if err != nil {
		return err
	}
	at := committed[c.partition]
	n, ours, err := readNote(at.metadata)
	if c.head < 0 {
		oldest, err := m.conn.offsets(c.topic, []int32{c.partition}, c.head)
		if err != nil {
			return err
		}
		c.head = oldest[c.partition]
	}
	switch {
	case err != nil, ours && n.base != at.offset:
		m.conn.config.Logger.Warn("waybill: what the last commit noted cannot be read; messages that were done may come again",
			"topic", c.topic, "partition", c.partition, "group", m.session.group)
	case ours && n.base == c.head:
		c.adopt(c, &n)
		if n.open && c.first != nil {
			c.first.attempts++
		}
	}
	c.version++
	m.mu.Lock()
	r := m.conn.commitRequest(m.session.group, m.session.member)
	opened := c.note(true)
	r.AddBlockWithLeaderEpoch(c.topic, c.partition, opened.base, -1, 0, opened.encode(m.metadata))
	m.mu.Unlock()
	failed, err := m.conn.commit(r)
	if err == nil && failed[c.topic][c.partition] == sarama.ErrNoError {
		c.committed = c.version
	} // else it goes with the next
	return nil
}

// broadcast reads all partitions from now on.
func (s *session) broadcast(ctx context.Context) error {
	client, err := sarama.NewClient(s.conn.config.Brokers, s.conn.config.forGroup())
	if err != nil {
		return classify("kafka: read "+s.request.Topic, err)
	}
	b := &broadcast{session: s, client: client, fetcher: newFetcher(s, client), stop: make(chan struct{}), grown: make(chan struct{})}
	following := s.conn.settled(ctx, func() error { return b.follow(sarama.OffsetNewest) })
	go func() {
		defer close(b.grown)
		if following == nil {
			b.grow()
		}
	}()
	if err := s.begun(ctx, b.close); err != nil {
		return err
	}
	if following != nil {
		_ = s.Close(ctx)
	}
	return classify("kafka: read "+s.request.Topic, following)
}

// A broadcast is a session that reads all partitions, without a group.
type broadcast struct {
	*session
	client  sarama.Client
	fetcher *fetcher
	stop    chan struct{}
	grown   chan struct{} // closed when nothing is added any more
	all     sync.WaitGroup
	known   int // partitions
}

// follow reads the partitions that it does not read yet.
func (b *broadcast) follow(from int64) error {
	partitions, err := b.client.Partitions(b.request.Topic)
	if err != nil {
		return err
	}
	added := partitions[min(b.known, len(partitions)):]
	begin, err := b.conn.offsets(b.request.Topic, added, from)
	if err != nil {
		return err
	}
	for _, p := range added {
		b.known++
		c := newClaim(b.session, b.request.Topic, p)
		c.head = begin[p]
		b.adopt(c)
		b.fetcher.follow(c, c.head)
		b.all.Go(func() {
			select {
			case <-c.failed:
				b.die(errOutOfRange(b.request.Topic, p))
			case <-b.stop:
			}
		})
	}
	return nil
}

// grow looks for partitions that were added: they are read from their beginning.
func (b *broadcast) grow() {
	ticker := time.NewTicker(b.client.Config().Metadata.RefreshFrequency)
	defer ticker.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-ticker.C:
		}
		if err := b.follow(sarama.OffsetOldest); err != nil {
			b.conn.config.Logger.Warn("waybill: partitions that were added cannot be read yet", "topic", b.request.Topic, "error", err)
		}
	}
}

func (b *broadcast) close(context.Context) error {
	close(b.stop)
	<-b.grown
	b.fetcher.close()
	b.all.Wait()
	return b.client.Close()
}
