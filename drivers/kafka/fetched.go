package kafka

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/IBM/sarama"
)

// A haul is what one fetch brought of a claim. Records stay bytes until they are given:
// nothing is made of what only waits. Its buffer is used again when nothing of it is undone.
type haul struct {
	stretches []stretch // that were not given
	buffer    []byte
	size      int // bytes of its stretches
	undone    int // entries whose records are parts of it
}

// A stretch is a batch as its producer sent it, checked and decompressed.
type stretch struct {
	first    int64  // what its records' offsets count from
	written  int64  // what their times count from, in Unix milliseconds; negative: nobody says
	appended bool   // it is the time of all of them
	data     []byte // the records that were not looked at
}

// errCorrupt is of bytes that no record can be made of.
var errCorrupt = errors.New("what is stored of the partition is damaged, or of a format that is not known")

// A batch begins with these bytes; up to its magic number they are those of an old message too.
const (
	batchHead   = 61
	batchLength = 8  // where the length is of what follows it
	batchMagic  = 16 // where the format's number is
	batchSum    = 17
	batchSummed = 21 // from here on

	attributeCodec         = 7
	attributeAppended      = 8
	attributeTransactional = 16
	attributeControl       = 32
)

// read makes a haul of what a fetch brought of a claim, and says where the next fetch
// begins. What is damaged ends it; that is an error where it comes first.
func (f *fetch) read(a *answer, from int64) (h *haul, next int64, err error) {
	r := reader{next: from, pending: a.aborted}
	if f.committed {
		slices.SortFunc(r.pending, func(a, b abortion) int { return cmp.Compare(a.first, b.first) })
		r.aborted = map[int64]bool{}
	}
	rest := a.records
	for len(rest) > batchMagic && err == nil {
		length := int64(binary.BigEndian.Uint32(rest[batchLength:])) + batchLength + 4
		if length > int64(len(rest)) {
			break
		}
		b := rest[:length]
		switch rest = rest[length:]; {
		case length <= batchMagic:
			err = errCorrupt
		case b[batchMagic] <= 1:
			err = r.legacy(b)
		case b[batchMagic] == 2:
			err = r.batch(b)
		default:
			err = fmt.Errorf("%w: format %d", errCorrupt, b[batchMagic])
		}
	}
	switch {
	case r.next > from:
		err = nil // the next fetch begins with what is wrong
	case err == nil && len(rest) > 0:
		err = errCutShort
	}
	h = &haul{stretches: r.found, buffer: a.records}
	for _, s := range r.found {
		h.size += len(s.data)
	}
	return h, r.next, err
}

// errCutShort says that a fetch was too small for a single batch.
var errCutShort = errors.New("cut short")

// A reader reads one fetch of one claim.
type reader struct {
	next    int64 // the offset that is expected
	found   []stretch
	pending []abortion     // by their first offsets
	aborted map[int64]bool // producers whose transaction here came to nothing; nil: all is read
}

func (r *reader) batch(b []byte) error {
	order := binary.BigEndian
	if len(b) < batchHead || crc32.Checksum(b[batchSummed:], checksums) != order.Uint32(b[batchSum:]) {
		return errCorrupt
	}
	attributes := order.Uint16(b[21:])
	s := stretch{first: int64(order.Uint64(b)), written: int64(order.Uint64(b[27:])), data: b[batchHead:]} //nolint:gosec // as the protocol has it
	last := s.first + int64(order.Uint32(b[23:]))
	producer := int64(order.Uint64(b[43:])) //nolint:gosec // as the protocol has it
	for len(r.pending) > 0 && r.pending[0].first <= last && r.aborted != nil {
		r.aborted[r.pending[0].producer] = true
		r.pending = r.pending[1:]
	}
	var err error
	switch {
	case attributes&attributeControl != 0:
		if aborts(s.data) {
			delete(r.aborted, producer)
		}
	case attributes&attributeTransactional != 0 && r.aborted[producer]:
	case last < r.next || len(s.data) == 0:
	default:
		if s.appended = attributes&attributeAppended != 0; s.appended {
			s.written = int64(order.Uint64(b[35:])) //nolint:gosec // as the protocol has it
		}
		if s.data, err = decompress(sarama.CompressionCodec(attributes&attributeCodec), s.data); err != nil {
			return fmt.Errorf("%w: %w", errCorrupt, err)
		}
		r.found = append(r.found, s)
	}
	r.next = max(r.next, last+1)
	return nil
}

// aborts says whether what a control batch holds ends a transaction that came to nothing.
func aborts(data []byte) bool {
	_, record, ok := shift(data)
	if !ok {
		return false
	}
	p, ok := split(record)
	return ok && len(p.key) >= 4 && binary.BigEndian.Uint16(p.key[2:]) == 0
}

// shift takes the first record off.
func shift(data []byte) (rest, record []byte, ok bool) {
	n, at := binary.Varint(data)
	if at <= 0 || n < 0 || n > int64(len(data)-at) {
		return nil, nil, false
	}
	end := at + int(n)
	return data[end:], data[at:end], true
}

