package kafka

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

// A table is a connection with a topic and a group, to be driven by hand.
type table struct {
	testing.TB
	conn    *conn
	request driver.SubscribeRequest
}

func set(t testing.TB, c Config) *table {
	d, err := New(c)
	must(t, err)
	return lay(t, d)
}

func lay(t testing.TB, d driver.Driver) *table {
	opened, err := d.Open(t.Context())
	must(t, err)
	t.Cleanup(func() { _ = opened.Close(context.Background()) })
	b := &table{TB: t, conn: opened.(*conn)}
	b.request.Topic, b.request.Group = "trap-"+rand.Text(), "g"
	must(t, opened.Declare(t.Context(), b.request))
	return b
}

func (b *table) send(from, to int) {
	topic, err := b.conn.Topic(b.Context(), b.request.TopicRequest)
	must(b, err)
	var batch []driver.Message
	for i := from; i < to; i++ {
		batch = append(batch, driver.Message{Body: fmt.Append(nil, i)})
	}
	topic.Send(b.Context(), batch, func(_ int, f driver.Fate, err error) {
		if f != driver.Stored {
			b.Errorf("a message is %s: %v", f, err)
		}
	})
	must(b, topic.Close(b.Context()))
}

func (b *table) join() driver.Session {
	s, err := b.conn.Subscribe(b.Context(), b.request)
	must(b, err)
	s.Credit(10_000, 1<<30)
	return s
}

// take receives n deliveries within a time.
func (b *table) take(s driver.Session, n int) []driver.Delivery {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	var in driver.Intake
	var all []driver.Delivery
	for len(all) < n {
		must(b, s.Receive(ctx, &in))
		all = append(all, in.Deliveries...)
		in.Reset()
	}
	if len(all) != n {
		b.Fatalf("got %d deliveries, want %d", len(all), n)
	}
	return all
}

// none watches that nothing comes.
func (b *table) none(s driver.Session) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 500*time.Millisecond)
	defer cancel()
	var in driver.Intake
	for s.Receive(ctx, &in) == nil {
		for i := range in.Deliveries {
			b.Errorf("unexpected: %s, attempt %d", in.Deliveries[i].Body, in.Deliveries[i].Attempt)
		}
		in.Reset()
	}
}

func (b *table) settle(s driver.Session, verb driver.Verb, list ...driver.Delivery) {
	b.Helper()
	batch := make([]driver.Settlement, len(list))
	for i := range list {
		batch[i] = driver.Settlement{Receipt: &list[i].Receipt, Verb: verb}
	}
	s.Settle(b.Context(), batch)
	for i := range batch {
		if batch[i].Outcome != driver.Accepted {
			b.Fatalf("%s is %s: %v", verb, batch[i].Outcome, batch[i].OutcomeErr)
		}
	}
}

// One slow message holds back no commit of the others, none skips it, and a restart
// repeats it alone, with its attempts.
func TestRestartRepeatsWhatWasUndoneAlone(t *testing.T) {
	t.Parallel()
	b := set(t, quick(t))
	b.send(0, 3000)
	s := b.join()
	all := b.take(s, 3000)
	b.settle(s, driver.Keep, all[5])
	b.settle(s, driver.Keep, all[5], all[2000])
	b.settle(s, driver.Ack, append(append(append([]driver.Delivery{}, all[:5]...), all[6:2000]...), all[2001:]...)...)
	must(t, s.Close(t.Context()))
	next := b.join()
	got := b.take(next, 2)
	if string(got[0].Body) != "5" || got[0].Attempt != 3 || string(got[1].Body) != "2000" || got[1].Attempt != 2 {
		t.Errorf("got %s attempt %d, %s attempt %d", got[0].Body, got[0].Attempt, got[1].Body, got[1].Attempt)
	}
	b.settle(next, driver.Ack, got...)
	b.none(next)
	must(t, next.Close(t.Context()))
}

// A member that dies repeats what it had, and its oldest message counts an attempt: one
// that kills its readers reaches its limit.
func TestCrashCounts(t *testing.T) {
	t.Parallel()
	c := quick(t)
	b := set(t, c)
	b.send(0, 3)
	victim := wired(t, c)
	crashed, err := victim.Open(t.Context())
	must(t, err)
	s, err := crashed.Subscribe(t.Context(), b.request)
	must(t, err)
	s.Credit(100, 1<<20)
	all := b.take(s, 3)
	b.settle(s, driver.Ack, all[1])
	must(t, s.(driver.Committer).Commit(t.Context()))
	victim.fail(fmt.Errorf("as the test wants"))
	victim.cut()
	got := b.take(b.join(), 2)
	if string(got[0].Body) != "0" || got[0].Attempt != 2 || string(got[1].Body) != "2" || got[1].Attempt != 1 {
		t.Errorf("got %s attempt %d, %s attempt %d", got[0].Body, got[0].Attempt, got[1].Body, got[1].Attempt)
	}
	_ = s.Close(t.Context())
	_ = crashed.Close(t.Context())
}

