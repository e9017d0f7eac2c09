package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Storm has thousands of messages on their way through a real broker while a fault
// strikes: publishers wait and go on, nothing is lost, the order of each key is kept,
// what comes twice was in flight, and no goroutine stays. Driver and Fault must be set.
type Storm struct {
	// Driver connects to the broker.
	Driver driver.Driver
	// Fault strikes while messages flow, mends what it broke, and returns. Where it fails, the
	// storm ends with its error.
	Fault func(ctx context.Context) error
	// Strikes is how often the fault takes messages back at most; default 1. It bounds
	// what may come twice.
	Strikes int
	// Topic is the topic's name, which no other test uses.
	Topic string
	// Unordered is for brokers or topics without order: that alone is not looked at.
	Unordered bool
	// TopicOptions go with the topic, SubscriberOptions with each of the two members.
	TopicOptions      []pubsub.TopicOption
	SubscriberOptions []pubsub.SubscriberOption
	// Keys is how many keys there are; default 20.
	Keys int
	// Rounds is how many messages of each key there are at least; default 200. More follow
	// for as long as the fault lasts.
	Rounds int
	// Pace is the time from one round to the next; default 4 ms.
	Pace time.Duration
	// InFlight bounds messages without their outcomes, at the publisher and at each member;
	// default 500.
	InFlight int
	// Patience is how long after the fault everything must have arrived; default 60 s. It bounds
	// publishing, arriving and closing, each.
	Patience time.Duration
}

func (s Storm) withDefaults() Storm {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	set(&s.Strikes, 1)
	set(&s.Keys, 20)
	set(&s.Rounds, 200)
	set(&s.InFlight, 500)
	if s.Pace == 0 {
		s.Pace = 4 * time.Millisecond
	}
	if s.Patience == 0 {
		s.Patience = time.Minute
	}
	return s
}

// ledger is what was published and handled, by key.
type ledger struct {
	storm     Storm
	t         testing.TB
	mu        sync.Mutex
	published []int
	next      []int // first successes, in order; or how many, without order
	seen      []map[int]bool
	twice     int
	handled   int
	refused   int
	open      int         // messages without their outcomes
	abandoned bool        // the fault failed: what follows from that is not told
	patience  *time.Timer // for publishing to go on after the fault
	changed   driver.Wake
}

// Run carries the storm out. It logs how much came twice.
func (s Storm) Run(t testing.TB) {
	t.Helper()
	s = s.withDefaults()
	if s.Driver == nil || s.Fault == nil || s.Topic == "" {
		t.Fatal("pubsubtest: Storm needs Driver, Fault and Topic")
	}
	ours := newFamily()
	s.run(t)
	var left []string
	if !until(s.Patience, func() bool { left = ours.alive(); return len(left) == 0 }) {
		t.Errorf("goroutines are left:\n%s", strings.Join(left, "\n\n"))
	}
}

