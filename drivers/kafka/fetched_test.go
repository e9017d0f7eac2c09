package kafka

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"slices"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// written is when the first of a batch was, and appended when the broker took it.
const (
	writtenFirst  = 1000
	writtenAppend = 5000
)

// batchOf makes a batch of records at these distances from its first offset.
func batchOf(first, producer int64, change func(*kmsg.RecordBatch), distances ...int64) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: first, Magic: 2, FirstTimestamp: writtenFirst, MaxTimestamp: writtenAppend, ProducerID: producer,
		NumRecords: int32(len(distances)), LastOffsetDelta: -1,
	}
	if producer > 0 {
		b.Attributes = attributeTransactional
	}
	for _, d := range distances {
		r := kmsg.Record{TimestampDelta64: d, OffsetDelta: int32(d), Key: []byte("k"), Value: []byte("v")}
		b.LastOffsetDelta = r.OffsetDelta
		for range 2 { // the length counts what follows it
			encoded := r.AppendTo(nil)
			_, at := binary.Varint(encoded)
			r.Length = int32(len(encoded) - at)
		}
		b.Records = r.AppendTo(b.Records)
	}
	if change != nil {
		change(&b)
	}
	return sealed(&b)
}

// sealed writes a batch, with its length and sum.
func sealed(b *kmsg.RecordBatch) []byte {
	encoded := b.AppendTo(nil)
	b.Length = int32(len(encoded) - batchLength - 4)
	b.CRC = int32(crc32.Checksum(encoded[batchSummed:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

func control(first, producer int64, kind byte) []byte {
	return batchOf(first, producer, func(b *kmsg.RecordBatch) {
		b.Attributes |= attributeControl
		b.Records = binary.AppendVarint(nil, 4+4+2)
		b.Records = append(b.Records, 0, 0, 0, 8, 0, 0, 0, kind, 1, 0)
	}, 0)
}

// legacyOf makes a message of an old format.
func legacyOf(offset int64, attributes int8, timestamp int64, value []byte) []byte {
	m := kmsg.MessageV1{Offset: offset, Magic: 1, Attributes: attributes, Timestamp: timestamp, Value: value}
	encoded := m.AppendTo(nil)
	m.MessageSize = int32(len(encoded) - batchLength - 4)
	m.CRC = int32(crc32.ChecksumIEEE(encoded[batchMagic:]))
	return m.AppendTo(nil)
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func reading() *claim {
	s := newSession(&conn{config: Config{MetadataBytes: 4096, FetchBytes: 1 << 20}}, driver.SubscribeRequest{Group: "g"})
	s.Credit(1000, 1<<20)
	c := newClaim(s, "t", 0)
	s.adopt(c)
	return c
}

func TestFetchesAreRead(t *testing.T) {
	t.Parallel()
	late := batchOf(0, 0, func(b *kmsg.RecordBatch) { b.Attributes = attributeAppended }, 0, 1)
	timeless := batchOf(0, 0, func(b *kmsg.RecordBatch) { b.FirstTimestamp = -1 }, 0)
	compacted := batchOf(4, 0, func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 5 }, 1, 2)
	emptied := batchOf(4, 0, func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 5 })
	compressed := batchOf(0, 0, func(b *kmsg.RecordBatch) { b.Attributes, b.Records = 1, zipped(b.Records) }, 0, 1)
	damaged := batchOf(2, 0, nil, 0)
	damaged[len(damaged)-1] ^= 1
	strange := batchOf(0, 0, func(b *kmsg.RecordBatch) { b.Magic = 3 }, 0)
	transactions := slices.Concat(batchOf(0, 7, nil, 0), batchOf(1, 8, nil, 0), batchOf(2, 0, nil, 0), control(3, 7, 0), control(4, 8, 1), batchOf(5, 7, nil, 0))
	aborted := []abortion{{9, 99}, {7, 0}}
	legacy := slices.Concat(
		legacyOf(0, 0, 1234, []byte("v")),
		legacyOf(3, 1, 4000, zipped(slices.Concat(legacyOf(0, 0, 2, []byte("v")), legacyOf(2, 0, 3, []byte("v"))))),
		legacyOf(4, 1|attributeAppended, 4000, zipped(legacyOf(0, 0, 2, []byte("v")))),
	)
	for name, c := range map[string]struct {
		records   []byte
		from      int64
		committed bool
		offsets   []int64
		next      int64
		written   []int64 // of the first ones
		err       error
	}{
		"nothing":               {from: 5, next: 5},
		"from the middle":       {records: slices.Concat(batchOf(0, 0, nil, 0, 1, 2), batchOf(3, 0, nil, 0)), from: 2, offsets: []int64{2, 3}, next: 4, written: []int64{1002}},
		"the broker's time":     {records: late, offsets: []int64{0, 1}, next: 2, written: []int64{5000, 5000}},
		"no time":               {records: timeless, offsets: []int64{0}, next: 1, written: []int64{0}},
		"cut short":             {records: slices.Concat(batchOf(0, 0, nil, 0, 1), batchOf(2, 0, nil, 0)[:65]), offsets: []int64{0, 1}, next: 2, written: []int64{1000}},
		"cut short in its head": {records: slices.Concat(batchOf(0, 0, nil, 0, 1), batchOf(2, 0, nil, 0)[:10]), offsets: []int64{0, 1}, next: 2},
		"less than a batch":     {records: batchOf(3, 0, nil, 0, 1)[:70], from: 3, next: 3, err: errCutShort},
		"less than a head":      {records: batchOf(3, 0, nil, 0, 1)[:9], from: 3, next: 3, err: errCutShort},
		"damaged":               {records: slices.Concat(damaged, batchOf(3, 0, nil, 0)), from: 2, next: 2, err: errCorrupt},
		"damaged later":         {records: slices.Concat(batchOf(0, 0, nil, 0, 1), damaged), offsets: []int64{0, 1}, next: 2},
		"an unknown format":     {records: strange, err: errCorrupt},
		"compacted at its ends": {records: compacted, from: 4, offsets: []int64{5, 6}, next: 10, written: []int64{1001}},
		"compacted to nothing":  {records: emptied, from: 4, next: 10},
		"compressed":            {records: compressed, offsets: []int64{0, 1}, next: 2, written: []int64{1000, 1001}},
		"transactions":          {records: transactions, committed: true, offsets: []int64{1, 2, 5}, next: 6, written: []int64{1000}},
		"all transactions":      {records: transactions, offsets: []int64{0, 1, 2, 5}, next: 6, written: []int64{1000}},
		"old formats":           {records: legacy, offsets: []int64{0, 1, 3, 4}, next: 5, written: []int64{1234, 2, 3, 4000}},
	} {
		claim := reading()
		claim.head, claim.from, claim.due = c.from, c.from, c.from
		f := &fetch{committed: c.committed}
		h, next, err := f.read(&answer{records: c.records, aborted: slices.Clone(aborted)}, c.from)
		if !errors.Is(err, c.err) || next != c.next {
			t.Errorf("%s: next is %d, %v; want %d, %v", name, next, err, c.next, c.err)
		}
		claim.add(h)
		var in driver.Intake
		claim.session.give(claim, &in, 100)
		var offsets []int64
		for i := range in.Deliveries {
			d := &in.Deliveries[i]
			e := d.Token.(*entry)
			offsets = append(offsets, e.offset)
			if i < len(c.written) && e.written != c.written[i] {
				t.Errorf("%s: message %d written at %d, want %d", name, i, e.written, c.written[i])
			}
			if string(d.Body) != "v" {
				t.Errorf("%s: message %d is %q", name, i, d.Body)
			}
		}
		if !slices.Equal(offsets, c.offsets) {
			t.Errorf("%s: got %v, want %v", name, offsets, c.offsets)
		}
		if claim.pendingBytes != 0 || claim.pending != nil {
			t.Errorf("%s: %d bytes are pending in %v", name, claim.pendingBytes, claim.pending)
		}
	}
}

// fetched has a claim read records that were fetched.
func (c *claim) fetched(t *testing.T, records []byte) {
	t.Helper()
	h, next, err := new(fetch).read(&answer{records: records}, c.from)
	must(t, err)
	c.from = next
	c.add(h)
}

// What is given is no part of its fetch, and what is given again is as it was.
func TestDeliveriesAreTheirOwn(t *testing.T) {
	t.Parallel()
	c := reading()
	c.fetched(t, batchOf(0, 0, nil, 0, 1, 2))
	var in driver.Intake
	c.session.give(c, &in, 100)
	given := in.Deliveries
	if body := given[0].Body; cap(body) != len(body) {
		t.Error("a body can grow into the next one")
	}
	given[0].Body[0] = 'x'
	c.settle(given[0].Token.(*entry), &driver.Settlement{Receipt: &given[0].Receipt, Verb: driver.Return})
	c.session.give(c, &in, 100)
	if again := &in.Deliveries[3]; string(again.Body) != "v" || again.Tag == given[0].Tag {
		t.Errorf("a message is given again as %q", again.Body)
	}
	raw := given[1].Raw.(driver.RawMaker).MakeRaw().(*sarama.ConsumerMessage)
	if string(raw.Key) != "k" || string(raw.Value) != "v" || raw.Topic != "t" || raw.Offset != 1 || raw.Timestamp.UnixMilli() != 1001 {
		t.Errorf("raw is %+v", raw)
	}
	e := given[1].Token.(*entry)
	c.settle(e, &driver.Settlement{Receipt: &given[1].Receipt, Verb: driver.Ack})
	if e.MakeRaw() != nil {
		t.Error("there is a raw message though the message is settled")
	}
}

// A fetch's buffer is used again when all of it is done. What a slow handler has does not
// hold it up for long.
func TestBuffersAreUsedAgain(t *testing.T) {
	t.Parallel()
	c := reading()
	var in driver.Intake
	give := func(first int64) (records []byte) {
		t.Helper()
		records = batchOf(first, 0, nil, 0, 1, 2)
		c.fetched(t, records)
		in.Reset()
		if n := c.session.give(c, &in, 100); n != 3 {
			t.Fatalf("gave %d messages", n)
		}
		return records
	}
	done := func(from int) {
		for i := from; i < len(in.Deliveries); i++ {
			d := &in.Deliveries[i]
			c.settle(d.Token.(*entry), &driver.Settlement{Receipt: &d.Receipt, Verb: driver.Ack})
		}
	}
	reused := func(records []byte) bool {
		return len(c.spare) > 0 && &c.room(len(records))[0] == &records[0]
	}
	if records := give(0); reused(records) {
		t.Error("a buffer is used again while something of it is undone")
	} else if done(0); !reused(records) {
		t.Error("a buffer is not used again")
	}
	slow := give(3)
	left := in.Deliveries[0].Token.(*entry)
	done(1)
	for i := range int64(givenHauls) {
		if reused(slow) {
			t.Error("a buffer is used again while something of it is undone")
		}
		give(6 + 3*i)
	}
	if !reused(slow) {
		t.Error("a slow message holds up a buffer")
	}
	clear(slow)
	if raw, ok := left.MakeRaw().(*sarama.ConsumerMessage); !ok || string(raw.Value) != "v" {
		t.Errorf("the slow message is %+v", raw)
	}
}

// What its last owner left undone may be compacted away: nothing waits for it then.
func TestUndoneIsCompactedAway(t *testing.T) {
	t.Parallel()
	c := reading()
	c.window.adopt(c, &note{head: 5, undone: []undone{{0, 1}, {2, 0}, {4, 0}}})
	h, _, err := new(fetch).read(&answer{records: slices.Concat(batchOf(2, 0, nil, 0), batchOf(5, 0, nil, 0))}, 0)
	must(t, err)
	c.add(h)
	var in driver.Intake
	c.session.give(c, &in, 100)
	var offsets []int64
	for i := range in.Deliveries {
		offsets = append(offsets, in.Deliveries[i].Token.(*entry).offset)
	}
	if !slices.Equal(offsets, []int64{2, 5}) || c.base() != 2 || c.first.next.offset != 5 {
		t.Errorf("got %v, committed is %d", offsets, c.base())
	}
}

// A record that makes no sense is not skipped: it is fetched again.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	c := reading()
	c.session.conn.config.Logger = slog.New(slog.DiscardHandler)
	b := batchOf(0, 0, func(b *kmsg.RecordBatch) { b.Records[len(b.Records)-1] = 10 }, 0, 1) // headers that are not there
	h, next, err := new(fetch).read(&answer{records: b}, 0)
	must(t, err)
	c.from = next
	c.add(h)
	var in driver.Intake
	if n := c.session.give(c, &in, 100); n != 1 || c.from != 1 || c.pending != nil {
		t.Errorf("gave %d, goes on at %d", n, c.from)
	}
}
