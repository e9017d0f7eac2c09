package pubsub

import (
	"context"
	"log/slog"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// committer has a session's accepted settlements brought to the broker, where they are
// committed: one commit at a time, and what is accepted meanwhile goes with the next.
// Nobody waits for it but the end of the session. Where commits do not come through,
// no more than commitsAhead times what may be in flight is accepted without them.
type committer struct {
	session *session
	driver  driver.Committer
	wake    driver.Wake
	done    chan struct{} // closed when run has ended

	// The receiver's mutex guards these.
	accepted  int // settlements so far
	committed int // of them
	hurried   bool
	flushing  bool
}

const commitsAhead = 16

// newCommitter returns nil where settlements are not committed.
func newCommitter(s *session) *committer {
	to, ok := s.incarnation.(driver.Committer)
	if !ok || !s.caps.SettleCommits {
		return nil
	}
	c := &committer{session: s, driver: to, wake: driver.NewWake(), done: make(chan struct{})}
	go c.run()
	return c
}

// accept counts settlements that were accepted. A commit that would wait for company
// does not where nothing is under way here that would bring it. It is called with the lock.
func (c *committer) accept(n int) {
	c.accepted += n
	if s := c.session; s.active == 0 && s.ready.count == 0 {
		c.hurried = true
	}
	c.wake.Poke()
}

// behind says whether too much was accepted without a commit. It is called with the lock.
func (c *committer) behind() bool {
	return c != nil && c.accepted-c.committed >= commitsAhead*c.session.config.limit.Messages
}

// run ends when the session does, or when all is flushed.
func (c *committer) run() {
	defer close(c.done)
	s := c.session
	failures := 0
	for s.ctx.Err() == nil {
		asked, ended := c.next()
		switch {
		case ended:
			return
		case asked == 0:
			continue
		}
		if err := c.driver.Commit(s.ctx); err != nil {
			level := slog.LevelDebug // a group that shares its partitions anew takes one of the next
			if failures++; failures > 3 {
				level = slog.LevelWarn
			}
			s.log.Log(s.ctx, level, "waybill: the broker did not take a commit, trying again", "times", failures, "settlements", asked, "error", err)
			_ = wait(s.ctx, settleBackoff.Delay(failures), nil)
			continue
		}
		failures = 0
		s.mu.Lock()
		c.committed += asked
		s.mu.Unlock()
		s.settler.wake.Poke() // credit may wait for it
	}
}

// next waits for what is to be committed, and counts it. It has ended when all that
// was to be flushed is.
func (c *committer) next() (asked int, ended bool) {
	s := c.session
	var linger *time.Timer
	for s.ctx.Err() == nil {
		s.mu.Lock()
		asked = c.accepted - c.committed
		now := c.hurried || c.flushing || s.settler.batch.Linger <= 0 || c.behind()
		flushed := c.flushing && asked == 0
		if asked > 0 && now {
			c.hurried = false
		}
		s.mu.Unlock()
		if flushed {
			return 0, true
		}
		if asked > 0 && now {
			return asked, false
		}
		var timeout <-chan time.Time
		if asked > 0 {
			if linger == nil {
				linger = time.NewTimer(s.settler.batch.Linger)
				defer linger.Stop()
			}
			timeout = linger.C
		}
		select {
		case <-c.wake:
		case <-timeout:
			return asked, false
		case <-s.ctx.Done():
		}
	}
	return 0, false
}

// flush waits, within ctx, until everything is committed, and ends run.
func (c *committer) flush(ctx context.Context) {
	if c == nil {
		return
	}
	c.session.mu.Lock()
	c.flushing = true
	c.session.mu.Unlock()
	c.wake.Poke()
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

// halt waits until run has ended, with the session.
func (c *committer) halt() {
	if c != nil {
		<-c.done
	}
}
