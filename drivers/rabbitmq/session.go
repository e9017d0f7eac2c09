package rabbitmq

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A session is a driver.Session: a feed for each queue that it reads. It is dead when
// one of them is: tags are bound to channels.
type session struct {
	*driver.Shelf
	conn      *conn
	request   driver.SubscribeRequest
	feeds     []*feed
	ephemeral string // queue to delete at the end
	pumps     sync.WaitGroup
	closing   sync.Once
	draining  atomic.Bool // intake has ended

	mu       sync.Mutex
	window   int // credit, and what was given and is not settled
	most     int // the largest window
	consumed int // prefetch of all consumers of a feed
}

// Subscribe opens a session. Its consumers start with the first credit.
func (c *conn) Subscribe(ctx context.Context, r driver.SubscribeRequest) (driver.Session, error) {
	l, err := c.layout(&r.TopicRequest)
	if err != nil {
		return nil, err
	}
	s := &session{conn: c, request: r}
	s.Shelf = driver.NewShelf(&c.Life, s.consume)
	names := l.queueNames(&r)
	if r.Broadcast() && l.existing == "" {
		member := r.Member
		if member == "" {
			member = strings.ToLower(rand.Text())
		}
		s.ephemeral = r.Topic + "//x" + member
		names = []string{s.ephemeral}
		if err := c.broadcast(ctx, s.ephemeral, l); err != nil {
			s.abandon()
			return nil, err
		}
	}
	for i, name := range names {
		f := &feed{session: s, queue: name, claim: uint64(i) + 1, exclusive: l.partitions > 0, next: 1}
		f.closed, f.cancelled = make(chan *amqp.Error, 1), make(chan string, 1)
		f.ch, err = c.channel(ctx, c.incoming, func(ch *amqp.Channel) error {
			ch.NotifyClose(f.closed)
			ch.NotifyCancel(f.cancelled)
			return nil
		})
		if err != nil {
			s.abandon()
			return nil, classify("rabbitmq: subscribe", err)
		}
		s.feeds = append(s.feeds, f)
	}
	for _, f := range s.feeds {
		s.pumps.Go(f.watch)
	}
	return s, nil
}

// abandon closes the channels of a session that was not opened.
func (s *session) abandon() {
	s.End(errClosed)
	for _, f := range s.feeds {
		s.conn.calls.Go(func() { _ = f.ch.Close() })
	}
}

// Credit notes how large consumers must be, beside what it does.
func (s *session) Credit(messages, bytes int) {
	s.mu.Lock()
	s.window += messages
	s.most = max(s.most, s.window)
	s.mu.Unlock()
	s.Shelf.Credit(messages, bytes)
}

// Prefetch of a partition is its share of the credit, but at least this.
const leastPrefetch = 32

// consume starts a consumer a feed when there is credit, and another when there is more
// credit than ever: the prefetch of one cannot change.
func (s *session) consume(ctx context.Context) {
	s.mu.Lock()
	want := s.most
	if n := len(s.feeds); n > 1 {
		want = max(min(want, leastPrefetch), (want+n-1)/n)
	}
	more := min(want-s.consumed, 65535)
	if more <= 0 || more < s.consumed/4 || s.draining.Load() || s.Err() != nil {
		s.mu.Unlock()
		return
	}
	s.consumed += more
	s.mu.Unlock()
	for _, f := range s.feeds {
		if err := f.consume(ctx, more); err != nil {
			if ctx.Err() == nil {
				s.End(classify("rabbitmq: consume from queue \""+f.queue+"\"", err))
			}
			return
		}
	}
}

// Extend does nothing: deliveries have no lease.
func (s *session) Extend(context.Context, []*driver.Receipt, time.Duration) {}

// Quiesce ends intake. Consumers of partitions stay: to cancel one would give the
// partition to another member while this one still handles messages of it.
func (s *session) Quiesce(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	s.mu.Lock() // no consumer begins after that
	s.draining.Store(true)
	s.mu.Unlock()
	held := s.Clear()
	for _, f := range s.feeds {
		if !f.exclusive {
			f.cancel(ctx)
		}
	}
	s.conn.incoming.socket.hold()
	defer s.conn.incoming.socket.release()
	for i := range held {
		if f := held[i].Token.(*feed); !f.exclusive { //nolint:forcetypeassert // ours
			f.giveBack(held[i].Tag)
		}
	}
	return nil
}

// Close gives back what is unsettled.
func (s *session) Close(ctx context.Context) error {
	s.closing.Do(func() { s.close(ctx) })
	return nil
}

func (s *session) close(ctx context.Context) {
	alive := s.Quiesce(ctx) == nil
	for _, f := range s.feeds {
		f.close(ctx)
	}
	if s.ephemeral != "" && alive {
		d := &declarer{conn: s.conn, ctx: ctx}
		_ = d.do("queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(s.ephemeral, false, false, false)
			return err
		})
		d.end()
	}
	s.mu.Lock() // likewise
	s.End(errClosed)
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.conn.incoming.cut) // the broker does not answer
	defer stop()
	s.pumps.Wait()
}
