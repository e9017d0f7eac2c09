package kafka

import (
	"encoding/binary"
	"time"

	"github.com/IBM/sarama"
)

// A fetch is a request for messages of one topic, in the protocol's version 11.
type fetch struct {
	topic     string
	wait      time.Duration
	committed bool // nothing of transactions that are open
	rack      string
	asked     []want
}

// A want is what is asked for of one claim.
type want struct {
	*claim
	from  int64
	epoch int32
	size  int32
}

const (
	fetchKey     = 1
	fetchVersion = 11 // of brokers since 2.3
)

// append writes the request, with its length before it.
func (f *fetch) append(b []byte, number int32, client string) []byte {
	order := binary.BigEndian
	text := func(s string) {
		b = order.AppendUint16(b, uint16(len(s))) //nolint:gosec // the broker takes no longer names
		b = append(b, s...)
	}
	number32 := func(n int32) { b = order.AppendUint32(b, uint32(n)) } //nolint:gosec // as the protocol has it
	number64 := func(n int64) { b = order.AppendUint64(b, uint64(n)) } //nolint:gosec // as the protocol has it

	number32(0) // the length, below
	b = order.AppendUint16(b, fetchKey)
	b = order.AppendUint16(b, fetchVersion)
	number32(number)
	text(client)
	number32(-1)                               // no replica
	number32(int32(f.wait / time.Millisecond)) //nolint:gosec // was checked
	number32(1)                                // byte at least
	number32(f.bytes())
	isolation := byte(sarama.ReadUncommitted)
	if f.committed {
		isolation = byte(sarama.ReadCommitted)
	}
	b = append(b, isolation)
	number32(0)  // no session
	number32(-1) // nor one to come
	number32(1)  // topic
	text(f.topic)
	number32(int32(len(f.asked))) //nolint:gosec // partitions
	for _, w := range f.asked {
		number32(w.partition)
		number32(w.epoch)
		number64(w.from)
		number64(-1) // where a replica's log begins
		number32(w.size)
	}
	number32(0) // topics to forget
	text(f.rack)
	order.PutUint32(b, uint32(len(b)-4)) //nolint:gosec // a request
	return b
}

// bytes is how much all of it may be.
func (f *fetch) bytes() int32 {
	n := int64(0)
	for _, w := range f.asked {
		n += int64(w.size)
	}
	return int32(min(n, int64(sarama.MaxResponseSize))) //nolint:gosec // as it says
}

// An answer is what a broker says of one partition.
type answer struct {
	partition int32
	err       error
	end       int64      // up to where it can be read
	aborted   []abortion // transactions that came to nothing
	replica   int32      // to go to instead; negative: none
	records   []byte
}

// An abortion is a transaction that came to nothing, and where it begins.
type abortion struct{ producer, first int64 }

// each reads an answer's partitions; buffer gives room for the records of one.
func (a *frame) each(f *fetch, buffer func(partition int32, n int) []byte, do func(*answer)) error {
	for topics := a.count(); topics > 0 && a.err == nil; topics-- {
		mine := string(a.take(int(a.int16()))) == f.topic
		for partitions := a.count(); partitions > 0 && a.err == nil; partitions-- {
			if p := a.one(f.committed, buffer); a.err == nil && mine {
				do(&p)
			}
		}
	}
	if a.err == nil && a.left != 0 {
		a.err = errFrame
	}
	return a.err
}

// one reads what is said of one partition.
func (a *frame) one(committed bool, buffer func(partition int32, n int) []byte) answer {
	p := answer{partition: a.int32()}
	if k := sarama.KError(a.int16()); k != sarama.ErrNoError {
		p.err = k
	}
	p.end = a.int64()
	if stable := a.int64(); committed {
		p.end = stable
	}
	a.int64() // where its log begins
	for n := a.count(); n > 0 && a.err == nil; n-- {
		p.aborted = append(p.aborted, abortion{a.int64(), a.int64()})
	}
	p.replica = a.int32()
	n := int(a.int32())
	if n > a.left {
		a.err = errFrame
	}
	if n > 0 && a.err == nil {
		p.records = buffer(p.partition, n)
		a.fill(p.records)
	}
	return p
}

// count reads the length of a list, of which each takes some bytes.
func (a *frame) count() int {
	n := int(a.int32())
	if n > a.left {
		a.err = errFrame
	}
	return n
}

func (a *frame) int16() int16 { return int16(binary.BigEndian.Uint16(a.take(2))) } //nolint:gosec // as the protocol has it
func (a *frame) int32() int32 { return int32(binary.BigEndian.Uint32(a.take(4))) } //nolint:gosec // as the protocol has it
func (a *frame) int64() int64 { return int64(binary.BigEndian.Uint64(a.take(8))) } //nolint:gosec // as the protocol has it
