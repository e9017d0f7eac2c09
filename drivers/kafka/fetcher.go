package kafka

import (
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A fetcher reads a session's claims from the brokers that lead them, one request a
// broker at a time, over connections of its own: a broker that waits for messages
// answers nothing else meanwhile. What it has read waits in the claims; one that is
// full is left out until there is room again. The session's mutex guards it.
type fetcher struct {
	session *session
	client  sarama.Client   // knows who leads
	lines   map[int32]*line // by the broker's number
	stop    chan struct{}   // closed at the end
	stopped bool
	all     sync.WaitGroup
}

func newFetcher(s *session, client sarama.Client) *fetcher {
	return &fetcher{
		session: s, client: client,
		lines: map[int32]*line{}, stop: make(chan struct{}),
	}
}

// A line fetches from one broker until that fails.
type line struct {
	*fetcher
	number int32
	pipe   *pipe
	wake   driver.Wake
	claims []*claim
	dead   bool
	idle   time.Duration // how long the broker may wait while a claim is full
}

// A place is where a claim is read.
type place struct {
	line     *line // nil while that is looked for
	from     int64 // the offset to fetch
	due      int64 // the offset to look at next
	epoch    int32
	size     int32 // bytes to fetch; zero: the usual
	alone    bool  // nothing came where something should be: ask again for it alone
	replica  int32 // of the same rack, that the leader sent us to; negative: none
	replicas time.Time
}

// The broker may wait this long at first while a claim is full: what would fill the others
// comes soon, or there is room in that one soon.
const idleFirst = time.Millisecond

// fetchPause is before a broker is asked again for what failed.
const fetchPause = 250 * time.Millisecond

// follow reads a claim from an offset on.
func (f *fetcher) follow(c *claim, from int64) {
	f.session.mu.Lock()
	defer f.session.mu.Unlock()
	c.from, c.due, c.replica = from, from, -1
	f.seek(c, false)
}

// seek looks for the broker to read a claim from, after a pause or at once. It is called
// with the lock.
func (f *fetcher) seek(c *claim, pause bool) {
	c.line = nil
	if !f.stopped && !c.ending {
		f.all.Go(func() { f.find(c, pause) })
	}
}

// find puts a claim on the line of the broker that has it.
func (f *fetcher) find(c *claim, pause bool) {
	for {
		if pause {
			timer := time.NewTimer(fetchPause)
			select {
			case <-timer.C:
			case <-f.stop:
				timer.Stop()
				return
			}
			_ = f.client.RefreshMetadata(c.topic)
		}
		broker, epoch, err := f.broker(c)
		if err == nil {
			f.attach(c, broker, epoch)
			return
		}
		f.session.conn.config.Logger.Debug("waybill: kafka partition cannot be read yet", "topic", c.topic, "partition", c.partition, "error", err)
		pause = true
	}
}

// broker says who has a claim: the replica that its leader named, or the leader.
func (f *fetcher) broker(c *claim) (*sarama.Broker, int32, error) {
	f.session.mu.Lock()
	if c.replica >= 0 && time.Now().After(c.replicas) {
		c.replica = -1
	}
	replica, epoch := c.replica, c.epoch
	f.session.mu.Unlock()
	if replica >= 0 {
		if b, err := f.client.Broker(replica); err == nil {
			return b, epoch, nil
		}
	}
	return f.client.LeaderAndEpoch(c.topic, c.partition)
}

func (f *fetcher) attach(c *claim, broker *sarama.Broker, epoch int32) {
	f.session.mu.Lock()
	defer f.session.mu.Unlock()
	if f.stopped || c.ending {
		return
	}
	l := f.lines[broker.ID()]
	if l == nil || l.dead || l.pipe.broker.Addr() != broker.Addr() {
		config := &f.session.conn.config
		l = &line{fetcher: f, number: broker.ID(), pipe: newPipe(config, broker.Addr(), config.MaxWait+config.Timeout), wake: driver.NewWake(), idle: idleFirst}
		f.lines[broker.ID()] = l
		f.all.Go(l.run)
	}
	l.claims = append(l.claims, c)
	c.line, c.epoch = l, epoch
	l.wake.Poke()
}

// run fetches until the broker fails or the fetcher ends.
func (l *line) run() {
	defer l.pipe.close()
	err := l.pipe.open()
	for err == nil {
		select {
		case <-l.stop: // perhaps before it was open: then nobody cuts a fetch off
			return
		default:
		}
		request := l.ask()
		if request == nil {
			select {
			case <-l.wake:
				continue
			case <-l.stop:
				return
			}
		}
		err = l.fetch(request)
	}
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	if l.dead = true; l.stopped {
		return
	}
	l.session.conn.config.Logger.Debug("waybill: kafka broker cannot be read", "broker", l.pipe.broker.Addr(), "error", err)
	for _, c := range l.claims {
		c.replica = -1
		l.seek(c, true)
	}
	l.claims = nil
}

// ask makes the next request, for the claims that have room; nil if none needs it.
func (l *line) ask() *fetch {
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	config := &l.session.conn.config
	var asked []*claim
	full, low := false, false
	kept := l.claims[:0]
	for _, c := range l.claims {
		if c.ending || c.line != l {
			continue
		}
		kept = append(kept, c)
		low = low || c.low()
		switch {
		case !c.roomy():
			full = true
		case c.alone:
			asked = append(asked[:0], c)
		case len(asked) == 0 || !asked[0].alone:
			asked = append(asked, c)
		}
	}
	clear(l.claims[len(kept):])
	if l.claims = kept; !low {
		return nil
	}
	patience := config.MaxWait
	if full {
		patience = min(l.idle, patience)
		l.idle = min(2*l.idle, config.MaxWait)
	}
	request := &fetch{topic: l.session.request.Topic, wait: patience, committed: config.ReadCommitted, rack: config.Rack}
	usual := l.session.share()
	for _, c := range asked {
		request.asked = append(request.asked, want{c, c.from, c.epoch, max(c.size, usual)})
	}
	return request
}

// fetch asks the broker, and hands out what comes.
func (l *line) fetch(request *fetch) error {
	claims := make(map[int32]want, len(request.asked))
	for _, w := range request.asked {
		claims[w.partition] = w
	}
	frame, err := l.pipe.ask(request)
	if err != nil {
		return err
	}
	room := func(partition int32, n int) []byte {
		w, ok := claims[partition]
		if !ok {
			return make([]byte, n)
		}
		l.session.mu.Lock()
		defer l.session.mu.Unlock()
		return w.room(n)
	}
	err = frame.each(request, room, func(a *answer) {
		if w, ok := claims[a.partition]; ok {
			delete(claims, a.partition)
			l.take(request, w, a)
		}
	})
	if err != nil {
		return err
	}
	for _, w := range claims {
		l.take(request, w, &answer{partition: w.partition, err: sarama.ErrIncompleteResponse, replica: -1})
	}
	l.pause(frame.throttle)
	return nil
}

// pause waits for as long as the broker asks for, which is over its quota.
func (l *line) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.stop:
	}
}

