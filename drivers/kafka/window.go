package kafka

import (
	"slices"
)

// An entry is a message of a claim that was given to the engine and is not done, or
// that the claim's last owner left undone.
type entry struct {
	claim    *claim
	record   []byte // nil until it was read again, and once it is done
	haul     *haul  // that record is a part of; nil: of none
	offset   int64
	written  int64  // Unix milliseconds; zero: nobody says
	attempts int    // that failed
	tag      uint64 // of its delivery; zero: it is not with the engine
	done     bool

	prev, next *entry
}

// A window is the undone messages of a claim, in the order of their offsets. Between
// them, up to head, all is done: it takes room for what is undone alone, however far
// the slowest is behind.
type window struct {
	first, last *entry
	young       *entry // from here on some may be part of a haul
	head        int64  // the next message to give
	bytes       int    // that the undone take in a note
	out         int    // with the engine
}

// base is what is committed: all before it is done.
func (w *window) base() int64 {
	if w.first != nil {
		return w.first.offset
	}
	return w.head
}

// push adds the message at head.
func (w *window) push(e *entry) {
	if e.prev = w.last; e.prev != nil {
		e.prev.next = e
	} else {
		w.first = e
	}
	if w.last = e; w.young == nil {
		w.young = e
	}
	w.head = e.offset + 1
	w.bytes += w.cost(e)
}

// remove takes out what is done.
func (w *window) remove(e *entry) {
	w.bytes -= w.cost(e)
	if e.next != nil {
		w.bytes -= w.cost(e.next)
	}
	if w.young == e {
		w.young = e.next
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		w.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
		w.bytes += w.cost(e.next)
	} else {
		w.last = e.prev
	}
	e.prev, e.next = nil, nil
}

// cost is what an entry takes in a note. The first takes one byte, as its distance
// from the base is zero.
func (w *window) cost(e *entry) int {
	if e.prev == nil {
		return 1
	}
	return cost(e.offset, e.prev.offset)
}

// fits says whether the message at an offset still fits into the note.
func (w *window) fits(offset int64, capacity int) bool {
	if w.last == nil {
		return true
	}
	return w.bytes+cost(offset, w.last.offset) <= capacity
}

// note says what a commit's metadata has to.
func (w *window) note(open bool) note {
	n := note{base: w.base(), head: w.head, open: open}
	for e := w.first; e != nil; e = e.next {
		n.undone = append(n.undone, undone{e.offset, e.attempts})
	}
	return n
}

// adopt takes over what the last owner noted. The messages themselves are still to
// be read.
func (w *window) adopt(c *claim, n *note) {
	for _, u := range n.undone {
		w.push(&entry{claim: c, offset: u.offset, attempts: u.attempts})
	}
	w.head = n.head
	c.expected = w.first
}

// insert puts an entry into a list in the order of offsets.
func insert(list []*entry, e *entry) []*entry {
	i, _ := slices.BinarySearchFunc(list, e, func(a, b *entry) int { return int(a.offset - b.offset) })
	return slices.Insert(list, i, e)
}
