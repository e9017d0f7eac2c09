package deadletter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Policy is what Redrive brings back, where to, and how fast.
type Policy struct {
	// Filter picks the letters. The zero value picks all.
	Filter Filter
	// Complete, unless nil, puts in what a letter does not tell, such as the Source and Group of
	// a broker's own dead letter, before it is looked at.
	Complete func(*Letter)
	// Publisher opens a topic that letters go back to; it is asked once for each. An error
	// leaves that topic's letters where they are.
	Publisher func(ctx context.Context, source, group string) (pubsub.Publisher, error)
	// Limit is how many are brought back at most; zero: all.
	Limit int
	// Rate is how many a second; zero: as fast as it goes.
	Rate float64
	// Quiet is how long nothing more must come until it is done; default 5 s, and where the
	// broker does not tell a backlog, longer than a lease. Where it tells that more waits than
	// came, as after a redrive that was killed, that is waited for: up to a minute.
	Quiet time.Duration
	// Window is how many letters are held at most, of those that the filter does not pick:
	// behind them nothing is seen. Default 10,000.
	Window int
	// Progress, unless nil, is told the report so far, by one goroutine at a time.
	Progress func(Report)
	// Failed, unless nil, is told of letters that could not be brought back, by one
	// goroutine at a time.
	Failed func(Letter, error)
}

// Report is what a Redrive did.
type Report struct {
	// Redriven letters are confirmed where they failed, and settled here.
	Redriven int `json:"redriven"`
	// Skipped letters were not picked, or were beyond Limit.
	Skipped int `json:"skipped"`
	// Again is how many died once more in the meantime. They stay.
	Again int `json:"again"`
	// Failed letters could not be published. They stay.
	Failed int `json:"failed"`
	// Behind is how many stay because an earlier one of their key does.
	Behind int `json:"behind"`
	// Full says that the window was full of letters that stay, so that there may be more.
	Full bool `json:"full"`
}

// The defaults of Policy.
const (
	defaultWindow = 10_000
	windowBytes   = 256 << 20
	burst         = 100 // letters under way
)

// Redrive brings letters of a dead-letter topic back to where they failed, until no more come
// or ctx ends: then it finishes what it has begun and returns the context's cause. In a
// topic that is ordered, a letter that stays holds back the later ones of its key; in
// another, letters go back in the order in which the broker gives them.
//
// A letter is settled after its publishing was confirmed. If the process dies in between, it
// is brought back again by the next Redrive: at least once, as everything here. A broker that
// drops duplicates sees by HeaderRedriven that it is none of the message's first publishing.
//
// The options are those that the topic is opened with, without pubsub.Queue. Unless they say
// otherwise, the topic is not declared: one that is missing is CodeNotFound.
func Redrive(ctx context.Context, client *pubsub.Client, topic string, policy Policy, options ...pubsub.TopicOption) (Report, error) {
	if err := policy.fill(); err != nil {
		return Report{}, fmt.Errorf("redrive %s: %w", topic, err)
	}
	r := &redrive{policy: policy, run: strings.ToLower(rand.Text()[:10]), doors: map[string]door{}, stay: map[uint64]bool{}}
	subscription, err := client.Subscriber(ctx, topic, pubsub.Queue(), pubsub.Topology(pubsub.Verify), pubsub.TopicOptions(options...), pubsub.DropPermanent(),
		pubsub.InFlight(policy.Window, windowBytes), pubsub.Concurrency(1), pubsub.MaxHandling(longestStay))
	if err != nil {
		return Report{}, err
	}
	caps := client.Capabilities()
	if r.hold = caps.Hold; r.hold == 0 {
		r.hold = time.Minute // what the engine holds where nothing is known
	}
	r.calm = newCalm(policy.Quiet, &caps)
	err = r.receive(ctx, subscription)
	return r.report, errors.Join(err, subscription.Close(context.WithoutCancel(ctx)))
}

func (p *Policy) fill() error {
	switch {
	case p.Publisher == nil:
		return driver.Errorf(driver.CodeInvalid, "Policy.Publisher is nil")
	case p.Limit < 0 || p.Rate < 0 || p.Quiet < 0 || p.Window < 0:
		return driver.Errorf(driver.CodeInvalid, "Limit, Rate, Quiet and Window must not be negative")
	}
	if p.Window == 0 {
		p.Window = defaultWindow
	}
	return nil
}