// take hands out what came of one claim.
func (l *line) take(request *fetch, w want, a *answer) {
	var h *haul
	next, err := w.from, a.err
	if err == nil {
		h, next, err = request.read(a, w.from)
	}
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	l.give(w, a, h, next, err)
}

// give puts what was found into its claim. It is called with the lock.
func (l *line) give(w want, a *answer, h *haul, next int64, err error) {
	c := w.claim
	if c.ending || c.line != l || c.from != w.from {
		return
	}
	switch {
	case errors.Is(err, sarama.ErrOffsetOutOfRange) && c.replica < 0:
		c.line = nil
		c.fail(err)
	case errors.Is(err, errCutShort):
		c.size = min(2*max(c.size, l.session.share()), sarama.MaxResponseSize)
	case err != nil:
		if errors.Is(err, errCorrupt) {
			l.session.conn.config.Logger.Warn("waybill: what a kafka broker has of a partition cannot be read, trying again",
				"topic", c.topic, "partition", c.partition, "from", w.from, "error", err)
		}
		c.replica = -1
		l.seek(c, true)
	case next > w.from:
		c.from, c.size, c.alone = next, 0, false
		l.idle = idleFirst
		c.add(h)
	case next < a.end:
		// Batches without a record in them stay where a log is compacted.
		if c.alone {
			c.from++
		}
		c.alone = !c.alone
	case len(c.pending) == 0:
		c.spare = nil // it may be a while
	}
	if (err == nil || errors.Is(err, errCutShort)) && c.line == l && a.replica >= 0 && a.replica != l.number {
		c.replica, c.replicas = a.replica, time.Now().Add(replicaFor)
		l.seek(c, false)
	}
}

// replicaFor is how long a replica is read before its leader is asked again.
const replicaFor = time.Minute

// close ends all reading.
func (f *fetcher) close() {
	f.session.mu.Lock()
	f.stopped = true
	close(f.stop)
	lines := make([]*line, 0, len(f.lines))
	for _, l := range f.lines {
		lines = append(lines, l)
	}
	f.session.mu.Unlock()
	for _, l := range lines {
		l.pipe.close() // a fetch that waits ends
	}
	f.all.Wait()
}

// What a session reads ahead of its credit, in bytes, and what it asks of one partition
// at least.
const (
	aheadBytes = 16 << 20
	leastFetch = 64 << 10
)

// share is how much is fetched of one claim at a time. It may have twice as much.
func (s *session) share() int32 {
	return int32(min(s.conn.config.FetchBytes, max(aheadBytes/2/max(len(s.claims), 1), leastFetch))) //nolint:gosec // was checked
}

// roomy says whether more of a claim may be fetched.
func (c *claim) roomy() bool {
	return c.pendingBytes < int(c.session.share())
}

// low says whether more of a claim should be fetched: then all that are roomy are asked
// for, since requests are dear.
func (c *claim) low() bool {
	return c.pendingBytes < int(c.session.share())/2
}
