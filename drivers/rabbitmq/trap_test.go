package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/drivers/rabbitmq"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

var errOfTheTest = errors.New("as the test wants")

// link opens the driver without the engine.
func link(t testing.TB, b *brokers.Broker, parameters string) driver.Conn {
	t.Helper()
	c, err := from(t, b.URL, parameters).Open(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, c.Close(context.Background())) })
	return c
}

func group(topic string) driver.SubscribeRequest {
	r := driver.SubscribeRequest{Group: "g"}
	r.Topic = topic
	return r
}

func session(t testing.TB, c driver.Conn, r driver.SubscribeRequest, credit int) driver.Session {
	t.Helper()
	must(t, c.Declare(t.Context(), r))
	s, err := c.Subscribe(t.Context(), r)
	must(t, err)
	s.Credit(credit, 1<<30)
	return s
}

// take receives n deliveries.
func take(t testing.TB, s driver.Session, n int) []driver.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var in driver.Intake
	for len(in.Deliveries) < n {
		if err := s.Receive(ctx, &in); err != nil {
			t.Fatalf("%d of %d deliveries, then %v", len(in.Deliveries), n, err)
		}
	}
	return in.Deliveries
}

func settle(s driver.Session, verb driver.Verb, list ...driver.Delivery) (outcomes []driver.Outcome) {
	batch := make([]driver.Settlement, len(list))
	for i := range list {
		batch[i] = driver.Settlement{Receipt: &list[i].Receipt, Verb: verb}
	}
	s.Settle(context.Background(), batch)
	for i := range batch {
		outcomes = append(outcomes, batch[i].Outcome)
	}
	return outcomes
}

// send publishes and returns the fates.
func send(t testing.TB, c driver.Conn, r driver.TopicRequest, messages ...driver.Message) (fates []driver.Fate) {
	t.Helper()
	topic, err := c.Topic(t.Context(), r)
	must(t, err)
	told := make(chan driver.Fate, len(messages))
	for i := range messages {
		topic.Send(t.Context(), messages[i:i+1], func(_ int, f driver.Fate, _ error) { told <- f })
		fates = append(fates, next(t, told))
	}
	must(t, topic.Close(t.Context()))
	return fates
}

func bodies(n int) (list []driver.Message) {
	for i := range n {
		list = append(list, driver.Message{Body: fmt.Append(nil, i)})
	}
	return list
}

// A receipt of a session that died must not settle what a later one has with the same tag.
func TestStaleTags(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		d := from(t, b.URL, "")
		first, err := d.Open(t.Context())
		must(t, err)
		r := group(fresh("stale"))
		s := session(t, first, r, 10)
		send(t, first, r.TopicRequest, bodies(3)...)
		old := take(t, s, 3)
		sever(t, d)
		must(t, s.Close(t.Context()))
		must(t, first.Close(t.Context()))

		c := link(t, b, "")
		s = session(t, c, r, 10)
		again := take(t, s, 3)
		for _, o := range settle(s, driver.Ack, old...) {
			if o != driver.Lost {
				t.Errorf("outcome of a stale receipt: %s", o)
			}
		}
		must(t, s.Close(t.Context()))
		if n := len(take(t, session(t, c, r, 10), 3)); n != len(again) {
			t.Errorf("%d are left", n)
		}
	})
}

// Neither a missing delivery limit nor a wrong one may drop what is returned often.
func TestManyReturnsLoseNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		for _, verb := range []driver.Verb{driver.Return, driver.Retry} {
			c, r := link(t, b, ""), group(fresh("returns"))
			s := session(t, c, r, 100)
			send(t, c, r.TopicRequest, bodies(1)...)
			var d driver.Delivery
			for range 30 {
				d = take(t, s, 1)[0]
				settle(s, verb, d)
			}
			if d.Attempt < 30 && verb == driver.Retry {
				t.Errorf("attempt is %d after 29 failures", d.Attempt)
			}
			must(t, s.Close(t.Context()))
		}
	})
}

// A queue from before RabbitMQ 4 has that version's default limit after an upgrade. What it takes out
// stays in the queue until it can move to a dead letter.
func TestDefaultLimitLosesNothing(t *testing.T) {
	t.Parallel()
	b := brokers.RabbitMQ(t, brokers.Version("4.3"))
	raw, topic := dial(t, b), fresh("upgraded")
	queue := topic + "/g"
	_, err := raw.QueueDeclare(queue, true, false, false, false, amqp.Table{
		"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-dead-letter-exchange": queue + "/dead", "x-dead-letter-strategy": "at-least-once",
	})
	must(t, err)
	c, r := link(t, b, ""), group(topic)
	s := session(t, c, r, 100)
	send(t, c, r.TopicRequest, bodies(1)...)
	for range 21 {
		settle(s, driver.Retry, take(t, s, 1)[0])
	}
	if !b.Mine() {
		t.Skip("needs rabbitmqctl")
	}
	for deadline := time.Now().Add(patience); ; wait(t.Context(), 100*time.Millisecond) {
		out, err := b.Admin(t.Context(), "list_queues", "name", "messages", "messages_ready")
		must(t, err)
		if strings.Contains(out, queue+"\t1\t0") { // the broker tries to move it every three minutes
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the message is not kept:\n%s", out)
		}
	}
}

