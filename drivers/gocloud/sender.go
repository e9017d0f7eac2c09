package gocloud

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// sendBatch is how many messages one Send takes, and underWay how many are with
// gocloud.dev at a time: it makes batches of what is sent at once, each from a goroutine.
const (
	sendBatch = 100
	underWay  = 512
)

// sender sends to one topic.
type sender struct {
	*driver.Requests
	conn  *conn
	place place
	to    *cloud.Topic
	marks string
	sent  atomic.Uint64 // messages, ever

	mu  sync.Mutex
	now int // messages under way
}

func newSender(c *conn, p place, to *cloud.Topic) *sender {
	return &sender{Requests: driver.NewRequests(&c.Life, underWay), conn: c, place: p, to: to, marks: rand.Text()[:16] + "-"}
}

// Send gives each message to gocloud.dev from a goroutine, those of a key from one,
// after each other.
func (s *sender) Send(ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
	var lines [][]int
	byKey := map[string]int{}
	for i := range batch {
		key := batch[i].Key
		if at, known := byKey[key]; known && key != "" {
			lines[at] = append(lines[at], i)
			continue
		}
		byKey[key] = len(lines)
		lines = append(lines, []int{i})
	}
	for _, line := range lines {
		if err := s.Go(ctx, func() { s.sendLine(batch, line, fate) }, func() {}); err != nil {
			for _, i := range line {
				fate(i, driver.Aborted, err)
			}
		}
	}
}

func (s *sender) sendLine(batch []driver.Message, line []int, fate func(int, driver.Fate, error)) {
	for at, i := range line {
		f, err := s.sendOne(&batch[i])
		fate(i, f, err)
		if f == driver.Stored {
			continue
		}
		for _, later := range line[at+1:] {
			fate(later, driver.Aborted, fmt.Errorf("an earlier message of its key: %w", err))
		}
		return
	}
}

// sendOne sends a message. gocloud.dev tells one error to all messages of a batch, so
// only one that was alone can be refused; the engine sends the others again, in smaller
// batches.
func (s *sender) sendOne(m *driver.Message) (driver.Fate, error) {
	number := s.sent.Add(1)
	s.mu.Lock()
	s.now++
	alone := s.now == 1
	s.mu.Unlock()
	err := s.to.Send(s.Context(), outgoing(m, s.conn.config.KeyMetadata, s.marks+strconv.FormatUint(number, 36)))
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	if err == nil {
		return driver.Stored, nil
	}
	err = fail(s.place.String(), err)
	switch code := driver.CodeOf(err); {
	case code == driver.CodeCanceled:
		return driver.Unknown, err
	case code.Heals():
		if discard(s.conn, s.conn.topics, s.place, s.to) {
			s.conn.watching.Go(func() { _ = s.to.Shutdown(s.conn.Context()) }) // it has failed already
		}
		s.End(err)
		return driver.Unknown, err
	case alone && s.sent.Load() == number:
		return driver.Refused, err
	default:
		return driver.Unknown, err
	}
}

// Close ends the sends; the topic itself is the connection's.
func (s *sender) Close(context.Context) error {
	s.Stop(errClosed)
	return nil
}
