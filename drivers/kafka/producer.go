package kafka

import (
	"context"
	"sync"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// topic publishes with an idempotent producer of its own. Each partition has a track,
// which has one batch under way at a time and sends it again, with the same sequence numbers,
// until the broker has said what became of it: so nothing passes it, and the broker
// keeps it once. What several tracks have for the same leader goes in one request.
// sarama's AsyncProducer gives up after a while, and what comes later
// then passes what it gave up.
type topic struct {
	driver.Life
	conn *conn
	name string
	wire wire
	work sync.WaitGroup // goroutines of leaders, and of tracks that mend
	over chan struct{}  // closed when it is dead, and all has its fate

	naming   sync.Mutex // held by who gives the producer an identity
	producer identity   // read with either lock, written with both

	mu      sync.Mutex
	tracks  []*track // by partition; nil where none was needed
	leaders map[int32]*leader
	turn    int           // of keyless messages
	pending int           // messages without a fate
	drained chan struct{} // closed when closing and none is left
	closing bool
	dead    bool // no goroutine begins any more
}

func newTopic(ctx context.Context, c *conn, name string) (*topic, error) {
	w, err := openWire(&c.config)
	if err != nil {
		return nil, err
	}
	return newTopicOn(ctx, c, name, w)
}

// newTopicOn makes a topic on a wire, which it owns.
func newTopicOn(ctx context.Context, c *conn, name string, w wire) (*topic, error) {
	t := &topic{
		Life: driver.NewLife(&c.Life), conn: c, name: name, wire: w,
		over: make(chan struct{}), drained: make(chan struct{}), leaders: map[int32]*leader{},
	}
	identify := func() (err error) {
		t.producer, err = w.identify()
		return err
	}
	if err := c.settled(ctx, identify); err != nil {
		t.End(err)
		_ = w.close()
		return nil, err
	}
	go t.bury()
	return t, nil
}

// bury waits for the topic's death, and gives all that is left its fate.
func (t *topic) bury() {
	defer close(t.over)
	<-t.Done()
	t.mu.Lock()
	t.dead = true
	t.mu.Unlock()
	t.work.Wait()
	for _, l := range t.tracks {
		if l != nil {
			l.bury(t.Err())
		}
	}
}

func (t *topic) Send(_ context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
	parcels := make([]parcel, len(batch))
	for i := range batch {
		parcels[i].pack(&batch[i], i, fate)
	}
	t.post(parcels)
}

// post puts parcels on their ways. Each gets its fate.
func (t *topic) post(parcels []parcel) {
	n, err := t.partitions()
	if err == nil {
		t.mu.Lock()
		if err = t.Err(); t.closing && err == nil {
			err = errClosed
		}
		if err == nil {
			t.pending += len(parcels)
			for i := range parcels {
				p := &parcels[i]
				t.track(t.partition(p, n)).put(p)
			}
		}
		t.mu.Unlock()
	}
	if err != nil {
		for i := range parcels {
			parcels[i].fate(parcels[i].index, driver.Aborted, err)
		}
	}
}

// partition is where a parcel goes, of n. Those without a key stay on one partition until
// that is sending, or has a batch: so few large batches are made of them.
func (t *topic) partition(p *parcel, n int) int32 {
	if p.fixed {
		return p.to
	}
	if key := p.key(); key != "" {
		return partitionOf(key, n)
	}
	for i := range min(n, keylessTries) {
		at := (t.turn + i) % n
		l := t.track(int32(at)) //nolint:gosec // less than n
		if l.state < flying && l.bytes < worth {
			t.turn = at
			break
		}
	}
	return int32(t.turn % n) //nolint:gosec // less than n
}

// keylessTries is how many partitions are looked at for one that has nothing under way.
const keylessTries = 16

// track finds a partition's track.
func (t *topic) track(partition int32) *track {
	if n := int(partition) + 1 - len(t.tracks); n > 0 {
		t.tracks = append(t.tracks, make([]*track, n)...)
	}
	l := t.tracks[partition]
	if l == nil {
		l = &track{topic: t, partition: partition, producer: t.producer}
		t.tracks[partition] = l
	}
	return l
}

// tell tells the fate of parcels, without the lock.
func (t *topic) tell(list []*parcel, f driver.Fate, err error) {
	for _, p := range list {
		p.fate(p.index, f, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending -= len(list)
	t.drains()
}

func (t *topic) drains() {
	if t.closing && t.pending == 0 {
		select {
		case <-t.drained:
		default:
			close(t.drained)
		}
	}
}

func (t *topic) partitions() (int, error) {
	if err := t.Err(); err != nil {
		return 0, err
	}
	n, err := t.wire.partitions(t.name)
	return n, classify("kafka: partitions of "+t.name, err)
}

func (t *topic) Close(ctx context.Context) error {
	t.conn.forgetTopic(t)
	t.mu.Lock()
	t.closing = true
	t.drains()
	t.mu.Unlock()
	select {
	case <-t.drained:
	case <-t.Done():
	case <-ctx.Done():
	}
	return t.end(errClosed)
}

// end ends the topic. What has no fate gets one.
func (t *topic) end(why error) error {
	t.End(why)
	err := t.wire.close() // cuts off what is waited for
	<-t.over
	return classify("kafka: close topic "+t.name, err)
}