// parts are a record's, within its bytes.
type parts struct {
	written    int64 // after its batch's
	offset     int64 // after its batch's
	key, value []byte
	headers    []byte // with their number before them
}

// split finds the parts of a record.
func split(record []byte) (p parts, ok bool) {
	if len(record) == 0 {
		return p, false
	}
	b := record[1:] // attributes, of which there are none
	if p.written, b, ok = number(b); !ok {
		return p, false
	}
	if p.offset, b, ok = number(b); !ok {
		return p, false
	}
	if p.key, b, ok = field(b); !ok {
		return p, false
	}
	p.value, p.headers, ok = field(b)
	return p, ok
}

func number(b []byte) (n int64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), b[1:], true
	}
	n, at := binary.Varint(b)
	if at <= 0 {
		return 0, nil, false
	}
	return n, b[at:], true
}

// field reads bytes with their length before them; nil where that is negative.
func field(b []byte) (f, rest []byte, ok bool) {
	n, b, ok := number(b)
	switch {
	case !ok || n > int64(len(b)):
		return nil, nil, false
	case n < 0:
		return nil, b, true
	}
	return b[:n:n], b[n:], true
}

// eachHeader goes through a record's headers; false where they are damaged.
func eachHeader(b []byte, do func(name, value []byte)) bool {
	n, b, ok := number(b)
	for ; ok && n > 0; n-- {
		var name, value []byte
		if name, b, ok = field(b); ok {
			if value, b, ok = field(b); ok && do != nil {
				do(name, value)
			}
		}
	}
	return ok
}

// legacy reads a message of the formats before batches, or a compressed set of them, and
// makes of it what a batch has.
func (r *reader) legacy(b []byte) error {
	m, err := oldMessage(b)
	if err != nil {
		return err
	}
	s := stretch{}
	if m.codec == sarama.CompressionNone {
		r.old(&s, m.offset, m)
	} else if err := r.oldSet(&s, m); err != nil {
		return err
	}
	if len(s.data) > 0 {
		r.found = append(r.found, s)
	}
	r.next = max(r.next, m.offset+1)
	return nil
}

// oldSet reads what is compressed in a message.
func (r *reader) oldSet(to *stretch, outer old) error {
	rest, err := decompress(outer.codec, outer.value)
	if err != nil {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	var list []old
	for len(rest) > batchMagic {
		length := int64(binary.BigEndian.Uint32(rest[batchLength:])) + batchLength + 4
		if length > int64(len(rest)) {
			return errCorrupt
		}
		m, err := oldMessage(rest[:length])
		if err != nil {
			return err
		}
		list = append(list, m)
		rest = rest[length:]
	}
	for _, m := range list {
		if outer.magic >= 1 { // offsets inside are relative
			m.offset += outer.offset - list[len(list)-1].offset
			if outer.appended {
				m.written = outer.written
			}
		}
		r.old(to, m.offset, m)
	}
	return nil
}

// old adds a message as a record.
func (r *reader) old(to *stretch, offset int64, m old) {
	record := []byte{0}
	record = binary.AppendVarint(record, max(m.written, 0))
	record = binary.AppendVarint(record, offset)
	for _, f := range [][]byte{m.key, m.value} {
		n := int64(len(f))
		if f == nil {
			n = -1
		}
		record = append(binary.AppendVarint(record, n), f...)
	}
	record = append(record, 0) // headers
	to.data = append(binary.AppendVarint(to.data, int64(len(record))), record...)
}

// old is a message of the formats before batches.
type old struct {
	offset     int64
	magic      byte
	codec      sarama.CompressionCodec
	appended   bool
	written    int64
	key, value []byte
}

func oldMessage(b []byte) (m old, err error) {
	order := binary.BigEndian
	if len(b) < batchMagic+2 || b[batchMagic] > 1 || crc32.ChecksumIEEE(b[batchMagic:]) != order.Uint32(b[12:]) {
		return m, errCorrupt
	}
	m.offset, m.magic = int64(order.Uint64(b)), b[batchMagic] //nolint:gosec // as the protocol has it
	m.codec = sarama.CompressionCodec(b[batchMagic+1] & attributeCodec)
	m.appended = b[batchMagic+1]&attributeAppended != 0
	rest := b[batchMagic+2:]
	if m.magic == 1 {
		if len(rest) < 8 {
			return m, errCorrupt
		}
		m.written, rest = int64(order.Uint64(rest)), rest[8:] //nolint:gosec // as the protocol has it
	}
	for _, f := range []*[]byte{&m.key, &m.value} {
		if len(rest) < 4 {
			return m, errCorrupt
		}
		n := int64(int32(order.Uint32(rest))) //nolint:gosec // as the protocol has it
		rest = rest[4:]
		switch {
		case n > int64(len(rest)):
			return m, errCorrupt
		case n >= 0:
			*f, rest = rest[:n:n], rest[n:]
		}
	}
	return m, nil
}