// Damaged metadata repeats messages and skips none.
func TestDamagedMetadata(t *testing.T) {
	t.Parallel()
	b := set(t, quick(t))
	b.send(0, 10)
	r := b.conn.commitRequest(b.conn.groupOf(&b.request), nil)
	r.AddBlockWithLeaderEpoch(b.request.Topic, 0, 4, -1, 0, notePrefix+"AAAA")
	_, err := b.conn.commit(r)
	must(t, err)
	if got := b.take(b.join(), 6); string(got[0].Body) != "4" {
		t.Errorf("got %s first, want 4", got[0].Body)
	}
}

// A group's offset that is gone is an error, or what the settings say.
func TestOutOfRange(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{"error": "", "oldest": "0", "newest": "10"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			c := quick(t)
			c.OutOfRange = policy
			b := set(t, c)
			b.send(0, 10)
			r := b.conn.commitRequest(b.conn.groupOf(&b.request), nil)
			r.AddBlockWithLeaderEpoch(b.request.Topic, 0, 99, -1, 0, "")
			_, err := b.conn.commit(r)
			must(t, err)
			if policy == "error" {
				_, err := b.conn.Subscribe(t.Context(), b.request)
				if driver.CodeOf(err) != driver.CodeNotFound || !strings.Contains(err.Error(), "out-of-range") {
					t.Errorf("got %v", err)
				}
				return
			}
			s := b.join()
			if policy == "newest" {
				deadline := time.Now().Add(patience)
				for at := int64(99); at == 99 && time.Now().Before(deadline); wait(t.Context(), 50*time.Millisecond) {
					p, err := b.conn.committed(b.conn.groupOf(&b.request), b.request.Topic, []int32{0})
					must(t, err)
					at = p[0].offset
				}
				b.send(10, 11)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var in driver.Intake
			for len(in.Deliveries) == 0 {
				must(t, s.Receive(ctx, &in))
			}
			if got := string(in.Deliveries[0].Body); got != want {
				t.Errorf("got %s first, want %s", got, want)
			}
		})
	}
}

// Other programs' records are read as they are, and ours are theirs: partition, key,
// headers, body.
func TestFranz(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Partitions = 7
	b := set(t, c)
	other, err := kgo.NewClient(kgo.SeedBrokers(hosts(brokers.Kafka(t))...), kgo.ConsumeTopics(b.request.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	defer other.Close()
	must(t, other.ProduceSync(t.Context(),
		&kgo.Record{Topic: b.request.Topic, Key: []byte("k1"), Value: nil, Headers: []kgo.RecordHeader{
			{Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")}, {Key: "binary", Value: []byte{0, 255}}, {Key: "null"},
		}},
	).FirstErr())
	s := b.join()
	d := b.take(s, 1)[0]
	if d.Key != "k1" || len(d.Body) != 0 || d.Headers["twice"] != "2" || d.Headers["binary"] != "\x00\xff" || d.PublishTime.IsZero() {
		t.Errorf("got %+v", d.Message)
	}
	raw := d.Raw.(driver.RawMaker).MakeRaw().(*sarama.ConsumerMessage)
	if raw.Value != nil || len(raw.Headers) != 4 {
		t.Errorf("raw has value %v and %d headers", raw.Value, len(raw.Headers))
	}
	topic, err := b.conn.Topic(t.Context(), b.request.TopicRequest)
	must(t, err)
	for i := range 50 {
		key := fmt.Sprint("key-", i)
		topic.Send(t.Context(), []driver.Message{{ID: "id", Key: key, Headers: map[string]string{"h": "v"}, Body: []byte("b")}}, func(int, driver.Fate, error) {})
		must(t, other.ProduceSync(t.Context(), &kgo.Record{Topic: b.request.Topic, Key: []byte(key), Value: []byte("f")}).FirstErr())
	}
	must(t, topic.Close(t.Context()))
	where := map[string]int32{}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n := 0; n < 101 && ctx.Err() == nil; {
		other.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			n++
			if p, known := where[string(r.Key)]; known && p != r.Partition {
				t.Errorf("key %s is in partitions %d and %d", r.Key, p, r.Partition)
			}
			where[string(r.Key)] = r.Partition
			if string(r.Value) == "b" && (len(r.Headers) != 2 || r.Headers[0].Key != "h" || r.Headers[1].Key != idHeader) {
				t.Errorf("headers are %v", r.Headers)
			}
		})
	}
	if len(where) != 51 {
		t.Errorf("%d keys came, want 51", len(where))
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"kafka://":                         "no broker is named",
		"kafka://h/path":                   "want kafka://",
		"kafka://h?compresion=zstd":        `did you mean "compression"?`,
		"kafka://h?compression=rar":        "none, gzip, snappy, lz4 or zstd",
		"kafka://h?balance=fair":           "cooperative, sticky, range or roundrobin",
		"kafka://h?start=middle":           "latest or earliest",
		"kafka://h?out-of-range=x":         "error, oldest or newest",
		"kafka://h?grace=1h":               "less than the rebalance timeout",
		"kafka://u@h":                      "needs a user and a password",
		"kafka://u:secret@h?sasl=kerberos": "is unknown; want PLAIN",
		"kafka://h?sasl=oauthbearer":       "token function",
		"kafka://h?tls-ca=x":               "without tls=true",
		"kafka://h?tls=true&tls-ca=/none":  "tls-ca",
		"kafka://h?metadata-bytes=10":      "256 or more",
	} {
		_, err := driver.FromURL(url)
		if driver.CodeOf(err) != driver.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want %q", url, err, want)
		}
	}
	if _, err := driver.FromURL("kafka://a:1,b:2?tls=true"); err != nil {
		t.Error(err)
	}
}

