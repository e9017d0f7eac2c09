package kafka

import (
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// An outlet is what publishing sends to one broker over: several requests may be under way.
// The leader's goroutine sends; while there is an answer to come, another one reads.
type outlet struct {
	pipe *pipe
	over chan struct{} // closed when it has failed

	mu     sync.Mutex
	err    error
	posts  []*post // whose answers are to come
	reader sync.WaitGroup
	reads  bool
	rests  time.Time // until when the broker wants nothing
}

// A post is a request that was sent.
type post struct {
	number   int32
	batches  []*batch
	answered func()
}

func newOutlet(c *Config, address string) *outlet {
	return &outlet{pipe: newPipe(c, address, 2*c.Timeout), over: make(chan struct{})}
}

// leads says whether it still leads to an address.
func (o *outlet) leads(address string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err == nil && o.pipe.broker.Addr() == address
}

// end closes it. What has no answer gets none.
func (o *outlet) end(why error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = why
		close(o.over)
	}
	o.mu.Unlock()
	o.pipe.close()
}

// send sends a request. It is called by one goroutine at a time.
func (o *outlet) send(batches []*batch, answered func()) {
	err := o.ready()
	sent := err == nil
	if sent {
		s := scribes.Get().(*scribe)
		o.pipe.number++
		if err = s.request(o.pipe.config, o.pipe.number, batches); err == nil {
			err = o.pipe.send(s.out)
		}
		s.done()
	}
	if err != nil {
		o.end(err)
	} else if err = o.expect(&post{o.pipe.number, batches, answered}); err == nil {
		return
	}
	fail(batches, sent, err)
	answered()
}

// ready waits until the broker wants a request, and sarama has no need of the connection.
func (o *outlet) ready() error {
	o.mu.Lock()
	rest := time.Until(o.rests)
	o.mu.Unlock()
	if rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-o.over:
		}
	}
	if !o.pipe.due() {
		return nil
	}
	o.reader.Wait()
	return o.pipe.renew()
}

// expect has the answer to a request read, unless the outlet failed meanwhile.
func (o *outlet) expect(p *post) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	o.posts = append(o.posts, p)
	if !o.reads {
		o.reads = true
		o.reader.Go(o.read)
	}
	return nil
}

// next is the request whose answer comes next; nil if none is to come. The error is the
// outlet's.
func (o *outlet) next() (*post, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reads = len(o.posts) > 0; !o.reads {
		return nil, o.err
	}
	p := o.posts[0]
	o.posts[0] = nil
	o.posts = o.posts[1:]
	return p, o.err
}

// read reads answers as long as there are any to come.
func (o *outlet) read() {
	for p, err := o.next(); p != nil; p, err = o.next() {
		var rest time.Duration
		if err == nil {
			if rest, err = o.pipe.receive(p.number).produced(p.batches); err != nil {
				o.end(err)
			}
		}
		if err != nil {
			fail(p.batches, true, err)
		}
		if rest > 0 {
			o.mu.Lock()
			o.rests = time.Now().Add(rest)
			o.mu.Unlock()
		}
		p.answered()
	}
}

// produced reads the rest of an answer, and what it says of each batch. It returns how long the
// broker wants nothing.
func (a *frame) produced(batches []*batch) (time.Duration, error) {
	fail(batches, true, sarama.ErrIncompleteResponse)
	for topics := a.count(); topics > 0 && a.err == nil; topics-- {
		topic := string(a.take(int(a.int16())))
		for partitions := a.count(); partitions > 0 && a.err == nil; partitions-- {
			partition, k := a.int32(), sarama.KError(a.int16())
			a.take(3 * 8) // the first record's offset, its time, where the log begins
			for _, b := range batches {
				if b.partition != partition || b.topic != topic {
					continue
				}
				if b.err = nil; k != sarama.ErrNoError {
					b.err = k
				}
			}
		}
	}
	rest := time.Duration(a.int32()) * time.Millisecond
	if a.err == nil && a.left != 0 {
		a.err = errFrame
	}
	return rest, a.err
}
