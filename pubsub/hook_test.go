package pubsub_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// facts notes what hooks are told.
type facts struct {
	mu       sync.Mutex
	handled  []string
	settled  []string
	kinds    []driver.Kind
	dead     []error
	attached []any
}

func (f *facts) OnPublish(i pubsub.PublishInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kinds = append(f.kinds, i.Kind)
}

func (f *facts) OnHandle(i pubsub.HandleInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handled = append(f.handled, fmt.Sprint(i.Delivery.Attempt, " ", i.Verdict))
	f.dead = append(f.dead, i.Delivery.DeadLettered())
}

func (f *facts) OnSettle(i pubsub.SettleInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled = append(f.settled, fmt.Sprint(i.Delivery.Attempt, " ", i.Verb, " ", i.Took))
	f.attached = append(f.attached, i.Delivery.Value(attempted{}))
}

type attempted struct{}

// A Keep may be carried out when the next attempt has begun.
func TestSettleHookSeesTheAttemptThatItIsAbout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &facts{}
		b := newScripted(driver.Capabilities{Hold: time.Hour})
		r := receiveWith(t, b.client(t, pubsub.Observe(f)), b, func(_ context.Context, d *pubsub.Delivery) error {
			d.SetValue(attempted{}, d.Attempt)
			if d.Attempt == 1 {
				return pubsub.RetryAfter(time.Second, errBoom)
			}
			time.Sleep(time.Hour)
			return nil
		})
		r.session.settles = func(*driver.Settlement) { time.Sleep(time.Minute) }
		r.session.give(1, driver.Message{})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := strings.Join(f.settled, ", "); got != "1 keep 1m0s, 2 ack 1m0s" {
			t.Errorf("settled: %s", got)
		}
		if got := fmt.Sprint(f.attached); got != "[1 2]" {
			t.Errorf("values of the attempts: %s", got)
		}
		r.end(nil)
	})
}

func TestHooksTellDeadLettersFromSuccess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &facts{}
		b := newScripted(driver.Capabilities{Hold: time.Hour, Attempts: driver.Exact})
		c := b.client(t, pubsub.Observe(f))
		take := pubsub.DeadLetterMiddleware{Middleware: func(next pubsub.Handler) pubsub.Handler {
			return func(ctx context.Context, d *pubsub.Delivery) error {
				if verdict, _ := pubsub.VerdictOf(next(ctx, d)); verdict == pubsub.VerdictRetry {
					return errBoom
				}
				return nil
			}
		}}
		r := receiveAs(t, c, b, func(_ context.Context, d *pubsub.Delivery) error {
			if string(d.Body) == "bad" {
				return errBoom
			}
			return nil
		}, pubsub.Group("g"), take, pubsub.MaxAttempts(2), pubsub.Concurrency(1))
		r.session.give(1, driver.Message{Body: []byte("good")}, driver.Message{Body: []byte("bad")})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := strings.Join(f.handled, ", "); got != "1 done, 1 retry, 2 done" {
			t.Errorf("handled: %s", got)
		}
		if len(f.dead) != 3 || f.dead[0] != nil || f.dead[1] != nil || f.dead[2] == nil {
			t.Errorf("dead-lettered: %v, want the last alone", f.dead)
		}
		r.end(nil)
	})
}

func TestPublishMiddlewareForATopic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &facts{}
		b := newScripted(driver.Capabilities{})
		named := pubsub.PublishMiddlewareFor(func(topic *pubsub.Topic) pubsub.PublishMiddleware {
			if topic.Kind() == driver.Event {
				return nil
			}
			return func(next pubsub.PublishFunc) pubsub.PublishFunc {
				return func(ctx context.Context, m *pubsub.Message, done func(error)) {
					m.Body = []byte(topic.Name())
					next(ctx, m, done)
				}
			}
		})
		c := b.client(t, pubsub.Observe(f), pubsub.PublisherDefaults(named))
		for _, options := range [][]pubsub.PublisherOption{nil, {pubsub.Queue()}} {
			topic, err := c.Publisher(t.Context(), "tasks", options...)
			if err != nil {
				t.Fatal(err)
			}
			if err := topic.Publish(t.Context(), &pubsub.Message{Body: []byte("as it is")}); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprintf("%v %v", b.sent(), f.kinds); got != "[[as it is] [tasks]] [event queue]" {
			t.Errorf("sent %s", got)
		}
		if _, err := c.Publisher(t.Context(), "t", pubsub.PublishMiddlewareFor(nil)); pubsub.CodeOf(err) != pubsub.CodeInvalid {
			t.Errorf("nil middleware: %v", err)
		}
		closeAll(t, c)
	})
}

func TestFlightsAndBacklogOfSubscriptions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker, err := memory.New(memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := pubsub.New(t.Context(), broker)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Subscriber(t.Context(), "t", pubsub.Queue(), pubsub.DropPermanent(), pubsub.Concurrency(1), pubsub.InFlight(2, 0), pubsub.Ordered())
		if err != nil {
			t.Fatal(err)
		}
		broadcast, err := c.Subscriber(t.Context(), "other", pubsub.Broadcast(), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		if list := c.Subscriptions(); len(list) != 2 || list[0] != s || list[1] != broadcast {
			t.Errorf("subscriptions %v", list)
		}
		topic := open(t, c, pubsub.Queue(), pubsub.Ordered())
		for range 5 {
			if err := topic.Publish(t.Context(), &pubsub.Message{Body: []byte("12345")}); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Flights(); got != (pubsub.Flights{}) {
			t.Errorf("before Receive: %+v", got)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- s.Receive(ctx, func(ctx context.Context, _ *pubsub.Delivery) error { <-pubsub.Draining(ctx); return nil })
		}()
		synctest.Wait()
		if got := s.Flights(); got != (pubsub.Flights{Messages: 2, Bytes: 10, Running: 1}) {
			t.Errorf("while it receives: %+v", got)
		}
		if got, err := s.Backlog(t.Context()); err != nil || got.Ready != 3 || got.Unsettled != 2 {
			t.Errorf("backlog %+v, %v", got, err)
		}
		if _, err := broadcast.Backlog(t.Context()); pubsub.CodeOf(err) != pubsub.CodeUnsupported {
			t.Errorf("backlog of a broadcast: %v", err)
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		closeAll(t, c)
	})
}

// What a dead-letter middleware takes before its handler is dead-lettered too.
func TestHooksSeeWhatIsDeadLetteredUnhandled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &facts{}
		b := newScripted(driver.Capabilities{Hold: time.Hour})
		c := b.client(t, pubsub.Observe(f))
		take := pubsub.DeadLetterMiddleware{Middleware: func(next pubsub.Handler) pubsub.Handler {
			return func(ctx context.Context, d *pubsub.Delivery) error {
				if string(d.Body) == "parked" {
					return nil
				}
				return next(ctx, d)
			}
		}}
		r := receiveAs(t, c, b, func(_ context.Context, d *pubsub.Delivery) error {
			if d.Attempt == 1 && string(d.Body) == "late" {
				return errBoom
			}
			return nil
		}, pubsub.Group("g"), take, pubsub.Concurrency(1))
		r.session.give(1, driver.Message{}, driver.Message{Body: []byte("parked")}, driver.Message{Body: []byte("late")})
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(f.dead) != 4 || f.dead[0] != nil || f.dead[1] == nil || f.dead[2] != nil || f.dead[3] != nil {
			t.Errorf("dead-lettered: %v, want the second alone", f.dead)
		}
		r.end(nil)
	})
}