// The native dead letter takes what has used up its attempts, over delays and crashes.
func TestNativeDeadLetterCounts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c, topic := client(t, b, ""), fresh("counts")
		s, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.NativeDeadLetter(topic+"-dead", 3))
		must(t, err)
		letters, err := c.Subscriber(t.Context(), topic+"-dead", pubsub.Queue(), pubsub.NativeDeadLetter(topic+"-never", 2))
		must(t, err)
		p, err := c.Publisher(t.Context(), topic)
		must(t, err)
		dead := receive(t, letters, func(_ context.Context, d *pubsub.Delivery) error {
			if d.Attempt == 1 {
				return pubsub.RetryAfter(2*time.Second, errOfTheTest)
			}
			return nil
		})
		seen := receive(t, s, func(_ context.Context, d *pubsub.Delivery) error {
			copy(d.Body, "xxxxxx") // a handler may; what comes again is as published
			return pubsub.RetryAfter(time.Second, errOfTheTest)
		})
		must(t, p.Publish(t.Context(), &pubsub.Message{ID: "id", Headers: map[string]string{"h": "v"}, Body: []byte("poison")}))
		for i := range 3 {
			if d := next(t, seen); d.Attempt != i+1 {
				t.Errorf("attempt %d is %d", i+1, d.Attempt)
			}
		}
		// It counts from 1 again, also when it comes a second time, and by a delay.
		var died string
		for i := range 2 {
			d := next(t, dead)
			if string(d.Body) != "poison" || d.ID != "id" || d.Attempt != i+1 {
				t.Errorf("dead letter: %q, %q, attempt %d", d.ID, d.Body, d.Attempt)
			}
			at := d.Headers[driver.HeaderDeadTime]
			if when, err := time.Parse(time.RFC3339, at); err != nil || time.Since(when) > time.Minute || i > 0 && at != died {
				t.Errorf("it died at %q, before at %q", at, died)
			}
			died = at
			delete(d.Headers, driver.HeaderDeadTime)
			if want := map[string]string{
				"h": "v", driver.HeaderDeadTopic: topic, driver.HeaderDeadGroup: "g",
				driver.HeaderDeadReason: "rejected by its reader (RabbitMQ tells no more)",
			}; !maps.Equal(d.Headers, want) {
				t.Errorf("dead letter %d has headers %v, want %v", i, d.Headers, want)
			}
		}
		none(t, seen, 300*time.Millisecond)
	})
}

// A queue that is gone loses its messages: its publisher must hear of it, for those alone.
func TestUnroutable(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c, topic := client(t, b, ""), fresh("tasks")
		p, err := c.Publisher(t.Context(), topic, pubsub.Queue())
		must(t, err)
		publishMany(t, p, 10)
		_, err = dial(t, b).QueueDelete(topic, false, false, false)
		must(t, err)
		for range 3 {
			fails(t, p.Publish(t.Context(), &pubsub.Message{}), pubsub.CodeNotFound, "NO_ROUTE", topic)
		}
		p, err = c.Publisher(t.Context(), topic, pubsub.Queue())
		must(t, err)
		publishMany(t, p, 1000)
	})
}

// A full queue answers with a nack: the publisher waits, and goes on when there is room.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		if !b.Mine() {
			t.Skip("needs rabbitmqctl")
		}
		c, topic := client(t, b, ""), fresh("full")
		out, err := b.Admin(t.Context(), "set_policy", topic, "^"+topic+"$", `{"max-length":5}`, "--apply-to", "queues")
		if err != nil {
			t.Fatal(out, err)
		}
		t.Cleanup(func() { _, _ = b.Admin(context.Background(), "clear_policy", topic) })
		p, err := c.Publisher(t.Context(), topic, pubsub.Queue())
		must(t, err)
		outcomes := make(chan error, 300)
		for i := range 300 {
			p.PublishAsync(t.Context(), &pubsub.Message{Body: fmt.Append(nil, i)}, func(err error) { outcomes <- err })
		}
		s, err := c.Subscriber(t.Context(), topic, pubsub.Queue(), pubsub.DropPermanent())
		must(t, err)
		got := map[string]bool{}
		seen := receive(t, s, nil)
		for len(got) < 300 {
			got[string(next(t, seen).Body)] = true
		}
		for range 300 {
			must(t, next(t, outcomes))
		}
	})
}

