package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

func TestLengths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rest       time.Duration
		partitions int
		to         int32
		more       bool
	}{
		{999 * time.Millisecond, 20, 0, false}, {-time.Hour, 20, 0, false}, {time.Hour, 0, 0, false},
		{time.Second, 20, 0, true}, {1999 * time.Millisecond, 20, 0, true}, {2 * time.Second, 20, 1, true},
		{time.Hour, 20, 11, true}, {time.Hour, 5, 4, true}, {driver.Unlimited, 20, 19, true},
	} {
		if to, more := length(c.rest, c.partitions); to != c.to || more != c.more {
			t.Errorf("%v of %d: %d, %t; want %d, %t", c.rest, c.partitions, to, more, c.to, c.more)
		}
	}
	began := time.UnixMilli(1_000_000)
	for _, c := range []struct {
		partition   int32
		delay, over time.Duration
	}{
		{0, time.Second, time.Second}, {0, 1500 * time.Millisecond, 1500 * time.Millisecond},
		{1, 3 * time.Second, 2 * time.Second}, {1, 2900 * time.Millisecond, 2900 * time.Millisecond},
		{19, 30 * 24 * time.Hour, 1 << 19 * time.Second},
	} {
		p := delayed(&sarama.ConsumerMessage{Timestamp: began}, began.Add(c.delay), 1)
		m := &sarama.ConsumerMessage{Partition: c.partition, Timestamp: began, Headers: p.copied.Headers}
		if got := over(m, began).Sub(began); got != c.over {
			t.Errorf("%v in partition %d is over after %v, want %v", c.delay, c.partition, got, c.over)
		}
	}
	if at := over(&sarama.ConsumerMessage{}, began); !at.Equal(began) {
		t.Error("a stranger's message is kept waiting")
	}
}

// A delayed message comes to its group alone, not too early, as it was, with its attempts
// counted, though everybody was away meanwhile.
func TestDelayedRetries(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.DelayFrom = time.Second
	b := set(t, c)
	other := *b
	other.request.Group = "other"
	must(t, b.conn.Declare(t.Context(), other.request))
	writer := stranger(b)
	must(t, writer.ProduceSync(t.Context(),
		&kgo.Record{Key: []byte("k"), Value: []byte("long"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}},
		&kgo.Record{Value: []byte("short")}, &kgo.Record{Value: []byte("done")},
	).FirstErr())
	s := b.join()
	got := b.take(s, 3)
	published := map[string]time.Time{}
	for i := range got {
		published[string(got[i].Body)] = got[i].PublishTime
	}
	b.settle(s, driver.Keep, got[0])
	began := time.Now()
	delays := map[string]time.Duration{"long": 3200 * time.Millisecond, "short": time.Second}
	batch := []driver.Settlement{
		{Receipt: &got[0].Receipt, Verb: driver.Retry, Delay: delays["long"]}, {Receipt: &got[1].Receipt, Verb: driver.Retry, Delay: delays["short"]},
		{Receipt: &got[2].Receipt, Verb: driver.Ack},
	}
	s.Settle(t.Context(), batch)
	for i := range batch {
		if batch[i].Outcome == driver.Lost || batch[i].OutcomeErr != nil {
			t.Errorf("%s is %s: %v", got[i].Body, batch[i].Outcome, batch[i].OutcomeErr)
		}
	}
	must(t, s.Close(t.Context()))
	if n, err := b.conn.Backlog(t.Context(), b.request); err != nil || n.Ready != 2 {
		t.Errorf("the backlog is %+v, %v; want 2", n, err)
	}
	s = b.beside(c).join()
	attempts := map[string]int{"long": 3, "short": 2}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var in driver.Intake
	for len(attempts) > 0 && ctx.Err() == nil { // each is looked at when it comes, be it with the other
		in.Reset()
		must(t, s.Receive(ctx, &in))
		for i := range in.Deliveries {
			d := &in.Deliveries[i]
			name := string(d.Body)
			if early := delays[name] - time.Since(began); early > 0 {
				t.Errorf("%s came %v too early", name, early)
			}
			if d.Attempt != attempts[name] {
				t.Errorf("%s is attempt %d, want %d", name, d.Attempt, attempts[name])
			}
			if !d.PublishTime.Equal(published[name]) {
				t.Errorf("%s was published at %v, want %v", name, d.PublishTime, published[name])
			}
			if name == "long" && (d.Key != "k" || !maps.Equal(d.Headers, map[string]string{"h": "v"})) {
				t.Errorf("it is %+v", d.Message)
			}
			delete(attempts, name)
			b.settle(s, driver.Ack, *d)
		}
	}
	must(t, s.Close(t.Context()))
	third := other.join()
	other.settle(third, driver.Ack, other.take(third, 3)...)
	other.none(third)
	must(t, third.Close(t.Context()))
}

