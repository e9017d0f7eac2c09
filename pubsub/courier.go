package pubsub

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// courier is the one goroutine of a batcher: it sends what is queued, in batches,
// and mends what went wrong.
type courier struct {
	*batcher
	size    int       // of the next batch; zero: as much as the driver takes
	rounds  int       // of trouble in a row without any progress
	returns int       // the most that a message has which came back
	lingers time.Time // until when a batch waits for company; zero: none does
	trouble trouble   // of reopening
	timer   *time.Timer
}

// start begins the courier at the first need. It is called with the lock.
func (b *batcher) start() {
	if b.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.done = stop, make(chan struct{})
	go func() {
		defer close(b.done)
		(&courier{batcher: b}).run(ctx)
	}()
}

func (c *courier) run(ctx context.Context) {
	for ctx.Err() == nil {
		c.mu.Lock()
		switch {
		case len(c.back) > 0 && c.inflight == 0:
			c.rejoin()
			c.mu.Unlock()
			c.mend(ctx)
		case !c.due():
			c.mu.Unlock()
			c.await(ctx, 0)
		default:
			if d := c.linger(); d > 0 {
				c.mu.Unlock()
				c.await(ctx, d)
			} else {
				c.ship(ctx)
			}
		}
	}
}

// await waits until something changed, or for d unless that is zero.
func (c *courier) await(ctx context.Context, d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		if c.timer == nil {
			c.timer = time.NewTimer(d)
		} else {
			c.timer.Reset(d)
		}
		defer c.timer.Stop()
		timeout = c.timer.C
	}
	select {
	case <-c.wake:
		runtime.Gosched() // who was woken with the one that woke this gets into the batch
	case <-timeout:
	case <-ctx.Done():
	}
}

// linger is how long the next batch waits for company: while others are under
// way, and it is not full.
func (c *courier) linger() time.Duration {
	if c.batch.Linger <= 0 || c.inflight == 0 || c.closed || c.full() {
		return 0
	}
	if c.lingers.IsZero() {
		c.lingers = time.Now().Add(c.batch.Linger)
	}
	return time.Until(c.lingers)
}

// full says whether the queue fills a batch.
func (c *courier) full() bool {
	limit := c.most()
	if limit > 0 && len(c.queue) >= limit {
		return true
	}
	return c.batch.Bytes > 0 && c.queueBytes >= c.batch.Bytes
}

// most is how many messages the next batch takes; zero: no limit.
func (c *courier) most() int {
	if c.size > 0 {
		return c.size
	}
	return c.batch.Messages
}

// takes is most, less what the window has no room for.
func (c *courier) takes() int {
	if c.window > 0 {
		return min(c.most(), c.window-c.inflight)
	}
	return c.most()
}

// ship sends one batch. It is called with the lock and gives it back.
func (c *courier) ship(ctx context.Context) {
	c.lingers = time.Time{}
	s, expired := c.take()
	incarnation := c.incarnation
	c.sending = true
	c.mu.Unlock()

	c.finish(expired...)
	if len(s.items) > 0 {
		incarnation.Send(ctx, s.messages, s.told)
	}
	c.mu.Lock()
	c.sending = false
	if c.progress {
		c.grow()
	}
	s.arrive()
	c.mu.Unlock()
}

// take fills a shipment from the queue. Messages whose contexts have ended are
// returned, to be told.
func (c *courier) take() (s *shipment, expired []*outgoing) {
	s = newShipment(c.batcher)
	most := c.takes()
	if c.keyed {
		most = 1 // who leads its line
	}
	n, expired := c.load(s, c.queue, most)
	for _, o := range c.queue[:n] {
		c.queueBytes -= o.size
	}
	c.queue = cut(c.queue, n)
	if c.keyed && len(s.items) > 0 {
		expired = append(expired, c.takeLine(s)...)
	}
	for _, o := range s.items {
		o.company = len(s.items)
	}
	s.left = len(s.items) + 1
	return s, expired
}

// takeLine adds to a message those that wait behind it in its line.
func (c *courier) takeLine(s *shipment) (expired []*outgoing) {
	key := s.items[0].message[0].Key
	l := c.lineOf(key)
	n, expired := c.load(s, l.waiting, c.takes())
	l.waiting = cut(l.waiting, n)
	for _, o := range s.items[1:] {
		o.slotted = true
		l.slots++
	}
	if key == "" { // what has no key need not wait until these are finished
		for _, o := range s.items {
			c.leaveLine(o)
		}
	}
	return expired
}

// load puts into a shipment what it has room for, and says how far in the list that was.
// Messages whose contexts have ended are returned.
func (c *courier) load(s *shipment, list []*outgoing, most int) (n int, expired []*outgoing) {
	for _, o := range list {
		if o.place == queued && o.ctx.Err() != nil {
			expired = append(expired, o)
			expired = append(expired, c.fail(o, c.canceled(o.ctx))...)
		}
		if o.place == queued {
			if o.most > 0 && (s.most == 0 || o.most < s.most) {
				s.most = o.most
			}
			full := len(s.items) == most || s.most > 0 && len(s.items) >= s.most
			if len(s.items) > 0 && (full || c.batch.Bytes > 0 && s.bytes+o.size > c.batch.Bytes) {
				break
			}
			s.bytes += o.size
			c.depart(o)
			s.items = append(s.items, o)
			s.messages = append(s.messages, o.message[0])
		} else {
			c.stale--
		}
		n++
	}
	return n, expired
}