// A member that leaves in the midst of a key hands it over in order, whatever it returned.
func TestOrderAcrossReturns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c, r := link(t, b, "partitions=2"), group(fresh("order"))
		r.Ordered = true
		first := session(t, c, r, 1000)
		var list []driver.Message
		for i := range 300 {
			list = append(list, driver.Message{Key: "k", Body: fmt.Append(nil, i)})
		}
		topic, err := c.Topic(t.Context(), r.TopicRequest)
		must(t, err)
		fates := make(chan driver.Fate, len(list))
		topic.Send(t.Context(), list, func(_ int, f driver.Fate, _ error) { fates <- f })
		for range list {
			if f := next(t, fates); f != driver.Stored {
				t.Fatal(f)
			}
		}
		at := 0
		for range 3 {
			second := session(t, c, r, 1000)
			got := take(t, first, 50)
			settle(first, driver.Ack, got[:40]...)
			for i := range got[:40] {
				if string(got[i].Body) != fmt.Sprint(at+i) {
					t.Fatalf("got %q, want %d", got[i].Body, at+i)
				}
			}
			at += 40
			must(t, first.Quiesce(t.Context()))
			settle(first, driver.Return, got[40:]...)
			must(t, first.Close(t.Context()))
			first = second
		}
	})
}

// holds waits until a queue has as many messages as it should: one that is busy answers zero.
func holds(t testing.TB, b *brokers.Broker, queue string, right func(n int) bool) {
	t.Helper()
	ch := dial(t, b)
	for deadline := time.Now().Add(patience); ; wait(t.Context(), 50*time.Millisecond) {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		must(t, err)
		if right(q.Messages) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages are in queue %q", q.Messages, queue)
		}
	}
}

// Confirms that are open when the publisher closes are waited for.
func TestConfirmsPendingAtClose(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c, topic := client(t, b, ""), fresh("pending")
		p, err := c.Publisher(t.Context(), topic, pubsub.Queue())
		must(t, err)
		outcomes := make(chan error, 500)
		for i := range cap(outcomes) {
			p.PublishAsync(t.Context(), &pubsub.Message{Body: fmt.Append(nil, i)}, func(err error) { outcomes <- err })
		}
		must(t, p.Close(t.Context()))
		for range cap(outcomes) {
			must(t, next(t, outcomes))
		}
		holds(t, b, topic, func(n int) bool { return n == cap(outcomes) })
	})
}

// Confirms that cannot come any more make their messages' fate Unknown, known after Close.
func TestConfirmsLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		d := from(t, b.URL, "")
		c, err := d.Open(t.Context())
		must(t, err)
		r := driver.TopicRequest{Topic: fresh("lost"), Kind: driver.Queue}
		topic, err := c.Topic(t.Context(), r)
		must(t, err)
		fates := make(chan driver.Fate, 500)
		topic.Send(t.Context(), bodies(cap(fates)), func(_ int, f driver.Fate, _ error) { fates <- f })
		sever(t, d)
		must(t, topic.Close(t.Context()))
		if len(fates) != cap(fates) {
			t.Errorf("%d fates of %d are known after Close", len(fates), cap(fates))
		}
		stored := 0
		for range len(fates) {
			switch <-fates {
			case driver.Stored:
				stored++
			case driver.Refused:
				t.Error("a message was refused")
			}
		}
		must(t, c.Close(t.Context()))
		holds(t, b, r.Topic, func(n int) bool { return n >= stored })
	})
}

