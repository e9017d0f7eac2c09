package kafka

import "slices"

// What of a claim was fetched and not given waits here, as bytes. The session's mutex guards it.

// A sight is the first record that is pending, within its fetch.
type sight struct {
	offset, written int64
	record          []byte // nil: it was not looked at
	parts           parts
	length          int // with what is before it
}

// add takes in what was read. It is called with the lock.
func (c *claim) add(h *haul) {
	c.pending = append(c.pending, h)
	c.pendingBytes += h.size
	c.session.wake.Poke()
}

// look finds the first record that is pending; nil if there is none.
func (c *claim) look() *sight {
	if c.sight.record != nil {
		return &c.sight
	}
	for len(c.pending) > 0 {
		h := c.pending[0]
		switch {
		case len(h.stretches) == 0:
			c.pending[0] = nil
			if c.pending = c.pending[1:]; len(c.pending) == 0 {
				c.pending = nil
			}
			c.used(h)
			continue
		case len(h.stretches[0].data) == 0:
			h.stretches = h.stretches[1:]
			continue
		}
		if !c.sight.of(&h.stretches[0]) {
			c.spoil()
			return nil
		}
		if c.sight.offset >= c.due {
			return &c.sight
		}
		c.pass()
	}
	return nil
}

// of looks at the first record of a stretch; false if it is damaged.
func (s *sight) of(b *stretch) bool {
	rest, record, ok := shift(b.data)
	if !ok {
		return false
	}
	s.parts, ok = split(record)
	if !ok || !eachHeader(s.parts.headers, nil) {
		return false
	}
	s.record, s.length = record, len(b.data)-len(rest)
	s.offset = b.first + s.parts.offset
	switch s.written = b.written; {
	case b.written < 0:
		s.written = 0
	case !b.appended:
		s.written += s.parts.written
	}
	return true
}

// pass goes past the record that was looked at.
func (c *claim) pass() {
	b := &c.pending[0].stretches[0]
	b.data = b.data[c.sight.length:]
	c.pendingBytes -= c.sight.length
	c.due = max(c.due, c.sight.offset+1)
	c.sight.record = nil
}

// spoil gives up what is pending, as its first record is damaged. It is fetched again
// after a while; nothing is skipped.
func (c *claim) spoil() {
	c.session.conn.config.Logger.Warn("waybill: a kafka record cannot be read, trying again",
		"topic", c.topic, "partition", c.partition, "from", c.due, "error", errCorrupt)
	c.pending, c.pendingBytes = nil, 0
	c.from = c.due
	if c.line != nil {
		c.line.seek(c, true)
	}
}

// room is a buffer of n bytes for a fetch.
func (c *claim) room(n int) []byte {
	for len(c.spare) > 0 {
		b := c.spare[len(c.spare)-1]
		c.spare = c.spare[:len(c.spare)-1]
		if cap(b) >= n {
			return b[:n]
		}
	}
	if share := int(c.session.share()); n > share/2 && n < share {
		return make([]byte, n, share)
	}
	return make([]byte, n)
}

// used takes a haul that was given. Those before the last of them stay no longer: what is
// undone of them is copied out.
func (c *claim) used(h *haul) {
	if c.given = append(c.given, h); h.undone == 0 {
		c.free(h)
	}
	if len(c.given) <= givenHauls {
		return
	}
	oldest := c.given[0]
	for ; c.young != nil && (c.young.haul == nil || c.young.haul == oldest); c.young = c.young.next {
		c.young.keep()
	}
	if oldest.undone == 0 {
		c.free(oldest)
	}
}

// Of so many hauls that were given a part may be undone.
const givenHauls = 2

// free keeps a haul's buffer for another fetch, if that is not too large for the usual ones.
func (c *claim) free(h *haul) {
	c.given = slices.DeleteFunc(c.given, func(g *haul) bool { return g == h })
	if !c.ending && len(c.spare) < givenHauls && cap(h.buffer) <= int(c.session.share()) {
		c.spare = append(c.spare, h.buffer)
	}
}

// let lets go of an entry's record.
func (c *claim) let(e *entry) {
	e.record = nil
	h := e.haul
	if h == nil {
		return
	}
	e.haul = nil
	if h.undone--; h.undone == 0 && slices.Contains(c.given, h) {
		c.free(h)
	}
}
