package memory

// An entry is one message of one group, until it is settled.
type entry struct {
	*stored
	seq      uint64 // its place in the group
	attempts int    // that failed
	lane     *lane  // of its key, in an ordered topic
	place    place
	due      moment // until when it is delayed
	heap     int    // its index among the delayed

	// While it is out:
	session  *session
	tag      uint64
	accepted bool // as handled, until the commit
	since    moment
	deadline moment // zero: none

	next, prev *entry
	list       *list
}

// place is where an entry is.
type place uint8

const (
	free place = iota
	ready
	delayed
	out
)

// A list of entries, each in one list at most.
type list struct {
	first, last *entry
	count       int
}

// insert puts e behind at; nil: in front.
func (l *list) insert(at, e *entry) {
	e.list, e.prev = l, at
	if at == nil {
		e.next, l.first = l.first, e
	} else {
		e.next, at.next = at.next, e
	}
	if e.next == nil {
		l.last = e
	} else {
		e.next.prev = e
	}
	l.count++
}

func (l *list) push(e *entry) { l.insert(l.last, e) }

// restore puts e where its seq belongs. What comes back is old, and so near the front.
func (l *list) restore(e *entry) {
	if l.last == nil || l.last.seq < e.seq {
		l.push(e)
		return
	}
	at := l.first
	for at.seq < e.seq {
		at = at.next
	}
	l.insert(at.prev, e)
}

// lease puts e where its deadline belongs: leases are mostly alike, and so near
// the end.
func (l *list) lease(e *entry) {
	at := l.last
	for at != nil && at.deadline > e.deadline {
		at = at.prev
	}
	l.insert(at, e)
}

func (e *entry) unlink() {
	l := e.list
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.next, e.prev, e.list = nil, nil, nil
	l.count--
}

// delays is a heap of delayed entries, the first due on top.
type delays []*entry

func (d delays) Len() int { return len(d) }
func (d delays) Less(i, j int) bool {
	if d[i].due == d[j].due {
		return d[i].seq < d[j].seq
	}
	return d[i].due < d[j].due
}
func (d delays) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].heap, d[j].heap = i, j
}
func (d *delays) Push(e any) {
	e.(*entry).heap = len(*d)
	*d = append(*d, e.(*entry))
}
func (d *delays) Pop() any {
	last := len(*d) - 1
	e := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return e
}
