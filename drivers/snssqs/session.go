package snssqs

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// session reads one queue.
type session struct {
	*driver.Shelf
	conn    *conn
	request driver.SubscribeRequest
	plan    *plan
	queue   queue
	lease   time.Duration
	letters *sender         // to the dead letter; nil if there is none
	temp    *temporary      // of a broadcast; else nil
	ctx     context.Context //nolint:containedctx // of its polls
	stop    context.CancelFunc
	polling sync.WaitGroup
	closing sync.Once

	// visibility keeps an extension from undoing a settlement that sets the same.
	visibility sync.Mutex

	mu        sync.Mutex
	ending    bool // no poll begins any more
	polls     int  // that run
	reserved  int  // of the credit, for them
	want      int  // polls and deletions at a time, while there is more
	full      int  // full polls since want grew
	deletions int  // requests that run, or are about to
	tags      uint64
	out       map[uint64]*receipt // not settled, by tag
	swept     time.Time           // of what is leased no longer
	unheard   []string            // FIFO: names of polls whose answers were lost
}

// A receipt is the Token of a delivery.
type receipt struct {
	tag      uint64
	handle   string
	id       string
	message  *types.Message
	attempt  int // that runs, or ran last
	since    time.Time
	deadline time.Time
}

func (c *conn) Subscribe(ctx context.Context, r driver.SubscribeRequest) (driver.Session, error) {
	p, err := c.plan(ctx, &r)
	if err != nil {
		return nil, err
	}
	s := &session{conn: c, request: r, plan: p, queue: p.queue, lease: defaultLease, want: 1, out: map[uint64]*receipt{}}
	if r.Lease > 0 {
		s.lease = min(time.Duration(seconds(r.Lease))*time.Second, longestHold)
	}
	if p.dead.name != "" {
		s.letters = c.newSender(&plan{queue: p.dead, limit: c.config.MessageBytes})
	}
	if r.Broadcast() {
		if s.temp, err = c.broadcast(ctx, p, &r); err != nil {
			return nil, err
		}
		s.queue = s.temp.queue
	}
	s.Shelf = driver.NewShelf(&c.Life, s.poll)
	s.ctx, s.stop = context.WithCancel(s.Context())
	return s, nil
}

// Quiesce lets the polls that run finish, for as long as they are given and within ctx.
// What they bring is given.
func (s *session) Quiesce(ctx context.Context) error {
	s.finishPolls(ctx)
	return s.Shelf.Quiesce(ctx)
}

// finishPolls cuts the polls that do not come back in time. A broadcast's are not waited
// for: nobody else reads the queue, which goes with it.
func (s *session) finishPolls(ctx context.Context) {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	grace := s.conn.config.PollGrace
	if s.temp != nil {
		grace = 0
	}
	defer time.AfterFunc(grace, s.stop).Stop()
	defer context.AfterFunc(ctx, s.stop)()
	s.polling.Wait()
}

// Close returns what is not settled. What was given counts as an attempt.
func (s *session) Close(ctx context.Context) (err error) {
	s.closing.Do(func() { err = s.close(ctx) })
	return err
}

func (s *session) close(ctx context.Context) error {
	s.finishPolls(ctx)
	for _, d := range s.Clear() {
		s.conn.counts.Add(d.Token.(*receipt).id, -1)
	}
	s.End(errClosed)
	if s.letters != nil {
		s.letters.Stop(errClosed)
	}
	if s.temp != nil {
		return s.temp.close(ctx)
	}
	var back []change
	s.mu.Lock()
	s.sweep(time.Now())
	for _, r := range s.out {
		back = append(back, change{receipt: r})
	}
	s.mu.Unlock()
	s.changeVisibility(ctx, back)
	return nil
}

// sweep forgets receipts of what is leased no longer. It is called with the lock.
func (s *session) sweep(now time.Time) {
	maps.DeleteFunc(s.out, func(_ uint64, r *receipt) bool { return !now.Before(r.deadline) })
	s.swept = now
}
