package kafka

import (
	"errors"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A parcel is a message on its way to a partition.
type parcel struct {
	message *driver.Message // the engine's until the fate
	copied  *sarama.Record  // instead of message: of one that was read
	fixed   bool            // to is where it goes, whatever its key
	to      int32
	size    int // in a batch, at most
	index   int
	fate    func(int, driver.Fate, error)
}

// pack makes a parcel of a message.
func (p *parcel) pack(m *driver.Message, index int, fate func(int, driver.Fate, error)) {
	p.message, p.index, p.fate = m, index, fate
	p.size = m.Size() + 32 + 8*(len(m.Headers)+1)
}

// copied makes a parcel of a record that was read.
func copied(m *sarama.ConsumerMessage) parcel {
	r := &sarama.Record{Key: m.Key, Value: m.Value, Headers: m.Headers}
	return parcel{copied: r, size: size(r) + 32 + 8*len(m.Headers)}
}

// key chooses the partition, unless that is fixed.
func (p *parcel) key() string {
	if p.copied != nil {
		return string(p.copied.Key)
	}
	return p.message.Key
}

// A track sends a partition's messages, in order, one batch at a time. One goroutine at a
// time has it in hand: its leader's, and its own while it mends.
type track struct {
	topic     *topic
	partition int32

	// The topic's mutex guards these.
	state  state
	queue  []*parcel
	bytes  int     // of what has no fate
	leader *leader // nil: to be found

	// These are of whoever has it in hand, or of the topic's mutex while nobody has.
	hand     []*batch // what was taken of the queue; the first is to be sent, or was
	producer identity
	sequence int32
	strange  bool // the broker does not know the producer
	doubt    bool // the first batch in hand is perhaps stored
	missing  time.Time
	failures int // of the first batch in hand
}

// state is what a track does.
type state uint8

const (
	idle    state = iota // it has nothing to send
	seeking              // it looks for its leader
	ready                // it waits for its leader's next request
	flying               // its leader has a batch of it under way
	mending              // it looks for its leader after something failed
)

// put adds a parcel. It is called with the topic's lock.
func (l *track) put(p *parcel) {
	l.queue = append(l.queue, p)
	l.bytes += p.size
	switch l.state {
	case ready:
		l.leader.add(p.size)
	case idle:
		l.offer()
	}
}

// offer has what there is sent, if there is anything. It is called with the topic's lock.
func (l *track) offer() {
	switch {
	case len(l.hand) == 0 && len(l.queue) == 0:
		l.state = idle
	case l.leader == nil:
		l.begin(seeking)
	default:
		l.state = ready
		l.leader.ready = append(l.leader.ready, l)
		l.leader.add(l.bytes)
	}
}

// A batch has at most this many messages.
const batchMessages = 10_000

// next is the batch to be sent. It is called with the topic's lock.
func (l *track) next() *batch {
	if len(l.hand) == 0 {
		n, bytes := 0, 0
		for n < len(l.queue) && n < batchMessages {
			size := l.queue[n].size
			if n > 0 && bytes+size > l.topic.conn.config.MessageBytes {
				break
			}
			bytes += size
			n++
		}
		l.hand = append(l.hand, &batch{parcels: slices.Clone(l.queue[:n]), bytes: bytes})
		l.queue = slices.Delete(l.queue, 0, n)
	}
	b := l.hand[0]
	b.track, b.topic, b.partition, b.identity, b.sequence = l, l.topic.name, l.partition, l.producer, l.sequence
	return b
}

// settle acts on what came of sending a batch.
func (l *track) settle(b *batch) {
	switch verdict, err := l.judge(b.sent, b.err); verdict {
	case kept:
		l.sequence = int32((int64(l.sequence) + int64(len(b.parcels))) & 0x7fffffff)
		l.finish(driver.Stored, nil)
	case refused:
		l.refuse(err)
	case away:
		l.topic.End(err)
		l.later()
	default:
		l.later()
	}
}

// finish tells the fate of the batch in hand, and goes on with the next.
func (l *track) finish(f driver.Fate, err error) {
	t := l.topic
	b := l.hand[0]
	l.hand = slices.Delete(l.hand, 0, 1)
	l.doubt, l.failures, l.missing = false, 0, time.Time{}
	t.tell(b.parcels, f, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	l.bytes -= b.bytes
	l.offer()
}

// refuse looks for the message at fault in the batch in hand, by halves.
func (l *track) refuse(err error) {
	b := l.hand[0]
	n := len(b.parcels) / 2
	if n == 0 {
		l.finish(driver.Refused, err)
		return
	}
	l.hand = slices.Replace(l.hand, 0, 1, newBatch(b.parcels[:n]), newBatch(b.parcels[n:]))
	l.doubt, l.failures, l.missing = false, 0, time.Time{}
	l.topic.mu.Lock()
	defer l.topic.mu.Unlock()
	l.offer()
}

// newBatch makes a batch of parcels.
func newBatch(parcels []*parcel) *batch {
	b := &batch{parcels: parcels}
	for _, p := range parcels {
		b.bytes += p.size
	}
	return b
}

// later has the batch in hand sent again, after a while.
func (l *track) later() {
	l.failures++
	l.topic.mu.Lock()
	defer l.topic.mu.Unlock()
	l.begin(mending)
}

// begin has the track mend, unless the topic is dead. It is called with the topic's lock.
func (l *track) begin(s state) {
	l.state = s
	if !l.topic.dead {
		l.topic.work.Go(l.mend)
	}
}

// mend finds the leader, after a while if something failed, and a new identity where that is
// needed. It goes on until the track is ready, or the topic is dead.
func (l *track) mend() {
	t := l.topic
	for l.pause() {
		var to int32
		err := l.introduce()
		if err == nil {
			to, err = t.wire.leader(t.name, l.partition)
		}
		if err == nil {
			t.mu.Lock()
			if !t.dead {
				l.leader = t.leads(to)
				l.offer()
			}
			t.mu.Unlock()
			return
		}
		l.failures++
		t.mu.Lock()
		l.state = mending
		t.mu.Unlock()
		switch verdict, err := l.judge(false, err); verdict {
		case refused:
			t.mu.Lock()
			l.next()
			l.leader = nil
			t.mu.Unlock()
			l.refuse(err)
			return
		case away:
			t.End(err)
		}
	}
}

// pause waits before the next attempt, unless it is the first; false if there is none.
func (l *track) pause() bool {
	t := l.topic
	if l.failures > 0 {
		timer := time.NewTimer(min(20*time.Millisecond<<min(l.failures, 10), time.Second))
		defer timer.Stop()
		select {
		case <-timer.C:
			t.wire.refresh(t.name)
		case <-t.Done():
		}
	}
	return t.Err() == nil
}

// introduce gives the track another identity, if the broker does not know the one it has.
func (l *track) introduce() error {
	t := l.topic
	if !l.strange {
		return nil
	}
	t.naming.Lock()
	defer t.naming.Unlock()
	if l.producer == t.producer { // else another track was quicker
		as, err := t.wire.identify()
		if err != nil {
			return err
		}
		t.mu.Lock()
		t.producer = as
		t.mu.Unlock()
	}
	l.producer, l.sequence, l.strange = t.producer, 0, false
	return nil
}

// bury tells the fates of what a dead topic has left.
func (l *track) bury(why error) {
	t := l.topic
	for i, b := range l.hand {
		if i == 0 && l.doubt {
			t.tell(b.parcels, driver.Unknown, why)
		} else {
			t.tell(b.parcels, driver.Aborted, why)
		}
	}
	t.tell(l.queue, driver.Aborted, why)
	l.hand, l.queue = nil, nil
}

// verdict is what an attempt came to.
type verdict uint8

const (
	kept    verdict = iota // the broker has it
	again                  // the same batch is to be sent again
	refused                // not kept, for a reason that stays
	away                   // the topic is gone
)

// judge says what to make of an attempt.
func (l *track) judge(sent bool, err error) (verdict, error) {
	t := l.topic
	var k sarama.KError
	switch {
	case err == nil:
		return kept, nil
	case !errors.As(err, &k):
		l.doubt = l.doubt || sent
		return again, nil
	case k == sarama.ErrDuplicateSequenceNumber:
		return kept, nil
	case k == sarama.ErrOutOfOrderSequenceNumber, k == sarama.ErrUnknownProducerID, k == sarama.ErrInvalidProducerEpoch:
		// The broker has forgotten this producer. With another identity nothing is lost or
		// passed; a batch whose answer was lost may be kept twice.
		l.strange = true
		return again, nil
	case k == sarama.ErrRequestTimedOut, k == sarama.ErrNotEnoughReplicasAfterAppend:
		l.doubt = true
		return again, nil
	case k == sarama.ErrUnknownTopicOrPartition:
		// So answers a broker that has not heard of it yet, too.
		if l.missing.IsZero() {
			l.missing = time.Now()
		}
		if time.Since(l.missing) > t.conn.config.Timeout {
			return away, classify("kafka: publish to "+t.name, k)
		}
		return again, nil
	}
	switch err := classify("kafka: publish to "+t.name, k); driver.CodeOf(err) {
	case driver.CodeTooLarge, driver.CodeInvalid, driver.CodePermissionDenied, driver.CodeUnsupported:
		return refused, err
	default:
		return again, nil
	}
}
