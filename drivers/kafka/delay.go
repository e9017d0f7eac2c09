package kafka

import (
	"context"
	"math/bits"
	"regexp"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// With Config.DelayFrom, a failed message whose retry is due later than that is copied to
// a topic of its group's own and is done where it was. The partitions of that topic are
// for lengths of time, powers of two of seconds: in each, what came first is over first,
// so a relay (relay.go) that looks at the first alone knows what to do next, however many
// wait. A delay is made of such lengths, the longest first. When all of it is over the copy
// goes to a second topic, which the group reads beside the one it has subscribed to (joint.go).

// Headers that a message has while it is delayed.
const (
	dueHeader       = "waybill-due"       // Unix milliseconds
	attemptsHeader  = "waybill-attempts"  // that failed so far
	publishedHeader = "waybill-published" // Unix milliseconds
)

// delayLeast is the shortest length, and how much later than asked a message may come.
const delayLeast = time.Second

// delayLengths is how many lengths there are: the longest is six days. What is longer takes
// it more than once.
const delayLengths = 20

// delayKept is how long the topics keep messages: for as long a group may be away.
const delayKept = 30 * 24 * time.Hour

// delays are the topics of a subscription's delayed messages.
type delays struct{ waiting, due string }

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// delaysOf names the topics; ok is false where the subscription has none.
func (c *conn) delaysOf(r *driver.SubscribeRequest) (d delays, ok bool) {
	group := c.groupOf(r)
	if c.config.DelayFrom == 0 || group == "" {
		return d, false
	}
	base := r.Topic + "." + group
	return delays{base + ".delayed", base + ".due"}, true
}

// ensureDelays makes or verifies the topics.
func (c *conn) ensureDelays(ctx context.Context, d delays, topology driver.Topology) error {
	if !topicName.MatchString(d.waiting) {
		return errorf(driver.CodeInvalid, "delay-from makes a topic %q, which Kafka does not allow: "+
			"names have at most 249 letters, digits, dots, underscores and hyphens; choose another group", d.waiting)
	}
	settings := map[string]string{
		"retention.ms":      strconv.FormatInt(delayKept.Milliseconds(), 10),
		"max.message.bytes": strconv.Itoa(c.config.MessageBytes + 8<<10), // with the headers
	}
	for name, partitions := range map[string]int{d.waiting: delayLengths, d.due: 0} {
		r := driver.TopicRequest{Topic: name, Topology: topology}
		if topology == driver.Create {
			r.Settings = []any{TopicSettings{Partitions: partitions, Config: settings}}
		}
		if err := c.ensure(ctx, &r); err != nil {
			return err
		}
	}
	return nil
}

// length is the partition of the longest length that is no longer than rest, and false if
// that is shorter than all.
func length(rest time.Duration, partitions int) (int32, bool) {
	if rest < delayLeast || partitions < 1 {
		return 0, false
	}
	return int32(min(bits.Len64(uint64(rest/delayLeast))-1, partitions-1)), true //nolint:gosec // small, and not negative
}

// over is when a message's time in a partition is over. What is then left of its delay
// and shorter than all lengths, it waits for there.
func over(m *sarama.ConsumerMessage, now time.Time) time.Time {
	due, ok := timeIn(m, dueHeader)
	if !ok {
		return now // a stranger's
	}
	at := m.Timestamp.Add(delayLeast << min(m.Partition, 40))
	if due.Sub(at) < delayLeast {
		return due
	}
	return at
}

func header(m *sarama.ConsumerMessage, name string) (int64, bool) {
	for i := len(m.Headers) - 1; i >= 0; i-- {
		if h := m.Headers[i]; h != nil && string(h.Key) == name {
			n, err := strconv.ParseInt(string(h.Value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

func timeIn(m *sarama.ConsumerMessage, name string) (time.Time, bool) {
	n, ok := header(m, name)
	return time.UnixMilli(n), ok
}

// delayed makes a parcel of a copy that is due later: in whole milliseconds, and not before.
func delayed(m *sarama.ConsumerMessage, due time.Time, failed int) parcel {
	published, ok := timeIn(m, publishedHeader)
	if !ok {
		published = m.Timestamp
	}
	before, _ := header(m, attemptsHeader)
	p := copied(m)
	p.copied.Headers = nil
	for _, h := range m.Headers {
		if name := string(h.Key); name != dueHeader && name != attemptsHeader && name != publishedHeader {
			p.copied.Headers = append(p.copied.Headers, h)
		}
	}
	for name, value := range map[string]int64{
		dueHeader: due.Add(time.Millisecond - 1).UnixMilli(), attemptsHeader: before + int64(failed), publishedHeader: published.UnixMilli(),
	} {
		p.copied.Headers = append(p.copied.Headers, &sarama.RecordHeader{Key: []byte(name), Value: strconv.AppendInt(nil, value, 10)})
	}
	p.size += 128
	return p
}

// undelay takes out of a delivery what it had while it was delayed.
func undelay(d *driver.Delivery) {
	number := func(name string) (int64, bool) {
		n, err := strconv.ParseInt(d.Headers[name], 10, 64)
		delete(d.Headers, name)
		return n, err == nil
	}
	number(dueHeader)
	if n, ok := number(attemptsHeader); ok && n > 0 && n < 1<<31 {
		d.Attempt += int(n)
	}
	if n, ok := number(publishedHeader); ok {
		d.PublishTime = time.UnixMilli(n)
	}
	if len(d.Headers) == 0 {
		d.Headers = nil
	}
}

// rawOf is a delivery's record; nil if it is no longer there.
func rawOf(r *driver.Receipt) *sarama.ConsumerMessage {
	raw := r.Raw
	if m, ok := raw.(driver.RawMaker); ok {
		raw = m.MakeRaw()
	}
	m, _ := raw.(*sarama.ConsumerMessage)
	return m
}

// forward posts parcels to a topic and waits for their fates. It says which of them were
// not stored, and why.
func (t *topic) forward(ctx context.Context, parcels []parcel) (left []int, err error) {
	type told struct {
		i   int
		f   driver.Fate
		err error
	}
	fates := make(chan told, len(parcels))
	for i := range parcels {
		parcels[i].index = i
		parcels[i].fate = func(i int, f driver.Fate, err error) { fates <- told{i, f, err} }
	}
	t.post(parcels)
	stored := make([]bool, len(parcels))
	for n := 0; n < len(parcels) && ctx.Err() == nil; {
		select {
		case v := <-fates:
			n++
			if stored[v.i] = v.f == driver.Stored; !stored[v.i] {
				err = v.err
			}
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	for i, is := range stored {
		if !is {
			left = append(left, i)
		}
	}
	return left, err
}

// lengths counts the lengths that a topic of delayed messages has partitions for.
func (t *topic) lengths() (int, error) {
	n, err := t.partitions()
	return min(n, delayLengths), err
}