func (s Storm) run(t testing.TB) {
	l := &ledger{storm: s, t: t, published: make([]int, s.Keys), next: make([]int, s.Keys), seen: make([]map[int]bool, s.Keys), changed: driver.NewWake()}
	for i := range l.seen {
		l.seen[i] = map[int]bool{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := pubsub.New(ctx, s.Driver, pubsub.Logger(slog.New(slog.DiscardHandler)),
		pubsub.ReconnectBackoff(pubsub.Backoff{Min: 20 * time.Millisecond, Max: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), s.Patience)
		defer cancel()
		if err := c.Close(closing); err != nil {
			t.Errorf("close client: %v", err)
		}
	}()
	options := s.TopicOptions
	if !s.Unordered {
		options = append([]pubsub.TopicOption{pubsub.Ordered()}, options...)
	}
	var members sync.WaitGroup
	defer members.Wait()
	defer cancel()
	for range 2 {
		m, err := c.Subscriber(ctx, s.Topic, append([]pubsub.SubscriberOption{
			pubsub.TopicOptions(options...), pubsub.Group("g"), pubsub.DropPermanent(), pubsub.InFlight(s.InFlight, 0),
		}, s.SubscriberOptions...)...)
		if err != nil {
			t.Error(err)
			return
		}
		members.Go(func() {
			if err := m.Receive(ctx, l.handle); err != nil {
				t.Errorf("receive: %v", err)
			}
		})
	}
	p, err := c.Publisher(ctx, s.Topic, pubsub.TopicOptions(options...), pubsub.PublishLimit(s.InFlight, 0))
	if err != nil {
		t.Error(err)
		return
	}
	if l.publish(ctx, p) {
		l.arrive(ctx)
	}
}

// publish publishes rounds, with the fault in their midst, until it is over and each message
// has its outcome. It says whether all were published.
func (l *ledger) publish(ctx context.Context, p *pubsub.Topic) bool {
	s := l.storm
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer func() { l.patience.Stop() }()
	l.patience = time.AfterFunc(time.Hour, func() {
		cancel(fmt.Errorf("publishers still wait %v after the fault", s.Patience))
	})
	struck := make(chan error, 1)
	l.rounds(ctx, p, struck, func() {
		err := s.Fault(ctx)
		l.patience.Reset(s.Patience)
		if err != nil {
			l.abandon()
			err = fmt.Errorf("fault: %w", err)
		}
		struck <- err
		if err != nil {
			cancel(err)
		}
	})
	l.mu.Lock()
	abandoned := l.abandoned
	l.mu.Unlock()
	if abandoned {
		l.t.Error(<-struck)
		return false
	}
	return l.conclude(ctx)
}

// rounds publishes them, and starts the fault.
func (l *ledger) rounds(ctx context.Context, p *pubsub.Topic, struck chan error, fault func()) {
	pace := time.NewTicker(l.storm.Pace)
	defer pace.Stop()
	last := -1 // the last round, once the fault is over
	for n := 0; n < l.storm.Rounds || last < 0 || n <= last; n++ {
		if n == l.storm.Rounds/4 {
			go fault()
		}
		for key := range l.storm.Keys {
			l.mu.Lock()
			l.published[key]++
			l.open++
			l.mu.Unlock()
			p.PublishAsync(ctx, &pubsub.Message{Key: strconv.Itoa(key), Body: []byte(strconv.Itoa(n))}, l.outcome)
		}
		select {
		case err := <-struck:
			if last = n + 20; err != nil {
				struck <- err
				return
			}
		case <-pace.C:
		case <-ctx.Done():
			return
		}
	}
}

// abandon ends the looking at outcomes: without the broker there is nothing to be seen.
func (l *ledger) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandoned = true
}

// outcome notes one. The first few that are failures tell why.
func (l *ledger) outcome(err error) {
	l.mu.Lock()
	l.open--
	told := err != nil && !l.abandoned && l.refused < 3
	if err != nil {
		l.refused++
	}
	l.mu.Unlock()
	l.changed.Poke()
	if told {
		l.t.Errorf("publish: %v", err)
	}
}

// conclude waits until all messages have their outcomes, and says whether all were published.
func (l *ledger) conclude(ctx context.Context) bool {
	for {
		l.mu.Lock()
		open, refused := l.open, l.refused
		l.mu.Unlock()
		if open == 0 {
			return refused == 0
		}
		select {
		case <-l.changed:
		case <-ctx.Done():
			l.t.Errorf("%d messages have no outcome: %v", open, context.Cause(ctx))
			return false
		}
	}
}

var errOfTheStorm = errors.New("as the storm wants")

// handle notes a delivery. Some fail at first.
func (l *ledger) handle(_ context.Context, d *pubsub.Delivery) error {
	key, err := strconv.Atoi(d.Key)
	if err != nil {
		return pubsub.Permanent(err)
	}
	n, err := strconv.Atoi(string(d.Body))
	if err != nil {
		return pubsub.Permanent(err)
	}
	if (n+key)%97 == 0 && d.Attempt == 1 {
		return pubsub.RetryAfter(10*time.Millisecond, errOfTheStorm)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.seen[key][n]:
		l.twice++
	case !l.storm.Unordered && n != l.next[key]:
		l.t.Errorf("key %d: %d succeeded before %d", key, n, l.next[key])
		fallthrough
	default:
		l.seen[key][n] = true
		l.next[key]++
		l.handled++
	}
	l.changed.Poke()
	return nil
}

// arrive waits until everything was handled, and looks at what came twice.
func (l *ledger) arrive(ctx context.Context) {
	total := 0
	for _, n := range l.published {
		total += n
	}
	timeout := time.NewTimer(l.storm.Patience)
	defer timeout.Stop()
	for {
		l.mu.Lock()
		handled, twice, missing := l.handled, l.twice, l.missing()
		l.mu.Unlock()
		if handled >= total {
			l.t.Logf("%d messages, %d of them twice", total, twice)
			if most := l.storm.Strikes * 3 * l.storm.InFlight; twice > most {
				l.t.Errorf("%d messages came twice; at most %d were in flight", twice, most)
			}
			return
		}
		select {
		case <-l.changed:
		case <-ctx.Done():
			return
		case <-timeout.C:
			l.t.Errorf("%d of %d messages were handled within %v of the fault; missing %s", handled, total, l.storm.Patience, missing)
			return
		}
	}
}

// missing names the first that is not there of some keys.
func (l *ledger) missing() string {
	var list []string
	for key, n := range l.published {
		for i := range n {
			if !l.seen[key][i] && len(list) < 5 {
				list = append(list, fmt.Sprintf("%d of key %d", i, key))
				break
			}
		}
	}
	return strings.Join(list, ", ")
}
