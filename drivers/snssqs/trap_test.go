package snssqs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// session opens a connection, and a session with credit on a queue topic.
func session(t *testing.T, url string, r driver.SubscribeRequest) (driver.Conn, driver.Session) {
	t.Helper()
	conn, err := drive(t, url).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := conn.Declare(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	s, err := conn.Subscribe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.Credit(1000, 1<<30)
	return conn, s
}

func send(t *testing.T, conn driver.Conn, r driver.TopicRequest, messages ...driver.Message) {
	t.Helper()
	topic, err := conn.Topic(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		told := make(chan error, 1)
		topic.Send(t.Context(), messages[i:i+1], func(_ int, _ driver.Fate, err error) { told <- err })
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
	if err := topic.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, s driver.Session, n int) []driver.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var in driver.Intake
	for len(in.Deliveries) < n {
		if err := s.Receive(ctx, &in); err != nil {
			t.Fatalf("%d of %d: %v", len(in.Deliveries), n, err)
		}
	}
	return in.Deliveries
}

// until looks again and again whether something is so that no event tells of.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("within %v not: %s", patience, what)
		}
	}
}

func queueRequest(name string, ordered bool) driver.SubscribeRequest {
	return driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: name, Kind: driver.Queue, Ordered: ordered}}
}

// TestTail: a retry on FIFO returns its tail; the head comes first, and what never ran
// is not charged for its receipts.
func TestTail(t *testing.T) {
	t.Parallel()
	r := queueRequest(unique("tail"), true)
	conn, s := session(t, start(t), r)
	var messages []driver.Message
	for n := range 4 {
		messages = append(messages, driver.Message{Key: "k", Body: fmt.Append(nil, n)})
	}
	send(t, conn, r.TopicRequest, messages...)
	var retried time.Time
	for round := 1; round <= 3; round++ {
		got := take(t, s, 4)
		if early := time.Until(retried); early > 50*time.Millisecond {
			t.Errorf("round %d came %v early", round, early)
		}
		var bodies []string
		for _, d := range got {
			bodies = append(bodies, string(d.Body))
		}
		if !slices.Equal(bodies, []string{"0", "1", "2", "3"}) {
			t.Fatalf("round %d: got %v", round, bodies)
		}
		if got[0].Attempt != round || got[1].Attempt != 1 || got[3].Attempt != 1 {
			t.Errorf("round %d: attempts %d, %d, %d", round, got[0].Attempt, got[1].Attempt, got[3].Attempt)
		}
		batch := []driver.Settlement{{Receipt: &got[0].Receipt, Verb: driver.Retry, Delay: time.Second}}
		for i := 1; i < 4; i++ {
			batch = append(batch, driver.Settlement{Receipt: &got[i].Receipt, Verb: driver.Return})
		}
		began := time.Now()
		s.Settle(t.Context(), batch)
		for i := range batch {
			if batch[i].Outcome != driver.Confirmed {
				t.Errorf("outcome %s: %v", batch[i].Outcome, batch[i].OutcomeErr)
			}
		}
		retried = began.Add(time.Second)
	}
}

