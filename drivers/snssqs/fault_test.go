package snssqs_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/pubsub"
)

// patience is how long a test waits for what must happen, shorter than a lease of 30 s.
const patience = 25 * time.Second

func client(t testing.TB, url string) *pubsub.Client {
	t.Helper()
	c, err := pubsub.Open(t.Context(), url, quiet, quick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeClient(t, c) })
	return c
}

var (
	quiet = pubsub.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	quick = pubsub.ReconnectBackoff(pubsub.Backoff{Min: 5 * time.Millisecond, Max: 100 * time.Millisecond})
)

func closeClient(t testing.TB, c *pubsub.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func unique(of string) string { return "wb-" + strings.ToLower(rand.Text()[:10]) + "-" + of }

// ledger notes what was handled, by key.
type ledger struct {
	mu    sync.Mutex
	order map[string][]int
	seen  map[string]int
	total int
	left  int
	done  chan struct{}
}

func newLedger(n int) *ledger {
	return &ledger{order: map[string][]int{}, seen: map[string]int{}, left: n, done: make(chan struct{})}
}

// took notes a message "KEY NUMBER". Only what is new counts for order.
func (l *ledger) took(d *pubsub.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	body := string(d.Body)
	if l.seen[body]++; l.seen[body] > 1 {
		return
	}
	var key string
	var n int
	_, _ = fmt.Sscan(body, &key, &n)
	l.order[key] = append(l.order[key], n)
	if l.left--; l.left == 0 {
		close(l.done)
	}
}

// TestFaults publishes and receives while one request in four of every kind fails in one
// way. Nothing is lost, and a key's messages come for the first time in their order.
func TestFaults(t *testing.T) {
	t.Parallel()
	url := start(t)
	for name, f := range map[string]fault{
		"throttled": throttle, "broken": broken, "answers-lost": cut, "partial": partial, "expired": expired, "stale": stale,
	} {
		for kind, k := range map[string]struct{ ordered, queue bool }{"queue": {true, true}, "events": {true, false}, "standard": {false, true}} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				p, _ := behind(t, url)
				storm(t, p, f, k.ordered, k.queue)
			})
		}
	}
}

func storm(t *testing.T, p *proxy, f fault, ordered, queue bool) {
	t.Helper()
	const keys, each = 4, 25
	c, topic := renewing(t, p), unique("storm")
	var options []pubsub.TopicOption
	if ordered {
		options = append(options, pubsub.Ordered())
	}
	subscriber := []pubsub.SubscriberOption{pubsub.DropPermanent(), pubsub.Lease(3 * time.Second), pubsub.RetryBackoff(pubsub.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond})}
	if queue {
		options = append(options, pubsub.Queue())
	} else {
		subscriber = append(subscriber, pubsub.Group("g"))
	}
	subscriber = append(subscriber, pubsub.TopicOptions(options...))
	s, err := c.Subscriber(t.Context(), topic, subscriber...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Publisher(t.Context(), topic, pubsub.TopicOptions(options...))
	if err != nil {
		t.Fatal(err)
	}
	p.play(func(action string, n int) fault {
		switch action {
		case "SendMessageBatch", "PublishBatch", "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch":
			if n%4 == 1 {
				return f
			}
		}
		return none
	})
	l := newLedger(keys * each)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var calls atomic.Int32
	go func() {
		ended <- s.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
			if calls.Add(1)%10 == 0 {
				return fmt.Errorf("every tenth fails")
			}
			l.took(d)
			return nil
		})
	}()
	for n := range each {
		for k := range keys {
			key := fmt.Sprint("key", k)
			out.PublishAsync(t.Context(), &pubsub.Message{ID: fmt.Sprint(key, "-", n), Key: key, Body: fmt.Appendf(nil, "%s %d", key, n)}, func(err error) {
				if err != nil {
					t.Errorf("publish: %v", err)
				}
			})
		}
	}
	select {
	case <-l.done:
	case <-time.After(90 * time.Second):
		l.mu.Lock()
		t.Errorf("%d messages did not come", l.left)
		l.mu.Unlock()
	}
	p.play(nil)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Receive: %v", err)
	}
	for key, got := range l.order {
		for i, n := range got {
			if n != i && ordered {
				t.Fatalf("%s came in the order %v", key, got)
			}
		}
	}
}