// consumer_timeout takes back what is held too long; the subscription goes on.
func TestConsumerTimeout(t *testing.T) {
	if testing.Short() {
		t.Skip("the broker looks once a minute")
	}
	t.Parallel()
	faults(t, func(t *testing.T, b *brokers.Broker) {
		out, err := b.Admin(t.Context(), "eval", "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 1000).")
		if err != nil {
			t.Fatal(out, err)
		}
		c := link(t, b, "")
		r := group(fresh("timeout"))
		s := session(t, c, r, 100)
		send(t, c, r.TopicRequest, bodies(1)...)
		take(t, s, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		var in driver.Intake
		err = s.Receive(ctx, &in)
		if err == nil || ctx.Err() != nil || !driver.CodeOf(err).Heals() {
			t.Fatalf("Receive: %v, %d deliveries; want the session's end, which heals", err, len(in.Deliveries))
		}
		must(t, s.Close(t.Context()))
		take(t, session(t, c, r, 10), 1)
	})
}

// A broadcast's queue outlives a lost connection, and goes with its subscription.
func TestBroadcastSurvivesReconnect(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		d := from(t, b.URL, "")
		r := driver.SubscribeRequest{Member: strings.ToLower(fresh("m"))}
		r.Topic = fresh("news")
		c, err := d.Open(t.Context())
		must(t, err)
		s := session(t, c, r, 100)
		sever(t, d)
		must(t, s.Close(t.Context()))
		must(t, c.Close(t.Context()))
		c = link(t, b, "")
		send(t, c, r.TopicRequest, bodies(1)...)
		s = session(t, c, r, 10)
		settle(s, driver.Ack, take(t, s, 1)...)
		must(t, s.Close(t.Context()))
		if _, err := dial(t, b).QueueDeclarePassive(r.Topic+"//x"+r.Member, true, false, false, false, nil); err == nil {
			t.Error("the queue is left behind")
		}
	})
}

// What others publish, with AMQP's own types, is read well; a user's exchange and queue serve as they are.
func TestForeignTopology(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		raw, name := dial(t, b), fresh("theirs")
		must(t, raw.ExchangeDeclare(name+"/x", "topic", true, false, false, false, nil))
		_, err := raw.QueueDeclare(name+"/q", true, false, false, false, nil)
		must(t, err)
		must(t, raw.QueueBind(name+"/q", "a.*", name+"/x", false, nil))
		c := client(t, b, "")
		for _, how := range []driver.Topology{driver.Create, driver.Verify, driver.Assume} {
			settings := pubsub.Settings(rabbitmq.Exchange{Name: name + "/x", RoutingKey: "a.b"})
			p, err := c.Publisher(t.Context(), name, settings, pubsub.Topology(how))
			must(t, err)
			s, err := c.Subscriber(t.Context(), name, pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Topology(how),
				settings, pubsub.Settings(rabbitmq.ExistingQueue(name+"/q")))
			must(t, err)
			if how != driver.Create {
				continue
			}
			seen := receive(t, s, nil)
			must(t, p.Publish(t.Context(), &pubsub.Message{Key: "k", Headers: map[string]string{"content-type": "text/plain"}, Body: []byte("x")}))
			d := next(t, seen)
			r, ok := d.Raw().(*amqp.Delivery)
			if !ok || r.ContentType != "text/plain" || d.Headers["content-type"] != "text/plain" || d.Key != "k" || r.RoutingKey != "a.b" {
				t.Errorf("got key %q, headers %v, raw %+v", d.Key, d.Headers, r)
			}
			must(t, raw.PublishWithContext(t.Context(), name+"/x", "a.c", false, false, amqp.Publishing{Timestamp: time.Unix(7, 0), Headers: amqp.Table{
				"n": int32(-7), "b": true, "f": 1.5, "t": time.Unix(0, 0), "x": []byte("y"), "nil": nil,
				"table": amqp.Table{"a": []any{int64(1), "z"}}, "d": amqp.Decimal{Scale: 2, Value: -5},
			}}))
			d = next(t, seen)
			want := map[string]string{
				"n": "-7", "b": "true", "f": "1.5", "t": "1970-01-01T00:00:00Z", "x": "y", "nil": "", "table": `{"a":[1,"z"]}`, "d": "-0.05",
			}
			if !maps.Equal(d.Headers, want) || !d.PublishTime.Equal(time.Unix(7, 0)) {
				t.Errorf("got headers %v, time %v", d.Headers, d.PublishTime)
			}
		}
	})
}

// Delay queues are few, and go by themselves.
func TestDelayQueues(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *brokers.Broker) {
		c, topic := client(t, b, "delay-expiry=1s"), fresh("later")
		p, err := c.Publisher(t.Context(), topic, pubsub.Queue())
		must(t, err)
		must(t, p.Publish(t.Context(), &pubsub.Message{Delay: 300 * time.Millisecond}))
		s, err := c.Subscriber(t.Context(), topic, pubsub.Queue(), pubsub.DropPermanent())
		must(t, err)
		next(t, receive(t, s, nil))
		deadline := time.Now().Add(patience)
		for {
			if _, err := dial(t, b).QueueDeclarePassive(topic+"/delay/300ms", true, false, false, false, nil); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the delay's queue stays")
			}
			wait(t.Context(), 500*time.Millisecond)
		}
		must(t, p.Publish(t.Context(), &pubsub.Message{Delay: 300 * time.Millisecond})) // made again
	})
}