// TestNativeDeadLetter moves a message after its attempts, on standard and FIFO, from
// where retries go to the broker and from where they are held.
func TestNativeDeadLetter(t *testing.T) {
	t.Parallel()
	url := start(t)
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered=", ordered), func(t *testing.T) {
			t.Parallel()
			c, topic := client(t, url), unique("poison")
			options := []pubsub.TopicOption{pubsub.Queue()}
			if ordered {
				options = append(options, pubsub.Ordered())
			}
			s, err := c.Subscriber(t.Context(), topic, pubsub.TopicOptions(options...), pubsub.NativeDeadLetter(topic+"-dead", 3),
				pubsub.RetryBackoff(pubsub.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
			if err != nil {
				t.Fatal(err)
			}
			dead, err := c.Subscriber(t.Context(), topic+"-dead", pubsub.Queue(), pubsub.DropPermanent())
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Publisher(t.Context(), topic, pubsub.TopicOptions(options...))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			var calls, letters []int
			var letter *pubsub.Delivery
			var wait sync.WaitGroup
			wait.Go(func() {
				_ = s.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
					calls = append(calls, d.Attempt)
					return errors.New("always")
				})
			})
			came := make(chan struct{})
			wait.Go(func() {
				_ = dead.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
					letters, letter = append(letters, d.Attempt), d
					close(came)
					return nil
				})
			})
			if err := out.Publish(t.Context(), &pubsub.Message{ID: "id", Key: "key", Headers: map[string]string{"h": "v"}, Body: []byte{0, 1}}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-came:
			case <-time.After(patience):
				t.Error("no dead letter")
			}
			stop()
			wait.Wait()
			if !slices.Equal(calls, []int{1, 2, 3}) || len(letters) != 1 {
				t.Fatalf("attempts %v, dead letters %v", calls, letters)
			}
			if letter.ID != "id" || letter.Key != "key" || letter.Headers["h"] != "v" || string(letter.Body) != "\x00\x01" ||
				letter.Headers["dead-letter-attempts"] != "3" || !strings.Contains(letter.Headers["dead-letter-reason"], "always") {
				t.Errorf("letter %+v", letter.Message)
			}
		})
	}
}

// TestCrashLoopOnFIFO: what members die of is buried on FIFO too, where SQS cannot
// move it to a standard queue.
func TestCrashLoopOnFIFO(t *testing.T) {
	t.Parallel()
	url := start(t)
	amazon := rawClients(t, url)
	r := queueRequest(unique("crash"), true)
	r.DeadLetter = &driver.DeadLetter{Topic: r.Topic + "-dead", MaxAttempts: 1}
	conn, s := session(t, url, r)
	send(t, conn, r.TopicRequest, driver.Message{Key: "k", Body: []byte("killer")})
	queue, err := amazon.sqs.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String(r.Topic + ".fifo")})
	if err != nil {
		t.Fatal(err)
	}
	for range 11 {
		out, err := amazon.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 5})
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("%d messages, error %v", len(out.Messages), err)
		}
		if _, err := amazon.sqs.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{
			QueueUrl: queue.QueueUrl, ReceiptHandle: out.Messages[0].ReceiptHandle, VisibilityTimeout: 0,
		}); err != nil {
			t.Fatal(err)
		}
	}
	var in driver.Intake
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_ = s.Receive(ctx, &in)
	if len(in.Deliveries) > 0 {
		t.Errorf("it was given, attempt %d", in.Deliveries[0].Attempt)
	}
	letters, err := conn.Subscribe(t.Context(), queueRequest(r.DeadLetter.Topic, false))
	if err != nil {
		t.Fatal(err)
	}
	letters.Credit(10, 1<<20)
	if d := take(t, letters, 1)[0]; string(d.Body) != "killer" || d.Key != "k" {
		t.Errorf("letter %+v", d.Message)
	}
	// It is deleted once its letter is stored.
	until(t, "the queue is empty", func() bool {
		left, err := amazon.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err != nil {
			t.Fatal(err)
		}
		return left.Attributes["ApproximateNumberOfMessages"] == "0" && left.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
	})
}

// TestShutdownLetsThePollFinish: what comes while a subscription closes is not
// stranded until its visibility ends.
func TestShutdownLetsThePollFinish(t *testing.T) {
	t.Parallel()
	url := strings.Replace(start(t), "wait=1s", "wait=3s&poll-grace=5s", 1)
	p, through := behind(t, url)
	r := queueRequest(unique("shutdown"), false)
	conn, s := session(t, through, r)
	received := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		var in driver.Intake
		received <- s.Receive(ctx, &in)
	}()
	until(t, "a poll runs", func() bool { return p.count("ReceiveMessage") > 0 })
	cancel()
	<-received
	closed := make(chan error, 1)
	go func() { closed <- s.Close(t.Context()) }()
	send(t, conn, r.TopicRequest, driver.Message{Body: []byte("late")})
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	next, err := conn.Subscribe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	next.Credit(10, 1<<20)
	if d := take(t, next, 1)[0]; string(d.Body) != "late" || d.Attempt != 1 { // its visibility would end after 30 s
		t.Errorf("%q came, attempt %d", d.Body, d.Attempt)
	}
}