// cut takes the first n off a list.
func cut(list []*outgoing, n int) []*outgoing {
	taken := list[:n]
	clear(taken)
	if n == len(list) {
		return taken[:0]
	}
	return list[n:]
}

// rejoin puts what came back in front of the queue, in its old order.
func (c *courier) rejoin() {
	slices.SortFunc(c.back, func(a, b *outgoing) int { return cmp.Compare(a.seq, b.seq) })
	live := c.back[:0]
	for _, o := range c.back {
		if o.place == finished {
			c.stale--
		} else {
			live = append(live, o)
		}
	}
	// Where one batch failed as a whole, smaller ones find the message at fault: of all
	// messages, or of these alone where others were stored meanwhile.
	c.returns = 0
	if !c.progress {
		c.size = max(1, min(len(live), c.mostOr(len(live)))/2)
		c.rounds++
	} else {
		c.rounds = 0
		for _, o := range live {
			o.most = max(1, o.company/2)
			o.returns++
			c.returns = max(c.returns, o.returns)
		}
	}
	c.progress = false
	for _, o := range c.queue {
		c.watch(o)
	}
	if c.keyed {
		c.lineUpAgain(live)
	} else {
		for _, o := range live {
			c.queueBytes += o.size
		}
		c.queue = append(slices.Clone(live), c.queue...)
	}
	clear(c.back)
	c.back = c.back[:0]
}

func (c *courier) mostOr(n int) int {
	if m := c.most(); m > 0 {
		return m
	}
	return n
}

// grow makes batches larger again after trouble.
func (c *courier) grow() {
	c.rounds = 0
	if c.size == 0 {
		return
	}
	if c.size *= 2; c.size >= c.batch.Messages {
		c.size = 0
	}
}

// divisions are enough to come from the largest batch to a message alone.
const divisions = 10

// mend waits until sending again makes sense, and opens the topic again where it
// is dead. The first time after a success there is no reason to wait, unless the
// message at fault was alone, nor while batches are divided to find it.
func (c *courier) mend(ctx context.Context) {
	c.mu.Lock()
	incarnation := c.incarnation
	c.mu.Unlock()
	dead := false
	select {
	case <-incarnation.Done():
		dead = true
	default:
	}
	switch backoff := c.topic.client.config.backoff; {
	case c.rounds > 1 || c.size == 1 && !dead:
		_ = wait(ctx, backoff.Delay(c.rounds), nil)
	case c.returns > divisions:
		_ = wait(ctx, backoff.Delay(c.returns-divisions), nil)
	}
	if dead {
		c.reopen(ctx, incarnation)
	}
}

// reopen tries until the topic is open, or the error is final.
func (c *courier) reopen(ctx context.Context, dead driver.Topic) {
	_ = dead.Close(ctx) // frees what it may still hold
	config := &c.topic.client.config
	for tries := 1; ctx.Err() == nil; tries++ {
		opened, err := c.open(ctx)
		if err == nil {
			c.trouble = trouble{}
			c.mu.Lock()
			c.incarnation = opened
			c.mu.Unlock()
			return
		}
		if ctx.Err() != nil {
			return
		}
		config.logger.Warn("waybill: topic cannot be opened again", "topic", c.topic.name, "tries", tries, "error", err)
		if errors.Is(err, ErrClosed) || c.trouble.lasts(err) {
			c.mu.Lock()
			over := c.failQueued(err)
			c.mu.Unlock()
			c.finish(over...)
			return
		}
		c.mu.Lock()
		c.last = err
		c.mu.Unlock()
		_ = wait(ctx, config.backoff.Delay(tries), nil)
	}
}

func (c *courier) open(ctx context.Context) (driver.Topic, error) {
	conn, err := c.topic.client.connection.get(ctx)
	if err != nil {
		return nil, err
	}
	return conn.Topic(ctx, c.topic.config.TopicRequest)
}

// A shipment is a batch on its way. The batcher's mutex guards it. It is not used again, but
// its holds are: so a fate that comes late finds that there is none to tell.
type shipment struct {
	batcher *batcher
	*hold
	bytes int // of its messages
	most  int // of messages; zero: no limit but the topic's
	left  int // fates to come, and one for Send's return
}

// A hold is what a shipment carries.
type hold struct {
	messages []driver.Message
	items    []*outgoing // of messages; nil once the fate is told
}

var holds = sync.Pool{New: func() any { return &hold{} }}

func newShipment(b *batcher) *shipment {
	return &shipment{batcher: b, hold: holds.Get().(*hold)} //nolint:forcetypeassert // ours
}

// told is called by the driver, once a message.
func (s *shipment) told(i int, f driver.Fate, err error) {
	b := s.batcher
	b.mu.Lock()
	if s.hold == nil || i < 0 || i >= len(s.items) || s.items[i] == nil {
		b.mu.Unlock()
		b.blame()
		return
	}
	o := s.items[i]
	s.items[i] = nil
	s.arrive()
	b.told(o, f, err)
}

// arrive lets go of the hold when nothing refers to it any more. It is called with the lock.
func (s *shipment) arrive() {
	if s.left--; s.left > 0 {
		return
	}
	clear(s.messages)
	clear(s.items)
	s.messages, s.items = s.messages[:0], s.items[:0]
	holds.Put(s.hold)
	s.hold = nil
}
