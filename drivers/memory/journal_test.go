package memory

import (
	"runtime"
	"sync"
	"testing"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// TestJournal: each cursor reads everything once, in order, beside the one who writes.
func TestJournal(t *testing.T) {
	t.Parallel()
	const messages = 10*segmentMessages + 7
	j := &journal{last: &segment{}}
	var readers sync.WaitGroup
	for range 3 {
		at := j.end()
		readers.Go(func() {
			for n := 0; n < messages; {
				s := at.next()
				if s == nil {
					runtime.Gosched()
					continue
				}
				if int(s.published) != n {
					t.Errorf("read %d instead of %d", s.published, n)
					return
				}
				n++
			}
			if s := at.next(); s != nil {
				t.Errorf("read %d after the last", s.published)
			}
		})
	}
	for n := range messages {
		j.add(&stored{published: moment(n), size: 1})
	}
	readers.Wait()
	late := j.end()
	if late.next() != nil {
		t.Error("a cursor at the end read what was before")
	}
}

// TestJournalKeepsLittle: what was read stays only as long as its segment is the last,
// and that holds few bytes.
func TestJournalKeepsLittle(t *testing.T) {
	t.Parallel()
	j := &journal{last: &segment{}}
	for range 100 {
		j.add(&stored{message: driver.Message{Body: make([]byte, segmentBytes)}, size: segmentBytes})
	}
	if n := j.last.count.Load(); n > 2 {
		t.Errorf("the last segment has %d messages of %d bytes", n, segmentBytes)
	}
}