func TestNoBroker(t *testing.T) {
	t.Parallel()
	d, err := New(Config{Brokers: []string{"127.0.0.1:1"}, Timeout: time.Second})
	must(t, err)
	if _, err := d.Open(t.Context()); driver.CodeOf(err) != driver.CodeUnavailable {
		t.Errorf("got %v (%s)", err, driver.CodeOf(err))
	}
}

// Topics are made as asked, and what differs is named.
func TestTopicSettings(t *testing.T) {
	t.Parallel()
	b := set(t, quick(t))
	ask := func(topic string, s TopicSettings) error {
		r := driver.TopicRequest{Topic: topic, Settings: []any{s}}
		return b.conn.ensure(t.Context(), &r)
	}
	made := "made-" + rand.Text()
	want := TopicSettings{Partitions: 3, Replicas: 1, Config: map[string]string{"retention.ms": "1234567"}}
	must(t, ask(made, want))
	must(t, ask(made, want))
	for _, c := range []struct {
		topic string
		ask   TopicSettings
		code  driver.Code
		says  string
	}{
		{made, TopicSettings{Partitions: 4}, driver.CodeConflict, "partitions of 3, want 4"},
		{made, TopicSettings{Replicas: 2}, driver.CodeConflict, "replicas of 1, want 2"},
		{made, TopicSettings{Config: map[string]string{"retention.ms": "1"}}, driver.CodeConflict, `retention.ms "1234567", want "1"`},
		{"new-" + rand.Text(), TopicSettings{Replicas: 9}, driver.CodeInvalid, "fewer brokers than replicas"},
		{"new-" + rand.Text(), TopicSettings{Config: map[string]string{"no.such": "1"}}, driver.CodeInvalid, "no.such"},
		{"not a name", TopicSettings{}, driver.CodeInvalid, "topic"},
	} {
		err := ask(c.topic, c.ask)
		if driver.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v (%s); want %q", c.ask, err, driver.CodeOf(err), c.says)
		}
	}
}

// A message that the broker finds too large is refused alone, and a group whose members
// share in another way says so.
func TestRefusals(t *testing.T) {
	t.Parallel()
	c := quick(t)
	b := set(t, c)
	b.request.Topic = "small-" + rand.Text()
	b.request.Settings = []any{TopicSettings{Config: map[string]string{"max.message.bytes": "1000"}}}
	topic, err := b.conn.Topic(t.Context(), b.request.TopicRequest)
	must(t, err)
	fates := make([]driver.Fate, 3)
	topic.Send(t.Context(), []driver.Message{{Body: []byte("a")}, {Body: make([]byte, 5000)}, {Body: []byte("b")}}, func(i int, f driver.Fate, _ error) { fates[i] = f })
	must(t, topic.Close(t.Context()))
	if fates[0] != driver.Stored || fates[1] != driver.Refused || fates[2] != driver.Stored {
		t.Errorf("fates are %v", fates)
	}
	must(t, b.conn.Declare(t.Context(), b.request))
	s := b.join()
	c.Balance = "range"
	other := set(t, c)
	_, err = other.conn.Subscribe(t.Context(), b.request)
	if driver.CodeOf(err) != driver.CodeConflict || !strings.Contains(err.Error(), "same balance") {
		t.Errorf("got %v (%s)", err, driver.CodeOf(err))
	}
	must(t, s.Close(t.Context()))
}

// Where the undone messages of a partition fill the note of its commit, it waits for some to
// be done, and then goes on, however much credit there is.
func TestFullNoteGoesOn(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.MetadataBytes = 256
	b := set(t, c)
	b.send(0, 1000)
	s := b.join()
	room := capacity(c.MetadataBytes)
	first := b.take(s, room)
	b.none(s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	received := make(chan error, 1)
	var in driver.Intake
	go func() { received <- s.Receive(ctx, &in) }()
	b.settle(s, driver.Ack, first...)
	must(t, <-received)
	if got := string(in.Deliveries[0].Body); got != fmt.Sprint(room) {
		t.Errorf("got %s first, want %d", got, room)
	}
}
