package pubsub

// A line is the messages of one key where few of them may be with the broker at a
// time (Capabilities.SendsPerKey). A message holds a slot from when it joins the
// queue until it is finished, so that one that came back keeps its followers
// behind it.
type line struct {
	slots   int // taken
	waiting []*outgoing
}

// lineUp says whether a message may join the queue now; else it waits in its line.
func (b *batcher) lineUp(o *outgoing) bool {
	key := o.message[0].Key
	if b.lines == nil || key == "" {
		return true
	}
	l := b.lines[key]
	if l == nil {
		l = &line{}
		b.lines[key] = l
	}
	if l.slots >= b.topic.caps.SendsPerKey {
		l.waiting = append(l.waiting, o)
		return false
	}
	l.slots++
	o.slotted = true
	return true
}

// leaveLine gives the slot of a finished message to the next in its line.
func (b *batcher) leaveLine(o *outgoing) {
	if !o.slotted {
		return
	}
	o.slotted = false
	key := o.message[0].Key
	l := b.lines[key]
	if l == nil {
		return // the lines were cleared
	}
	for len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if next.place == finished {
			b.stale--
			continue
		}
		next.slotted = true
		b.queue = append(b.queue, next)
		return
	}
	if l.slots--; l.slots == 0 {
		delete(b.lines, key)
	}
}
