package pubsub

// gap is what fails with a message that failed: what came after it, up to last.
type gap struct{ failed, last uint64 }

// gaps are the keys of which a message failed while others were with the driver, for as
// long as any of those is. There may always be something with the driver, so messages are
// counted in two shifts: when the older shift has gone its gaps are forgotten, and the
// younger one is the older.
type gaps struct {
	shifts [2]struct {
		failed map[string]gap
		out    int // messages with the driver
	}
	now uint8 // the younger
}

// depart counts a message that is with the driver.
func (s *gaps) depart(o *outgoing) {
	o.shift = s.now
	s.shifts[s.now].out++
}

// arrive is called with its fate.
func (s *gaps) arrive(o *outgoing) {
	s.shifts[o.shift].out--
	s.change()
}

// change has the next shift begin, if there is need of one.
func (s *gaps) change() {
	older := &s.shifts[1-s.now]
	if older.out > 0 {
		return
	}
	clear(older.failed)
	if len(s.shifts[s.now].failed) > 0 {
		s.now = 1 - s.now
	}
}

// add notes a gap in a key.
func (s *gaps) add(key string, g gap) {
	younger := &s.shifts[s.now]
	if earlier, ok := younger.failed[key]; ok {
		g.failed = min(g.failed, earlier.failed)
	}
	if younger.failed == nil {
		younger.failed = map[string]gap{}
	}
	younger.failed[key] = g
}

// hold says whether a message is in the gap of its key.
func (s *gaps) hold(o *outgoing) bool {
	for i := range s.shifts {
		if g, ok := s.shifts[i].failed[o.message[0].Key]; ok && o.seq > g.failed && o.seq <= g.last {
			return true
		}
	}
	return false
}
