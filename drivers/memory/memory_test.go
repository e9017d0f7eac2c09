package memory_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub/driver"
)

var errCut = errors.New("cut")

func broker(t *testing.T, c memory.Config) *memory.Broker {
	t.Helper()
	b, err := memory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func connect(t *testing.T, d driver.Driver) driver.Conn {
	t.Helper()
	c, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func join(t *testing.T, c driver.Conn, r driver.SubscribeRequest) driver.Session {
	t.Helper()
	s, err := c.Subscribe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.Credit(1000, 1<<30)
	return s
}

func group(topic, name string) driver.SubscribeRequest {
	return driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: topic}, Group: name}
}

// send sends messages and returns the fates told so far.
func send(t *testing.T, c driver.Conn, topic string, messages ...driver.Message) *fates {
	t.Helper()
	s, err := c.Topic(t.Context(), driver.TopicRequest{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	f := &fates{Topic: s}
	s.Send(t.Context(), messages, f.tell)
	return f
}

type fates struct {
	driver.Topic
	mu   sync.Mutex
	told []driver.Fate
}

func (f *fates) tell(_ int, fate driver.Fate, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, fate)
}

func (f *fates) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%v", f.told)
}

func take(t *testing.T, s driver.Session) driver.Intake {
	t.Helper()
	var in driver.Intake
	if err := s.Receive(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestLeaseExpiryIsToldAndCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, broker(t, memory.Config{Lease: time.Hour}))
		s := join(t, c, group("t", "g"))
		send(t, c, "t", driver.Message{})
		first := take(t, s).Deliveries[0]
		began := time.Now()
		in := take(t, s) // the loss and the redelivery come together
		if time.Since(began) != time.Hour || len(in.Revocations) != 1 || in.Revocations[0].Tags[0] != first.Tag ||
			!errors.Is(in.Revocations[0].Cause, driver.ErrLeaseLost) {
			t.Errorf("after %v: %+v", time.Since(began), in.Revocations)
		}
		if d := in.Deliveries[0]; d.Attempt != 2 || d.Tag == first.Tag {
			t.Errorf("attempt %d, tag %d", d.Attempt, d.Tag)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestBacklogMakesSendsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := broker(t, memory.Config{BacklogMessages: 2})
		c := connect(t, b)
		s := join(t, c, group("t", "g"))
		f := send(t, c, "t", make([]driver.Message, 4)...)
		if f.String() != "[stored stored]" {
			t.Errorf("fates %s", f)
		}
		list := take(t, s).Deliveries
		s.Settle(t.Context(), []driver.Settlement{{Receipt: &list[0].Receipt, Verb: driver.Ack}})
		if f.String() != "[stored stored stored]" {
			t.Errorf("fates %s after room for one", f)
		}
		b.Disconnect(errCut)
		if f.String() != "[stored stored stored aborted]" || !errors.Is(f.Err(), errCut) {
			t.Errorf("fates %s, %v after the cut", f, f.Err())
		}
	})
}

func TestDisconnectAndRefuse(t *testing.T) {
	t.Parallel()
	b := broker(t, memory.Config{})
	c := connect(t, b)
	s := join(t, c, group("t", "g"))
	send(t, c, "t", driver.Message{})
	take(t, s)
	b.Refuse(errCut)
	b.Disconnect(nil)
	<-c.Done()
	if driver.CodeOf(c.Err()) != driver.CodeUnavailable {
		t.Errorf("cause %v", c.Err())
	}
	if _, err := b.Open(t.Context()); !errors.Is(err, errCut) {
		t.Errorf("open: %v", err)
	}
	b.Refuse(nil)
	if d := take(t, join(t, connect(t, b), group("t", "g"))).Deliveries[0]; d.Attempt != 2 {
		t.Errorf("attempt %d after a lost connection", d.Attempt)
	}
}

func TestNamesAreSharedWithinABubble(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, raw string) (driver.Conn, error) {
		t.Helper()
		d, err := driver.FromURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		return d.Open(t.Context())
	}
	play := func(t *testing.T) {
		a, err := open(t, "memory://shared?lease=1m")
		if err != nil {
			t.Fatal(err)
		}
		b, err := open(t, "memory://shared?lease=1m")
		if err != nil {
			t.Fatal(err)
		}
		s := join(t, a, group("t", "g"))
		send(t, b, "t", driver.Message{})
		if got := len(take(t, s).Deliveries); got != 1 {
			t.Errorf("%d deliveries", got)
		}
		if _, ok := memory.Named("shared"); !ok {
			t.Error("Named does not find an open broker")
		}
		if _, err := open(t, "memory://shared"); driver.CodeOf(err) != driver.CodeConflict {
			t.Errorf("open with other parameters: %v", err)
		}
		for _, c := range []driver.Conn{a, b, a} {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if _, ok := memory.Named("shared"); ok {
			t.Error("the broker outlives its connections")
		}
	}
	play(t)
	synctest.Test(t, play)
}

