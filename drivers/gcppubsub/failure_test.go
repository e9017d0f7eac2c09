package gcppubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// TestOrderOverFailures has every third request fail, stored or not: each key's
// messages are stored in order for the first time, one request of a key at a time.
func TestOrderOverFailures(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var mu sync.Mutex
	busy := map[string]bool{}
	var n atomic.Int32
	f.onPublish = func(r *pubsubpb.PublishRequest) (bool, error) {
		key := r.Messages[0].OrderingKey
		mu.Lock()
		for _, m := range r.Messages {
			if m.OrderingKey != key {
				t.Errorf("keys %q and %q in one request", key, m.OrderingKey)
			}
		}
		if busy[key] {
			t.Errorf("two requests of key %q at a time", key)
		}
		busy[key] = true
		mu.Unlock()
		defer func() {
			mu.Lock()
			busy[key] = false
			mu.Unlock()
		}()
		switch n.Add(1) % 6 {
		case 2:
			return false, status.Error(codes.Unavailable, "as the test wants")
		case 4:
			return true, status.Error(codes.DeadlineExceeded, "as the test wants")
		default:
			return true, nil
		}
	}
	ctx := t.Context()
	client, err := pubsub.New(ctx, from(t, f.url(), ""), quiet, pubsub.ReconnectBackoff(pubsub.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond}))
	must(t, err)
	p, err := client.Publisher(ctx, "orders", pubsub.Ordered())
	must(t, err)
	const keys, each = 7, 60
	for i := range each {
		for k := range keys {
			p.PublishAsync(ctx, &pubsub.Message{Key: strconv.Itoa(k), Body: []byte(strconv.Itoa(i))}, func(err error) {
				if err != nil {
					t.Errorf("publish: %v", err)
				}
			})
		}
	}
	closing(t, client)
	next := map[string]int{}
	for _, m := range f.log {
		if i, _ := strconv.Atoi(string(m.Data)); i == next[m.OrderingKey] {
			next[m.OrderingKey]++
		} else if i > next[m.OrderingKey] {
			t.Fatalf("key %s: %d was stored before %d", m.OrderingKey, i, next[m.OrderingKey])
		}
	}
	for k := range keys {
		if next[strconv.Itoa(k)] != each {
			t.Errorf("key %d: %d of %d were stored", k, next[strconv.Itoa(k)], each)
		}
	}
}

// TestStreamsAndAcksFail breaks the stream again and again, and fails acknowledgements:
// handlers keep their messages, each is handled once, and all are acknowledged.
func TestStreamsAndAcksFail(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	acks := 0
	f.onAck = func([]string) error {
		acks++
		switch acks {
		case 1, 4:
			return status.Error(codes.Unavailable, "as the test wants")
		case 2:
			return status.Error(codes.DeadlineExceeded, "as the test wants")
		}
		return nil
	}
	ctx := t.Context()
	client, err := pubsub.New(ctx, from(t, f.url(), ""), quiet)
	must(t, err)
	defer closing(t, client)
	s, err := client.Subscriber(ctx, "events", pubsub.Group("g"), pubsub.DropPermanent())
	must(t, err)
	p, err := client.Publisher(ctx, "events")
	must(t, err)
	receiving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	got := make(chan string, 1000)
	go func() {
		done <- s.Receive(receiving, func(ctx context.Context, d *pubsub.Delivery) error {
			got <- string(d.Body)
			return ctx.Err()
		})
	}()
	seen := map[string]int{}
	for i := range 60 {
		must(t, p.Publish(ctx, &pubsub.Message{Body: []byte(strconv.Itoa(i))}))
		body := <-got
		seen[body]++
		if i%20 == 10 {
			f.breakStreams()
		}
	}
	stop()
	must(t, <-done)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams < 3 || acks < 5 {
		t.Errorf("%d streams, %d acknowledgements: nothing failed", f.streams, acks)
	}
	for i := range 60 {
		if seen[strconv.Itoa(i)] != 1 || f.acked[fmt.Sprint("ack-", i)] == 0 {
			t.Errorf("message %d was handled %d times, acknowledged %d times", i, seen[strconv.Itoa(i)], f.acked[fmt.Sprint("ack-", i)])
		}
	}
	if w := f.requests[0].MaxOutstandingMessages; w != 1000 {
		t.Errorf("the stream may have %d messages outstanding, want InFlight's 1000", w)
	}
}

