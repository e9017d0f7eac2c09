package pubsub

import "slices"

// A line is the messages of one key where few of them may be with the broker at a
// time (Capabilities.SendsPerKey), or where a Send has one key (KeyPerSend). A message
// holds a slot from when it leaves its line until it is finished, so that one that came
// back keeps its followers behind it.
//
// Where a Send has one key, one message leads its line: it waits in the queue for all
// of them. The courier takes those behind it with it, and the next leads when the last
// of these is finished.
type line struct {
	slots   int // taken
	waiting []*outgoing
}

// lineOf finds a key's line, or makes it.
func (b *batcher) lineOf(key string) *line {
	l := b.lines[key]
	if l == nil {
		l = &line{}
		b.lines[key] = l
	}
	return l
}

// lineUp says whether a message may join the queue now; else it waits in its line.
func (b *batcher) lineUp(o *outgoing) bool {
	key := o.message[0].Key
	if b.lines == nil || key == "" && !b.keyed {
		return true
	}
	l := b.lineOf(key)
	if l.slots >= b.perKey {
		l.waiting = append(l.waiting, o)
		return false
	}
	l.slots++
	o.slotted = true
	return true
}

// lineUpAgain puts messages that came back, in their order, in front of their lines.
func (b *batcher) lineUpAgain(back []*outgoing) {
	for _, o := range slices.Backward(back) {
		l := b.lineOf(o.message[0].Key)
		if o.slotted {
			o.slotted = false
			l.slots--
		}
		l.waiting = slices.Insert(l.waiting, 0, o)
	}
	for _, o := range back {
		b.advance(b.lineOf(o.message[0].Key))
	}
}

// leaveLine gives the slot of a message that is finished, or needs none, to the next in
// its line.
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
	l.slots--
	if b.advance(l); l.slots == 0 {
		delete(b.lines, key)
	}
}

// advance lets into the queue as many of a line as there are slots.
func (b *batcher) advance(l *line) {
	for l.slots < b.perKey && len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if next.place == finished {
			b.stale--
			continue
		}
		l.slots++
		next.slotted = true
		b.line(next)
	}
}