// redrive is one run. Its handler runs once at a time.
type redrive struct {
	policy Policy
	run    string
	hold   time.Duration // the broker's longest
	calm   *calm
	ended  <-chan struct{} // closed when the run ends

	report Report
	doors  map[string]door // where letters go, by source and group
	stay   map[uint64]bool // letters that stay, so that each is counted once
	next   time.Time       // when the rate allows one more
}

// A door is an opened topic, or why it could not be opened.
type door struct {
	pubsub.Publisher
	err error
}

func (r *redrive) receive(ctx context.Context, subscription *pubsub.Subscription) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	r.ended = running.Done()
	watched := make(chan pubsub.Flights, 1)
	go func() {
		defer stop()
		watched <- r.calm.await(running, subscription)
	}()
	err := subscription.ReceiveBatch(running, pubsub.BatchPolicy{Messages: min(burst, r.policy.Window)}, r.handle)
	stop()
	left := <-watched
	r.report.Behind = max(left.Messages-left.Held-left.Running, 0)
	r.report.Full = left.Messages >= r.policy.Window || left.Bytes >= windowBytes
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

var (
	errStays  = errors.New("it stays a dead letter")
	errNotNow = errors.New("the redrive ends")
)

// handle brings back those of a batch that are to be.
func (r *redrive) handle(ctx context.Context, batch []*pubsub.Delivery) []error {
	r.calm.disturb()
	defer r.calm.settle()
	verdicts := make([]error, len(batch))
	fates := make([]error, len(batch))
	letters := make([]Letter, len(batch))
	var under sync.WaitGroup
	sent := 0
	for i, d := range batch {
		letters[i] = Read(d)
		l := &letters[i]
		out, verdict := r.judge(ctx, l, sent)
		if out == nil {
			verdicts[i] = verdict
			continue
		}
		sent++
		under.Add(1)
		out.PublishAsync(ctx, l.revived(r.run), func(err error) {
			fates[i] = err
			under.Done()
		})
	}
	under.Wait()
	for i := range batch {
		switch {
		case verdicts[i] != nil:
		case fates[i] == nil:
			r.report.Redriven++
		default:
			verdicts[i] = r.fails(&letters[i], fates[i])
		}
	}
	if r.policy.Progress != nil {
		r.policy.Progress(r.report)
	}
	return verdicts
}

// judge decides about a letter: where it goes, or as what it stays. sent are those of the
// batch that go before it.
func (r *redrive) judge(ctx context.Context, l *Letter, sent int) (pubsub.Publisher, error) {
	if r.over() {
		return nil, pubsub.Postpone(0, errNotNow)
	}
	if r.policy.Complete != nil {
		r.policy.Complete(l)
	}
	switch {
	case l.Headers[HeaderRun] == r.run:
		return nil, r.stays(l, &r.report.Again)
	case !r.policy.Filter.Picks(l), r.policy.Limit > 0 && r.report.Redriven+sent >= r.policy.Limit:
		return nil, r.stays(l, &r.report.Skipped)
	}
	d := r.door(ctx, l)
	if d.err != nil {
		return nil, r.fails(l, d.err)
	}
	if !r.pace() {
		return nil, pubsub.Postpone(0, errNotNow)
	}
	return d.Publisher, nil
}

func (r *redrive) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// pace waits until the rate allows one more; false if the run ends before.
func (r *redrive) pace() bool {
	if r.policy.Rate == 0 {
		return true
	}
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	timer := time.NewTimer(r.next.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ended:
		return false
	}
	r.next = r.next.Add(time.Duration(float64(time.Second) / r.policy.Rate))
	return true
}

// door opens where a letter goes, once.
func (r *redrive) door(ctx context.Context, l *Letter) door {
	name := l.Source + "\x00" + l.Group
	d, ok := r.doors[name]
	if !ok {
		d.Publisher, d.err = r.policy.Publisher(ctx, l.Source, l.Group)
		r.doors[name] = d
	}
	return d
}

func (r *redrive) fails(l *Letter, err error) error {
	before := r.report.Failed
	verdict := r.stays(l, &r.report.Failed)
	if r.policy.Failed != nil && r.report.Failed > before {
		r.policy.Failed(*l, err)
	}
	return verdict
}

// longestStay is how long a letter that stays is held here at most. Some brokers allow less.
const longestStay = 12 * time.Hour

// stays counts a letter that stays, the first time that it comes, and holds it until the
// run has ended.
func (r *redrive) stays(l *Letter, count *int) error {
	if print := fingerprint(l); !r.stay[print] {
		r.stay[print] = true
		*count++
	}
	// It comes again in between, so that the last of its time here is not cut.
	return pubsub.Postpone(min(longestStay, r.hold)/2, errStays)
}