// TestShutdownCutsAPoll: a poll that does not come back is cut. On FIFO, what was on its way
// is had by its name, and goes back at once.
func TestShutdownCutsAPoll(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered=", ordered), func(t *testing.T) {
			t.Parallel()
			p, url := behind(t, strings.Replace(start(t), "wait=1s", "wait=20s&poll-grace=100ms", 1))
			p.play(func(action string, n int) fault {
				switch {
				case action == "ReceiveMessage" && n == 1:
					return held
				case action == "ReceiveMessage" && n == 2 && ordered:
					return released
				}
				return none
			})
			r := queueRequest(unique("cut"), ordered)
			conn, s := session(t, url, r)
			if ordered {
				send(t, conn, r.TopicRequest, driver.Message{Key: "k", Body: []byte("late")})
			}
			received := make(chan error, 1)
			var in driver.Intake
			ctx, cancel := context.WithCancel(t.Context())
			go func() { received <- s.Receive(ctx, &in) }()
			<-p.holding
			cancel()
			<-received
			patience, end := context.WithTimeout(t.Context(), patience)
			defer end()
			if err := s.Quiesce(patience); err != nil || patience.Err() != nil {
				t.Fatalf("Quiesce: %v, %v", err, patience.Err())
			}
			var left driver.Intake
			if ordered {
				if err := s.Receive(patience, &in); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Receive(patience, &left); !errors.Is(err, driver.ErrQuiesced) {
				t.Errorf("Receive after Quiesce: %v", err)
			}
			if !ordered {
				if len(in.Deliveries) > 0 || p.count("ReceiveMessage") != 1 {
					t.Errorf("%d deliveries after %d polls", len(in.Deliveries), p.count("ReceiveMessage"))
				}
				return
			}
			if len(in.Deliveries) != 1 || p.count("ReceiveMessage") != 2 {
				t.Fatalf("%d deliveries after %d polls", len(in.Deliveries), p.count("ReceiveMessage"))
			}
			s.Settle(t.Context(), []driver.Settlement{{Receipt: &in.Deliveries[0].Receipt, Verb: driver.Return}})
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			next, err := conn.Subscribe(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			next.Credit(10, 1<<20)
			if d := take(t, next, 1)[0]; string(d.Body) != "late" || d.Attempt != 1 {
				t.Errorf("%q came, attempt %d", d.Body, d.Attempt)
			}
		})
	}
}

// TestStaleVisibility: a lease that the broker no longer knows is lost: an extension tells so,
// and so does a retry. An extension that fails for a while leaves the lease as it is.
func TestStaleVisibility(t *testing.T) {
	t.Parallel()
	p, url := behind(t, start(t))
	r := queueRequest(unique("visibility"), false)
	conn, s := session(t, url, r)
	send(t, conn, r.TopicRequest, driver.Message{Body: []byte("a")}, driver.Message{Body: []byte("b")})
	got := take(t, s, 2)
	faults := []fault{broken, throttle, partial, stale, stale}
	p.play(func(action string, n int) fault {
		if action == "ChangeMessageVisibilityBatch" && n <= len(faults) {
			return faults[n-1]
		}
		return none
	})
	a, b := &got[0].Receipt, &got[1].Receipt
	before := a.Deadline
	for _, f := range faults[:3] {
		if s.Extend(t.Context(), []*driver.Receipt{a}, time.Minute); !a.Deadline.Equal(before) {
			t.Errorf("after fault %d the lease ends at %v, want %v", f, a.Deadline, before)
		}
	}
	if s.Extend(t.Context(), []*driver.Receipt{a}, time.Minute); !a.Deadline.IsZero() {
		t.Errorf("the lease of a stale receipt ends at %v", a.Deadline)
	}
	batch := []driver.Settlement{{Receipt: a, Verb: driver.Ack}, {Receipt: b, Verb: driver.Retry, Delay: time.Second}}
	if s.Settle(t.Context(), batch); batch[0].Outcome != driver.Lost || batch[1].Outcome != driver.Lost {
		t.Errorf("outcomes %s, %s", batch[0].Outcome, batch[1].Outcome)
	}
	if n := p.count("DeleteMessageBatch"); n > 0 {
		t.Errorf("%d deletes of what was lost", n)
	}
}

