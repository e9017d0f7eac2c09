package pubsub

import "time"

// patience is how long a message waits to be sent before its context is watched.
const patience = 100 * time.Millisecond

// patrol has the contexts watched of messages that wait for long, behind a Send
// that does not come back for example. To watch each from the start would cost
// more than to send it. It is one timer, which runs while anything waits.
type patrol struct {
	timer *time.Timer
	armed bool
	until uint64 // the messages up to this one have waited long enough when it rings
}

// walk has a message seen to that has just joined the queue. It is called with the
// lock.
func (b *batcher) walk(o *outgoing) {
	p := &b.patrol
	if p.armed || o.call != nil || o.ctx.Done() == nil {
		return
	}
	p.armed, p.until = true, b.seq
	if p.timer == nil {
		p.timer = time.AfterFunc(patience, b.round)
	} else {
		p.timer.Reset(patience)
	}
}

// round watches what has waited for long.
func (b *batcher) round() {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &b.patrol
	p.armed = false
	if b.quit {
		return
	}
	for o := range b.waiting() {
		if o.seq <= p.until {
			b.watch(o)
		} else if o.unwatch == nil {
			b.walk(o)
		}
	}
}

// stop ends the timer.
func (p *patrol) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
