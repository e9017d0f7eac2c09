package memory

import "sync/atomic"

// A journal is what was published to a topic, in order. Publishers add to its end, with
// the topic's lock; each group reads it without, from where it began: they work beside
// one another, and a message is written once for all groups. What all have read is
// garbage.
type journal struct {
	last     *segment
	messages atomic.Int64 // that were ever added
	bytes    atomic.Int64
}

// A segment is a piece of a journal. The last one stays when it was read, so its size
// is bounded.
type segment struct {
	messages [segmentMessages]*stored
	count    atomic.Int32 // of messages; it grows no more once there is a next
	next     atomic.Pointer[segment]
	bytes    int
}

const (
	segmentMessages = 32
	segmentBytes    = 64 << 10
)

func (j *journal) add(s *stored) {
	n := j.last.count.Load()
	if n == segmentMessages || j.last.bytes > segmentBytes {
		next := &segment{}
		j.last.next.Store(next)
		j.last, n = next, 0
	}
	j.last.messages[n] = s
	j.last.bytes += s.size
	j.last.count.Store(n + 1)
	j.messages.Add(1)
	j.bytes.Add(int64(s.size))
}

// end is where what is added from now on is read.
func (j *journal) end() cursor { return cursor{j.last, int(j.last.count.Load())} }

// A cursor reads a journal.
type cursor struct {
	segment *segment
	at      int
}

// next reads a message; nil if there is none yet.
func (c *cursor) next() *stored {
	for {
		next := c.segment.next.Load()
		if c.at < int(c.segment.count.Load()) {
			c.at++
			return c.segment.messages[c.at-1]
		}
		if next == nil {
			return nil
		}
		*c = cursor{segment: next}
	}
}