// attach opens a session and its topic on a connection of their own, which is closed at the end.
func attach(t *testing.T, f *fake, parameters string, r driver.SubscribeRequest) (driver.Session, driver.Topic) {
	t.Helper()
	conn, err := from(t, f.url(), parameters).Open(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close(context.Background())) })
	must(t, conn.Declare(t.Context(), r))
	session, err := conn.Subscribe(t.Context(), r)
	must(t, err)
	topic, err := conn.Topic(t.Context(), r.TopicRequest)
	must(t, err)
	return session, topic
}

// TestExactlyOnceResults settles three messages of which Google takes one: the others'
// results are theirs alone.
func TestExactlyOnceResults(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.onAck = func([]string) error {
		s, err := status.New(codes.InvalidArgument, "some failed").WithDetails(&errdetails.ErrorInfo{
			Reason: "EXACTLY_ONCE_ACKID_FAILURE", Domain: "pubsub.googleapis.com",
			Metadata: map[string]string{"ack-0": "PERMANENT_FAILURE_INVALID_ACK_ID", "ack-1": "TRANSIENT_FAILURE_SERVICE_UNAVAILABLE"},
		})
		must(t, err)
		f.onAck = nil
		return s.Err()
	}
	ctx := t.Context()
	r := driver.SubscribeRequest{Group: "g"}
	r.Topic = "exact"
	session, topic := attach(t, f, "exactly-once=true", r)
	session.Credit(10, 1<<20)
	topic.Send(ctx, make([]driver.Message, 3), func(int, driver.Fate, error) {})
	var in driver.Intake
	for len(in.Deliveries) < 3 {
		must(t, session.Receive(ctx, &in))
	}
	batch := make([]driver.Settlement, 3)
	for i := range batch {
		batch[i] = driver.Settlement{Receipt: &in.Deliveries[i].Receipt, Verb: driver.Ack}
	}
	session.Settle(ctx, batch)
	if batch[0].Outcome != driver.Lost || batch[1].Outcome != driver.Again || batch[2].Outcome != driver.Again {
		t.Errorf("outcomes are %s, %s, %s; want lost, again, again", batch[0].Outcome, batch[1].Outcome, batch[2].Outcome)
	}
	session.Settle(ctx, batch[1:])
	if batch[1].Outcome != driver.Confirmed || batch[2].Outcome != driver.Confirmed {
		t.Errorf("outcomes are %s, %s; want confirmed", batch[1].Outcome, batch[2].Outcome)
	}
}