func TestConfigMayOnlyTurnDown(t *testing.T) {
	t.Parallel()
	for name, turn := range map[string]func(*driver.Capabilities){
		"Lease":  func(c *driver.Capabilities) { c.Lease *= 2 },
		"Groups": func(c *driver.Capabilities) { c.Attempts = driver.Exact + 1 },
	} {
		if _, err := memory.New(memory.Config{Turn: turn}); driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%s turned up: %v", name, err)
		}
	}
	if _, err := memory.New(memory.Config{BacklogBytes: -1}); driver.CodeOf(err) != driver.CodeInvalid {
		t.Errorf("negative backlog: %v", err)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for raw, ok := range map[string]bool{
		"memory://x": true, "memory://x?like=sqs": true, "memory://x?without=groups,ordered&lease=0s": true,
		"memory://": false, "memory://x/path": false, "memory://user@x": false, "memory://x:1": false,
		"memory://x?like=nats": false, "memory://x?without=everything": false, "memory://x?lease=-1s": false, "memory://x?without=": true,
	} {
		if _, err := driver.FromURL(raw); (err == nil) != ok || err != nil && driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	f.Add("memory://x?lease=1s&like=kafka&without=groups,order")
	f.Add("memory://x?backlog-messages=7;a")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "memory" {
			return
		}
		d, err := driver.FromURL(raw)
		if err != nil {
			if driver.CodeOf(err) != driver.CodeInvalid {
				t.Fatalf("%q: %v has the code %s", raw, err, driver.CodeOf(err))
			}
			return
		}
		c, err := d.Open(t.Context())
		if err != nil {
			return
		}
		_ = c.Close(t.Context())
	})
}

// TestNothingIsLostInAStorm has publishers, members, failures and cut connections
// at once: every message that is stored is acknowledged in the end.
func TestNothingIsLostInAStorm(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered=", ordered), func(t *testing.T) {
			t.Parallel()
			b := broker(t, memory.Config{Lease: 50 * time.Millisecond, BacklogMessages: 50})
			r := group("t", "g")
			r.Ordered = ordered
			if err := connect(t, b).Declare(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			const publishers, each = 4, 500
			var acked sync.Map
			var count atomic.Int32
			done := make(chan struct{})
			var wait sync.WaitGroup
			for p := range publishers {
				wait.Go(func() { storm(ctx, b, r, p, each) })
			}
			for range 3 {
				wait.Go(func() {
					for ctx.Err() == nil && count.Load() < publishers*each {
						work(ctx, b, r, func(body string) {
							if _, again := acked.LoadOrStore(body, true); !again && count.Add(1) == publishers*each {
								close(done)
								cancel()
							}
						})
					}
				})
			}
			wait.Go(func() {
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for range 20 {
					select {
					case <-tick.C:
						b.Disconnect(errCut)
					case <-ctx.Done():
						return
					}
				}
			})
			wait.Wait()
			select {
			case <-done:
			default:
				t.Errorf("%d of %d messages were acknowledged", count.Load(), publishers*each)
			}
		})
	}
}

// storm publishes each of its messages until it is stored.
func storm(ctx context.Context, b *memory.Broker, r driver.SubscribeRequest, publisher, each int) {
	for i := 0; i < each && ctx.Err() == nil; {
		c, err := b.Open(ctx)
		if err != nil {
			return
		}
		topic, err := c.Topic(ctx, r.TopicRequest)
		for err == nil && i < each {
			fate := make(chan driver.Fate, 1)
			m := driver.Message{Key: fmt.Sprint(i % 7), Body: []byte(fmt.Sprint(publisher, "-", i))}
			topic.Send(ctx, []driver.Message{m}, func(_ int, f driver.Fate, _ error) { fate <- f })
			if <-fate != driver.Stored {
				break
			}
			i++
		}
		_ = c.Close(ctx)
	}
}

// work reads until its connection is cut, and settles in all ways.
func work(ctx context.Context, b *memory.Broker, r driver.SubscribeRequest, acked func(string)) {
	c, err := b.Open(ctx)
	if err != nil {
		return
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	s, err := c.Subscribe(ctx, r)
	if err != nil {
		return
	}
	s.Credit(20, 1<<20)
	verbs := []driver.Verb{driver.Ack, driver.Ack, driver.Ack, driver.Retry, driver.Return, driver.Keep}
	var in driver.Intake
	for n := 0; ; {
		if err := s.Receive(ctx, &in); err != nil {
			return
		}
		batch := make([]driver.Settlement, len(in.Deliveries))
		for i := range in.Deliveries {
			n++
			batch[i] = driver.Settlement{Receipt: &in.Deliveries[i].Receipt, Verb: verbs[n%len(verbs)]}
		}
		s.Settle(ctx, batch)
		for i := range batch {
			if batch[i].Verb == driver.Ack && batch[i].Outcome == driver.Confirmed {
				acked(string(in.Deliveries[i].Body))
			}
		}
		s.Credit(len(batch), 1<<10)
		in.Reset()
	}
}
