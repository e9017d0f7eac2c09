package memory

// A lane is one key of an ordered topic: its entries are with one session at a time.
type lane struct {
	key    string
	list   list     // ready
	holder *session // has some of it out; nil: nobody has
	out    int      // how many
	shut   *entry   // delayed, and the others wait behind it

	next, prev *lane
	queue      *queue // group.open or holder.lanes; nil: there is nothing for anybody
}

// A queue of lanes, each in one queue at most.
type queue struct{ first, last *lane }

func (q *queue) push(l *lane) {
	l.queue, l.prev = q, q.last
	if q.last == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

// leave takes a lane out of its queue, if it is in one.
func (l *lane) leave() {
	q := l.queue
	if q == nil {
		return
	}
	if l.prev == nil {
		q.first = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.next, l.prev, l.queue = nil, nil, nil
}