// TestQuiesceThatCannotGiveBack fails the return of what was never given: that comes again when
// its lease ends, and takes nothing along. Handlers that run would lose their messages.
func TestQuiesceThatCannotGiveBack(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	returns := 0
	f.onModify = func(_ []string, seconds int32) error {
		if seconds == 0 {
			returns++
			return status.Error(codes.PermissionDenied, "as the test wants")
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := from(t, f.url(), "").Open(ctx)
	must(t, err)
	defer func() { must(t, conn.Close(context.Background())) }()
	r := driver.SubscribeRequest{Group: "g"}
	r.Topic = "events"
	must(t, conn.Declare(ctx, r))
	topic, err := conn.Topic(ctx, r.TopicRequest)
	must(t, err)
	stored := make(chan bool, 3)
	topic.Send(ctx, []driver.Message{{Body: []byte("a")}, {Body: []byte("b")}, {Body: []byte("c")}}, func(_ int, f driver.Fate, _ error) { stored <- f == driver.Stored })
	for range 3 {
		if !<-stored {
			t.Fatal("not stored")
		}
	}
	session, err := conn.Subscribe(ctx, r)
	must(t, err)
	session.Credit(10, 1) // for bytes of one: the others stay there
	var in driver.Intake
	must(t, session.Receive(ctx, &in))
	if len(in.Deliveries) != 1 {
		t.Fatalf("%d were given", len(in.Deliveries))
	}
	must(t, session.Quiesce(ctx))
	if err := session.Receive(ctx, &in); !errors.Is(err, driver.ErrQuiesced) {
		t.Errorf("Receive after Quiesce: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if returns == 0 {
		t.Error("nothing was to be given back")
	}
}

// TestRedeliveryRenewsTheLease gives a message again while its handler runs: it does not
// start twice, and is acknowledged by its newer lease.
func TestRedeliveryRenewsTheLease(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx := t.Context()
	r := driver.SubscribeRequest{Group: "g"}
	r.Topic = "again"
	session, topic := attach(t, f, "", r)
	session.Credit(10, 1<<20)
	stored := make(chan struct{}, 2)
	send := func() {
		topic.Send(ctx, []driver.Message{{Body: []byte("x")}}, func(int, driver.Fate, error) { stored <- struct{}{} })
		<-stored
	}
	send()
	var in driver.Intake
	must(t, session.Receive(ctx, &in))
	f.mu.Lock()
	again := &pubsubpb.PubsubMessage{MessageId: "0", Data: []byte("x")}
	f.log = append(f.log, &record{PubsubMessage: again})
	f.mu.Unlock()
	send() // wakes the stream, behind the other
	first := in.Deliveries[0]
	in.Reset()
	must(t, session.Receive(ctx, &in))
	if len(in.Deliveries) != 1 || len(in.Revocations) != 0 {
		t.Errorf("got %d deliveries, %d revocations; want the new message alone", len(in.Deliveries), len(in.Revocations))
	}
	batch := []driver.Settlement{{Receipt: &first.Receipt, Verb: driver.Ack}}
	session.Settle(ctx, batch)
	if batch[0].Outcome != driver.Sent {
		t.Errorf("outcome is %s, want sent", batch[0].Outcome)
	}
}

// TestRedeliveryWhileItIsBuried gives messages again while they are dead-lettered: those are
// acknowledged by their newer leases; the race detector looks on.
func TestRedeliveryWhileItIsBuried(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx := t.Context()
	r := driver.SubscribeRequest{Group: "g", DeadLetter: &driver.DeadLetter{Topic: "dead"}}
	r.Topic = "poison"
	session, topic := attach(t, f, "", r)
	session.Credit(100, 1<<20)
	const letters = 20
	topic.Send(ctx, make([]driver.Message, letters), func(int, driver.Fate, error) {})
	var in driver.Intake
	for len(in.Deliveries) < letters {
		must(t, session.Receive(ctx, &in))
	}
	f.mu.Lock()
	f.onPublish = func(*pubsubpb.PublishRequest) (bool, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.log) == letters { // the first
			for i := range letters {
				f.log = append(f.log, &record{PubsubMessage: &pubsubpb.PubsubMessage{MessageId: fmt.Sprint(i)}})
			}
			f.change()
		}
		return false, nil
	}
	f.mu.Unlock()
	batch := make([]driver.Settlement, letters)
	for i := range batch {
		batch[i] = driver.Settlement{Receipt: &in.Deliveries[i].Receipt, Verb: driver.Dead}
	}
	session.Settle(ctx, batch)
	for i := range batch {
		if batch[i].Outcome != driver.Sent {
			t.Errorf("outcome %d is %s: %v", i, batch[i].Outcome, batch[i].OutcomeErr)
		}
	}
	must(t, session.Close(ctx))
}