// TestStaleReceipt has the broker refuse a delete: the message comes again and is not
// lost.
func TestStaleReceipt(t *testing.T) {
	t.Parallel()
	p, url := behind(t, start(t))
	c, topic := client(t, url), unique("stale")
	s, err := c.Subscriber(t.Context(), topic, pubsub.Queue(), pubsub.DropPermanent(), pubsub.Lease(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Publisher(t.Context(), topic, pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	p.play(func(action string, n int) fault {
		if action == "DeleteMessageBatch" && n == 1 {
			return stale
		}
		return none
	})
	seen := make(chan int, 10)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
			seen <- d.Attempt
			return nil
		})
	}()
	if err := out.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 2; want++ {
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("attempt %d, want %d", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("attempt %d did not come", want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// rotating are credentials that are others each time that they are fetched.
type rotating struct{ n atomic.Int32 }

func (r *rotating) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: fmt.Sprint("KEY", r.n.Add(1)), SecretAccessKey: "secret"}, nil
}

// renewing is a client through a proxy whose credentials can be fetched again.
func renewing(t *testing.T, p *proxy) *pubsub.Client {
	t.Helper()
	d, err := snssqs.New(snssqs.Config{Region: "us-east-1", Endpoint: p.URL, Credentials: &rotating{}, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c, err := pubsub.New(t.Context(), d, quiet, quick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeClient(t, c) })
	return c
}

// TestExpiredCredentials: others are fetched when the broker says that theirs time is
// over, and publishing goes on.
func TestExpiredCredentials(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, start(t))
	c := renewing(t, p)
	out, err := c.Publisher(t.Context(), unique("expired"), pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	p.play(func(action string, n int) fault {
		if action == "SendMessageBatch" && n == 1 {
			return expired
		}
		return none
	})
	if err := out.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys["KEY1"] == 0 || p.keys["KEY2"] == 0 {
		t.Errorf("requests by key: %v; want the second key after the first had expired", p.keys)
	}
}

// TestAccessDenied names the action and what it was on.
func TestAccessDenied(t *testing.T) {
	t.Parallel()
	p, url := behind(t, start(t))
	c := client(t, url)
	for action, want := range map[string]string{"CreateQueue": "sqs:CreateQueue", "GetQueueAttributes": "sqs:GetQueueAttributes"} {
		p.play(func(a string, _ int) fault {
			if a == action {
				return denied
			}
			return none
		})
		name := unique("denied")
		_, err := c.Publisher(t.Context(), name, pubsub.Queue())
		if pubsub.CodeOf(err) != pubsub.CodePermissionDenied || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is denied: %v", action, err)
		}
	}
	p.play(nil)
	reading, err := c.Subscriber(t.Context(), unique("denied"), pubsub.Queue(), pubsub.DropPermanent())
	if err != nil {
		t.Fatal(err)
	}
	p.play(func(a string, _ int) fault {
		if a == "ReceiveMessage" {
			return denied
		}
		return none
	})
	err = reading.Receive(t.Context(), func(context.Context, *pubsub.Delivery) error { return nil })
	if pubsub.CodeOf(err) != pubsub.CodePermissionDenied || !strings.Contains(err.Error(), "sqs:ReceiveMessage on queue") {
		t.Errorf("receiving is denied: %v", err)
	}
	p.play(nil)
	topic := unique("denied")
	out, err := c.Publisher(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	p.play(func(string, int) fault { return denied })
	err = out.Publish(t.Context(), &pubsub.Message{Body: []byte("x")})
	if pubsub.CodeOf(err) != pubsub.CodePermissionDenied || !strings.Contains(err.Error(), "sns:Publish") || !strings.Contains(err.Error(), topic) {
		t.Errorf("publish is denied: %v", err)
	}
	p.play(nil)
}
