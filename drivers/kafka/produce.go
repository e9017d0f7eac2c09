package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	produceKey     = 0
	produceVersion = 7 // of brokers since 2.1
)

// A scribe writes produce requests, in the protocol's version 7. It copies each body once.
type scribe struct {
	out     []byte
	records []byte   // of a batch, before they are compressed
	headers []byte   // of a record
	names   []string // of these
}

var scribes = sync.Pool{New: func() any { return new(scribe) }}

// done keeps the scribe's room for another request.
func (s *scribe) done() {
	clear(s.names)
	if cap(s.out)+cap(s.records) <= 2*requestBytes {
		scribes.Put(s)
	}
}

// request writes batches of one topic, with the length before them.
func (s *scribe) request(c *Config, number int32, batches []*batch) error {
	order := binary.BigEndian
	most := 1 << 10
	for _, x := range batches {
		most += x.bytes
	}
	b := slices.Grow(s.out[:0], most)
	text := func(s string) {
		b = order.AppendUint16(b, uint16(len(s))) //nolint:gosec // the broker takes no longer names
		b = append(b, s...)
	}
	number32 := func(n int) { b = order.AppendUint32(b, uint32(n)) } //nolint:gosec // as the protocol has it

	number32(0) // the length, below
	b = order.AppendUint16(b, produceKey)
	b = order.AppendUint16(b, produceVersion)
	number32(int(number))
	text(c.ClientID)
	b = order.AppendUint16(b, 0xffff) // no transaction
	b = order.AppendUint16(b, 0xffff) // acks of all
	number32(int(c.Timeout / time.Millisecond))
	number32(1) // topic
	text(batches[0].topic)
	number32(len(batches))
	now := uint64(time.Now().UnixMilli())
	for _, x := range batches {
		number32(int(x.partition))
		number32(0) // the length, below
		at := len(b)
		s.out = b
		if err := s.batch(x, now, compressions[c.Compression]); err != nil {
			return err
		}
		b = s.out
		order.PutUint32(b[at-4:], uint32(len(b)-at)) //nolint:gosec // a request
	}
	order.PutUint32(b, uint32(len(b)-4)) //nolint:gosec // a request
	s.out = b
	return nil
}

// batch adds a batch to what is written.
func (s *scribe) batch(x *batch, now uint64, codec sarama.CompressionCodec) (err error) {
	order := binary.BigEndian
	at, b := len(s.out), s.out
	count := uint32(len(x.parcels))                     //nolint:gosec // a batch
	b = order.AppendUint64(b, 0)                        // its offset is the broker's to say
	b = order.AppendUint32(b, 0)                        // the length, below
	b = order.AppendUint32(b, 0xffffffff)               // so is the leader's epoch
	b = append(b, 2)                                    // magic
	b = order.AppendUint32(b, 0)                        // the checksum, below
	b = order.AppendUint16(b, uint16(codec))            //nolint:gosec // one of five
	b = order.AppendUint32(b, count-1)                  // the last record's offset
	b = order.AppendUint64(b, now)                      // the first record's time
	b = order.AppendUint64(b, now)                      // the last one's
	b = order.AppendUint64(b, uint64(x.identity.id))    //nolint:gosec // as the protocol has it
	b = order.AppendUint16(b, uint16(x.identity.epoch)) //nolint:gosec // as the protocol has it
	b = order.AppendUint32(b, uint32(x.sequence))       //nolint:gosec // as the protocol has it
	b = order.AppendUint32(b, count)
	if codec == sarama.CompressionNone {
		for i, p := range x.parcels {
			b = s.record(b, p, i)
		}
	} else {
		s.records = s.records[:0]
		for i, p := range x.parcels {
			s.records = s.record(s.records, p, i)
		}
		if b, err = compress(codec, b, s.records); err != nil {
			return err
		}
	}
	order.PutUint32(b[at+batchLength:], uint32(len(b)-at-batchLength-4)) //nolint:gosec // a request
	order.PutUint32(b[at+batchSum:], crc32.Checksum(b[at+batchSummed:], checksums))
	s.out = b
	return nil
}

// record adds a batch's i-th record to b. It is the same each time.
func (s *scribe) record(b []byte, p *parcel, i int) []byte {
	h := s.headers[:0]
	if r := p.copied; r != nil {
		h = binary.AppendVarint(h, int64(len(r.Headers)))
		for _, header := range r.Headers {
			h = appendField(appendField(h, header.Key, false), header.Value, header.Value == nil)
		}
		s.headers = h
		return appendRecord(b, i, r.Key, r.Key == nil, r.Value, r.Value == nil, h)
	}
	m := p.message
	s.names = s.names[:0]
	if len(m.Headers) > 0 {
		s.names = slices.AppendSeq(s.names, maps.Keys(m.Headers))
		slices.Sort(s.names)
	}
	n := len(s.names)
	if m.ID != "" {
		n++
	}
	h = binary.AppendVarint(h, int64(n))
	for _, name := range s.names {
		h = appendField(appendField(h, name, false), m.Headers[name], false)
	}
	if m.ID != "" { // the last, which counts
		h = appendField(appendField(h, idHeader, false), m.ID, false)
	}
	s.headers = h
	return appendRecord(b, i, m.Key, m.Key == "", m.Body, false, h) // a value of null would be a tombstone
}

// appendRecord adds a record to b; null says that there is no key, or no value.
func appendRecord[K, V string | []byte](b []byte, i int, key K, nullKey bool, value V, nullValue bool, headers []byte) []byte {
	n := 2 + varintSize(i) + varintSize(len(key)) + len(key) + varintSize(len(value)) + len(value) + len(headers)
	b = binary.AppendVarint(b, int64(n))
	b = append(b, 0, 0) // attributes, and the time after the batch's
	b = binary.AppendVarint(b, int64(i))
	b = appendField(b, key, nullKey)
	b = appendField(b, value, nullValue)
	return append(b, headers...)
}

// appendField adds bytes with their length before them.
func appendField[T string | []byte](b []byte, f T, null bool) []byte {
	if null {
		return append(b, 1) // a length of -1
	}
	return append(binary.AppendVarint(b, int64(len(f))), f...)
}

// varintSize is how many bytes a number that is not negative takes, and -1 as many as 0.
func varintSize(n int) int { return (bits.Len(uint(n)<<1|1) + 6) / 7 }
