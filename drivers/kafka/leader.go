package kafka

import (
	"runtime"
	"slices"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A leader is a broker that leads partitions, and the one goroutine that sends to it. A
// request takes what waits for any of them. While one is under way, what comes meanwhile
// waits for its answer, unless it is much: so publishers that wait for each message
// share a request, and one that does not wait keeps the broker busy.
type leader struct {
	topic   *topic
	node    int32
	wake    driver.Wake
	answers chan []*batch // of one request each

	// The topic's mutex guards these.
	ready    []*track // in turn
	bytes    int      // of what they have to send
	underway int      // requests without an answer
}

const (
	// A broker has at most this many requests.
	flights = 4
	// As many bytes are worth a request while others are under way.
	worth = 128 << 10
	// A request has no more than this, unless one batch has.
	requestBytes = 4 << 20
)

// leads finds a broker, and begins it at the first need. It is called with the lock, and
// not of a dead topic.
func (t *topic) leads(node int32) *leader {
	b := t.leaders[node]
	if b == nil {
		b = &leader{topic: t, node: node, wake: driver.NewWake(), answers: make(chan []*batch, flights)}
		t.leaders[node] = b
		t.work.Go(b.run)
	}
	return b
}

// due says whether there is something to send now. It is called with the lock.
func (b *leader) due() bool {
	return len(b.ready) > 0 && (b.underway == 0 || b.underway < flights && b.bytes >= worth)
}

// add counts bytes of a track that is ready. It is called with the lock.
func (b *leader) add(bytes int) {
	b.bytes += bytes
	if b.due() {
		b.wake.Poke()
	}
}

// run sends until the topic is dead, and then waits for what is under way.
func (b *leader) run() {
	t := b.topic
	for t.Err() == nil {
		select {
		case batches := <-b.answers:
			b.settle(batches)
		case <-b.wake:
		case <-t.Done():
			continue
		}
		runtime.Gosched() // who was woken by a fate, or with the one that woke this, gets into the request
		for batches := b.load(); batches != nil; batches = b.load() {
			t.wire.produce(b.node, batches, func() { b.answers <- batches })
		}
	}
	for b.busy() {
		b.settle(<-b.answers)
	}
}

// busy says whether a request is under way.
func (b *leader) busy() bool {
	b.topic.mu.Lock()
	defer b.topic.mu.Unlock()
	return b.underway > 0
}

// load takes what is ready for a request; nil if nothing is due.
func (b *leader) load() (batches []*batch) {
	b.topic.mu.Lock()
	defer b.topic.mu.Unlock()
	if !b.due() {
		return nil
	}
	bytes := 0
	for _, l := range b.ready {
		x := l.next()
		if bytes += x.bytes; bytes > requestBytes && len(batches) > 0 {
			break
		}
		l.state = flying
		b.bytes -= l.bytes
		batches = append(batches, x)
	}
	b.ready = slices.Delete(b.ready, 0, len(batches))
	b.underway++
	return batches
}

// settle acts on an answer. Only then may the next request go: those who hear of their
// messages here have the next ones in it.
func (b *leader) settle(batches []*batch) {
	for _, x := range batches {
		x.track.settle(x)
	}
	b.topic.mu.Lock()
	defer b.topic.mu.Unlock()
	b.underway--
}
