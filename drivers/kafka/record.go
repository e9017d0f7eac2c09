package kafka

import (
	"bytes"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// idHeader carries a message's ID: Kafka has no field for it.
const idHeader = "waybill-id"

// Chunks hold small byte slices, several in one allocation.
const (
	chunkSize  = 32 << 10
	chunkSmall = 4 << 10
)

// moveTo copies b to the end of a chunk, or of another if that is full. No one slice
// can grow into the next. What is nil or empty stays so.
func moveTo(chunk, b []byte) (moved, rest []byte) {
	if b == nil {
		return nil, chunk
	}
	if len(b) == 0 {
		return []byte{}, chunk
	}
	if len(b) > chunkSmall {
		return slices.Clip(slices.Clone(b)), chunk
	}
	if cap(chunk)-len(chunk) < len(b) {
		chunk = make([]byte, 0, chunkSize)
	}
	at := len(chunk)
	chunk = append(chunk, b...)
	return chunk[at:len(chunk):len(chunk)], chunk
}

// deliver describes an entry's message, but for its key. The body is a copy, so that the
// message can be delivered again as it was.
func (e *entry) deliver(d *driver.Delivery, p *parts, chunk []byte) []byte {
	d.Body, chunk = moveTo(chunk, p.value)
	if n, _, _ := number(p.headers); n > 0 {
		d.Headers = make(map[string]string, n)
		eachHeader(p.headers, func(name, value []byte) {
			// Where a name occurs twice the last one counts, as it does for Java's lastHeader.
			if string(name) == idHeader {
				d.ID = string(value)
			} else {
				d.Headers[string(name)] = string(value)
			}
		})
	}
	d.Attempt = e.attempts + 1
	if e.written != 0 {
		d.PublishTime = time.UnixMilli(e.written)
	}
	d.Receipt = driver.Receipt{Tag: e.tag, Token: e, Claim: e.claim.id, Raw: e}
	return chunk
}

// MakeRaw makes a *sarama.ConsumerMessage of an entry that is not done.
func (e *entry) MakeRaw() any {
	s := e.claim.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.record == nil {
		return nil
	}
	p, _ := split(e.record)
	m := &sarama.ConsumerMessage{
		Topic: e.claim.topic, Partition: e.claim.partition, Offset: e.offset,
		Key: bytes.Clone(p.key), Value: bytes.Clone(p.value),
	}
	eachHeader(p.headers, func(name, value []byte) {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: bytes.Clone(name), Value: bytes.Clone(value)})
	})
	if e.written != 0 {
		m.Timestamp = time.UnixMilli(e.written)
	}
	return m
}

// keep moves an entry's record out of the haul that it came with.
func (e *entry) keep() {
	if e.haul != nil {
		e.record = bytes.Clone(e.record)
		e.haul.undone--
		e.haul = nil
	}
}

// size is what a record counts as against the credit.
func size(r *sarama.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}