// What is due and what is new take turns with the credit, however much there is of either,
// and each delivery takes as much of it as it gives back.
func TestDueMessagesTakeTurns(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.DelayFrom = time.Second
	b := set(t, c)
	d, _ := b.conn.delaysOf(&b.request)
	const each = 50
	writer := stranger(b)
	for range each {
		must(t, writer.ProduceSync(t.Context(),
			&kgo.Record{Key: []byte("k"), Value: []byte("new")},
			&kgo.Record{Topic: d.due, Key: []byte("k"), Value: []byte("due"), Headers: []kgo.RecordHeader{{Key: attemptsHeader, Value: []byte("1")}}},
		).FirstErr())
	}
	opened, err := b.conn.Subscribe(t.Context(), b.request)
	must(t, err)
	s := opened.(*joint)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, of := range []*session{s.own, s.due} {
		for !of.waits() && ctx.Err() == nil {
			wait(ctx, 20*time.Millisecond)
		}
	}
	seen := map[string]int{}
	bytes := 0
	for seen["new"]+seen["due"] < 2*each {
		s.Credit(1, 1000)
		var in driver.Intake
		must(t, s.Receive(ctx, &in))
		for i := range in.Deliveries {
			seen[string(in.Deliveries[i].Body)]++
			bytes += in.Deliveries[i].Size()
			b.settle(s, driver.Ack, in.Deliveries[i])
		}
		if ahead := seen["new"] - seen["due"]; max(ahead, -ahead) > 5 {
			t.Fatalf("%v: one of them waits for the other", seen)
		}
	}
	if got, want := s.own.bytes+s.due.bytes, 2*each*1000-bytes; got != want || s.own.messages+s.due.messages != 0 {
		t.Errorf("%d messages and %d bytes are left, want none and %d", s.own.messages+s.due.messages, got, want)
	}
	must(t, s.Close(t.Context()))
}

// waits says whether something was fetched that nobody has.
func (s *session) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.order, func(c *claim) bool { return c.pendingBytes > 0 })
}

// A broadcast on a connection with delays has its retries wait here.
func TestBroadcastBesideDelays(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.DelayFrom = time.Second
	client, err := pubsub.New(t.Context(), wired(t, c))
	must(t, err)
	defer client.Close(t.Context())
	topic, err := client.Publisher(t.Context(), "broadcast-"+rand.Text())
	must(t, err)
	s, err := client.Subscriber(t.Context(), topic.Name(), pubsub.Broadcast(), pubsub.DropPermanent(), pubsub.Concurrency(1))
	must(t, err)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	const delay = 1500 * time.Millisecond
	var failed time.Time
	received := make(chan error, 1)
	go func() {
		received <- s.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
			switch {
			case d.Attempt == 2:
				if early := delay - time.Since(failed); early > 0 {
					t.Errorf("it came %v too early", early)
				}
				stop()
			case failed.IsZero():
				failed = time.Now()
				return pubsub.RetryAfter(delay, errors.New("as the test wants"))
			}
			return nil
		})
	}()
	for ctx.Err() == nil { // it reads from when it has begun
		must(t, topic.Publish(t.Context(), &pubsub.Message{}))
		wait(ctx, 50*time.Millisecond)
	}
	if must(t, <-received); !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("it did not come again")
	}
}

// TestConformanceWithDelays runs the kit where delays are the brokers'.
func TestConformanceWithDelays(t *testing.T) {
	pubsubtest.Run(t, onFake(t, func(c *Config) { c.DelayFrom = time.Second }))
}

// TestDelaysThroughCuts has the connections of both topics' readers cut while messages flow.
func TestDelaysThroughCuts(t *testing.T) {
	t.Parallel()
	c := spread(brokers.Kafka(t))
	c.DelayFrom = time.Second
	l := wired(t, c)
	pubsubtest.Storm{
		Driver: l, Topic: "delays-" + rand.Text(), Strikes: 5, Unordered: true,
		SubscriberOptions: []pubsub.SubscriberOption{pubsub.Use(failing)},
		Fault: func(ctx context.Context) error {
			for range 5 {
				l.cut()
				wait(ctx, 300*time.Millisecond)
			}
			return nil
		},
	}.Run(t)
}

// failing has one in a hundred messages come again later, twice.
func failing(next pubsub.Handler) pubsub.Handler {
	return func(ctx context.Context, d *pubsub.Delivery) error {
		if d.Attempt < 3 && len(d.Body) > 1 && string(d.Body[len(d.Body)-2:]) == "77" {
			return pubsub.RetryAfter(time.Second+time.Duration(d.Attempt)*time.Second, errors.New("as the test wants"))
		}
		return next(ctx, d)
	}
}

func TestDelayedIsNeverEarly(t *testing.T) {
	t.Parallel()
	for _, due := range []time.Time{time.UnixMilli(1000), time.UnixMilli(1000).Add(1), time.UnixMilli(1001).Add(-1)} {
		p := delayed(&sarama.ConsumerMessage{}, due, 1)
		var got time.Time
		for _, h := range p.copied.Headers {
			if string(h.Key) == dueHeader {
				n, err := strconv.ParseInt(string(h.Value), 10, 64)
				must(t, err)
				got = time.UnixMilli(n)
			}
		}
		if early := due.Sub(got); early > 0 || early <= -time.Millisecond {
			t.Errorf("what is due at %v comes at %v", due, got)
		}
	}
}