// TestLongDelays: what SQS can hide it is asked to hide for just so long, in whole seconds, and
// never beyond twelve hours from the receipt.
func TestLongDelays(t *testing.T) {
	t.Parallel()
	p, url := behind(t, start(t))
	var mu sync.Mutex
	var asked []string
	p.seen = func(action string, body []byte) {
		var in struct {
			Entries []struct{ DelaySeconds, VisibilityTimeout int }
		}
		if json.Unmarshal(body, &in) != nil || len(in.Entries) == 0 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch action {
		case "SendMessageBatch":
			asked = append(asked, fmt.Sprint("send ", in.Entries[0].DelaySeconds))
		case "ChangeMessageVisibilityBatch":
			asked = append(asked, fmt.Sprint("hide ", in.Entries[0].VisibilityTimeout))
		}
	}
	r := queueRequest(unique("long"), false)
	conn, s := session(t, url, r)
	send(t, conn, r.TopicRequest, driver.Message{Body: []byte("a")}, driver.Message{Body: []byte("b")}, driver.Message{Delay: 15 * time.Minute})
	got := take(t, s, 2)
	settle(t, s, driver.Settlement{Receipt: &got[0].Receipt, Verb: driver.Retry, Delay: 11*time.Hour + time.Millisecond})
	settle(t, s, driver.Settlement{Receipt: &got[1].Receipt, Verb: driver.Retry, Delay: conn.Capabilities().RetryDelay})
	mu.Lock()
	want := []string{"send 0", "send 0", "send 900", "hide 39601", "hide 43140"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
	mu.Unlock()
	// The engine refuses what is beyond.
	c := client(t, url)
	out, err := c.Publisher(t.Context(), r.Topic, pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	err = out.Publish(t.Context(), &pubsub.Message{Body: []byte("x"), Delay: 15*time.Minute + time.Second})
	wantError(t, err, pubsub.CodeUnsupported, "15m")
}

// TestLargeBatches: a request has at most as many bytes as Amazon takes, with headers and
// encoding, however many messages that is.
func TestLargeBatches(t *testing.T) {
	t.Parallel()
	p, url := behind(t, strings.Replace(start(t), "message-bytes=262144", "message-bytes=1048576", 1))
	c, topic := client(t, url), unique("large")
	out, err := c.Publisher(t.Context(), topic, pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	binary := make([]byte, 260_000) // a third more in base64: three fit
	for range 7 {
		out.PublishAsync(t.Context(), &pubsub.Message{Body: binary}, func(err error) {
			if err != nil {
				t.Errorf("publish: %v", err)
			}
		})
	}
	headers := map[string]string{}
	for i := range 20 {
		headers[fmt.Sprint("header-", i)] = strings.Repeat("v", 10_000)
	}
	for size, fits := range map[int]bool{800_000: true, 850_000: false} {
		err := out.Publish(t.Context(), &pubsub.Message{Body: bytes.Repeat([]byte("x"), size), Headers: headers})
		if (err == nil) != fits || err != nil && pubsub.CodeOf(err) != pubsub.CodeTooLarge {
			t.Errorf("%d bytes beside headers: %v", size, err)
		}
	}
	if err := out.Close(t.Context()); err != nil {
		t.Error(err)
	}
	// The emulator refuses a batch of more than a mebibyte, and then the engine would have
	// sent more.
	if n := p.count("SendMessageBatch"); n > 6 {
		t.Errorf("%d requests", n)
	}
}

// TestTimeout: a send whose answer does not come is sent again, and on FIFO it is stored once.
func TestTimeout(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a request's whole time")
	}
	t.Parallel()
	p, url := behind(t, start(t))
	p.play(func(action string, n int) fault {
		if action == "SendMessageBatch" && n == 1 {
			return late
		}
		return none
	})
	r := queueRequest(unique("timeout"), true)
	c := client(t, url)
	out, err := c.Publisher(t.Context(), r.Topic, pubsub.Queue(), pubsub.Ordered())
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Publish(t.Context(), &pubsub.Message{ID: "id", Key: "k", Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if n := p.count("SendMessageBatch"); n != 2 {
		t.Errorf("%d sends", n)
	}
	if n := rawClients(t, url).attributes(r.Topic + ".fifo")["ApproximateNumberOfMessages"]; n != "1" {
		t.Errorf("%s messages are stored", n)
	}
}

// TestWithoutRawDelivery: a subscription that somebody made without raw delivery is read all
// the same, ours and a stranger's messages, and S3's events in their envelope.
func TestWithoutRawDelivery(t *testing.T) {
	t.Parallel()
	url := start(t)
	amazon, c, topic := rawClients(t, url), client(t, url), unique("enveloped")
	out, err := c.Publisher(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:sns:us-east-1:000000000000:" + topic
	amazon.queue(topic+"-g", nil)
	if _, err := amazon.sns.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: &arn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:" + topic + "-g"),
	}); err != nil {
		t.Fatal(err)
	}
	if err := out.Publish(t.Context(), &pubsub.Message{ID: "ours", Key: "k", Headers: map[string]string{"h": "v"}, Body: []byte{0, 255}}); err != nil {
		t.Fatal(err)
	}
	const event = `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put"}]}`
	for _, text := range []string{"a stranger's", event} {
		if _, err := amazon.sns.Publish(t.Context(), &sns.PublishInput{TopicArn: &arn, Message: &text, Subject: aws.String("subject")}); err != nil {
			t.Fatal(err)
		}
	}
	r := driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: topic, Topology: driver.Assume}, Group: "g"}
	_, s := session(t, url, r)
	for _, d := range take(t, s, 3) {
		switch {
		case d.ID == "ours" && d.Key == "k" && string(d.Body) == "\x00\xff" && maps.Equal(d.Headers, map[string]string{"h": "v"}):
		case d.ID != "" && string(d.Body) == "a stranger's" && maps.Equal(d.Headers, map[string]string{"subject": "subject"}):
		case d.ID != "" && string(d.Body) == event && d.Headers["source"] == "aws:s3" && d.Headers["detail-type"] == "ObjectCreated:Put":
		default:
			t.Errorf("got %+v", d.Message)
		}
	}
}

// TestDeduplication: FIFO drops equal IDs, or equal bodies where that is asked for, and messages
// without an ID are all different. On a standard queue the key is a group where that is asked for.
func TestDeduplication(t *testing.T) {
	t.Parallel()
	url := start(t)
	for name, k := range map[string]struct {
		ordered  bool
		settings snssqs.Settings
		want     []string
	}{
		"by ID":      {true, snssqs.Settings{}, []string{"a", "a", "a", "b", "end"}},
		"by content": {true, snssqs.Settings{ContentDeduplication: true}, []string{"a", "b", "end"}},
		"fair":       {false, snssqs.Settings{FairQueues: true}, []string{"a", "a", "a", "a", "b", "end"}},
	} {
		for _, group := range []string{"", "g"} {
			t.Run(name+",group="+group, func(t *testing.T) {
				t.Parallel()
				r := queueRequest(unique("dedup"), k.ordered)
				r.Settings = []any{k.settings}
				if group != "" {
					r.Kind, r.Group = driver.Event, group
				}
				conn, s := session(t, url, r)
				send(t, conn, r.TopicRequest,
					driver.Message{ID: "1", Key: "k", Body: []byte("a")}, driver.Message{ID: "1", Key: "k", Body: []byte("a")},
					driver.Message{Key: "k", Body: []byte("a")}, driver.Message{Key: "k", Body: []byte("a")},
					driver.Message{ID: "2", Key: "k", Body: []byte("b")}, driver.Message{ID: "3", Key: "k", Body: []byte("end")})
				var got []string
				for _, d := range take(t, s, len(k.want)) {
					got = append(got, string(d.Body))
					if g := d.Raw.(types.Message).Attributes["MessageGroupId"]; g != "k" && (k.ordered || group == "") {
						t.Errorf("message group %q", g)
					}
				}
				if slices.Sort(got); !slices.Equal(got, k.want) {
					t.Errorf("got %v, want %v", got, k.want)
				}
			})
		}
	}
}

// TestAttemptOfReceiving: on FIFO, a poll whose answer was lost is asked again under its
// own name, and the next has another.
func TestAttemptOfReceiving(t *testing.T) {
	t.Parallel()
	p, url := behind(t, start(t))
	var mu sync.Mutex
	var names []string
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p.seen = func(action string, body []byte) {
		if action == "ReceiveMessage" {
			mu.Lock()
			defer mu.Unlock()
			if names = append(names, pollName(body)); len(names) == 3 {
				cancel()
			}
		}
	}
	p.play(func(action string, n int) fault {
		if action == "ReceiveMessage" && n == 1 {
			return cut
		}
		return none
	})
	r := queueRequest(unique("attempt"), true)
	conn, s := session(t, url, r)
	send(t, conn, r.TopicRequest, driver.Message{Key: "k", Body: []byte("x")})
	var in driver.Intake
	var interrupted *driver.Interrupted
	if err := s.Receive(t.Context(), &in); !errors.As(err, &interrupted) {
		t.Fatalf("Receive with a lost answer: %v, want it interrupted", err)
	}
	_ = s.Receive(ctx, &in) // the emulator does not know the name: nothing comes yet
	mu.Lock()
	defer mu.Unlock()
	if len(names) < 3 || names[0] == "" || names[1] != names[0] || names[2] == names[0] {
		t.Errorf("attempts of receiving: %v", names)
	}
}

// TestMissingQueue: a queue that is deleted ends the session with its name.
func TestMissingQueue(t *testing.T) {
	t.Parallel()
	url := start(t)
	r := queueRequest(unique("gone"), false)
	r.Topology = driver.Assume
	conn, err := drive(t, url).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	s, err := conn.Subscribe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.Credit(1, 1)
	var in driver.Intake
	wantError(t, s.Receive(t.Context(), &in), pubsub.CodeNotFound, r.Topic)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDelaysOnEveryKind: SNS and FIFO delay no single message; it is hidden until it is due.
func TestDelaysOnEveryKind(t *testing.T) {
	t.Parallel()
	url := start(t)
	for _, ordered := range []bool{false, true} {
		for _, group := range []string{"", "g"} {
			t.Run(fmt.Sprint("ordered=", ordered, ",group=", group), func(t *testing.T) {
				t.Parallel()
				r := queueRequest(unique("delay"), ordered)
				if group != "" {
					r.Kind, r.Group = driver.Event, group
				}
				conn, s := session(t, url, r)
				began := time.Now()
				send(t, conn, r.TopicRequest, driver.Message{Body: []byte("later"), Delay: 2 * time.Second}, driver.Message{Body: []byte("now")})
				for left := map[string]bool{"later": true, "now": true}; len(left) > 0; {
					for _, d := range take(t, s, 1) {
						delete(left, string(d.Body))
						if string(d.Body) == "later" && time.Since(began) < 1900*time.Millisecond || d.Attempt != 1 {
							t.Errorf("%q came after %v, attempt %d", d.Body, time.Since(began), d.Attempt)
						}
					}
				}
			})
		}
	}
}
