package kafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// parcelOf makes a parcel of a message.
func parcelOf(m driver.Message) *parcel {
	p := &parcel{}
	p.pack(&m, 0, nil)
	return p
}

// producing are batches of two partitions.
func producing() []*batch {
	null := copied(&sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{{Key: []byte("h")}}})
	return []*batch{
		{topic: "t", partition: 3, identity: identity{7, 2}, sequence: 40, parcels: []*parcel{
			parcelOf(driver.Message{Key: "k", Body: []byte("one"), ID: "i", Headers: map[string]string{"b": "2", "a": "\xff", idHeader: "another"}}),
			parcelOf(driver.Message{Body: bytes.Repeat([]byte("x"), 200)}), parcelOf(driver.Message{}), &null,
		}},
		{topic: "t", partition: 0, identity: identity{7, 2}, parcels: []*parcel{parcelOf(driver.Message{Body: []byte("two")})}},
	}
}

// recordsIn reads what a batch has, as another client does.
func recordsIn(t *testing.T, b []byte) (batch kmsg.RecordBatch, records []kmsg.Record) {
	must(t, batch.ReadFrom(b))
	if int(batch.Length) != len(b)-batchLength-4 || batch.Magic != 2 || uint32(batch.CRC) != crc32.Checksum(b[batchSummed:], crc32.MakeTable(crc32.Castagnoli)) {
		t.Fatalf("the batch is %+v", batch)
	}
	for rest := batch.Records; len(rest) > 0; {
		n, at := binary.Varint(rest)
		var r kmsg.Record
		must(t, r.ReadFrom(rest[:at+int(n)]))
		records, rest = append(records, r), rest[at+int(n):]
	}
	return batch, records
}

// What is sent is what another client reads of it.
func TestProduceRequest(t *testing.T) {
	t.Parallel()
	s := &scribe{names: []string{"left"}, headers: []byte("left"), out: []byte("left")}
	must(t, s.request(&Config{ClientID: "me", Timeout: time.Second}, 5, producing()))
	head := 4 + 2 + 2 + 4 + 2 + len("me")
	if b := s.out; int(binary.BigEndian.Uint32(b)) != len(b)-4 || b[11] != 5 || string(b[14:head]) != "me" {
		t.Fatalf("the head is % x", b[:head])
	}
	got := kmsg.NewPtrProduceRequest()
	got.Version = produceVersion
	must(t, got.ReadFrom(s.out[head:]))
	if got.TransactionID != nil || got.Acks != -1 || got.TimeoutMillis != 1000 || len(got.Topics) != 1 || got.Topics[0].Topic != "t" || len(got.Topics[0].Partitions) != 2 {
		t.Fatalf("got %+v", got)
	}
	first, second := got.Topics[0].Partitions[0], got.Topics[0].Partitions[1]
	if first.Partition != 3 || second.Partition != 0 {
		t.Errorf("partitions are %d and %d", first.Partition, second.Partition)
	}
	b, records := recordsIn(t, first.Records)
	if b.ProducerID != 7 || b.ProducerEpoch != 2 || b.FirstSequence != 40 || b.NumRecords != 4 || b.LastOffsetDelta != 3 || len(records) != 4 ||
		b.FirstTimestamp != b.MaxTimestamp || time.Since(time.UnixMilli(b.FirstTimestamp)).Abs() > time.Minute {
		t.Errorf("the batch is %+v", b)
	}
	var headers strings.Builder
	for i, r := range records {
		if r.OffsetDelta != int32(i) {
			t.Errorf("record %d is %+v", i, r)
		}
		for _, h := range r.Headers {
			headers.WriteString(h.Key + "=" + string(h.Value) + " ")
		}
	}
	if want := "a=\xff b=2 waybill-id=another waybill-id=i h= "; headers.String() != want {
		t.Errorf("headers are %q, want %q", headers.String(), want)
	}
	if r := records; string(r[0].Key) != "k" || string(r[0].Value) != "one" || r[1].Key != nil || len(r[1].Value) != 200 ||
		r[2].Value == nil || len(r[2].Value) != 0 || r[3].Value != nil {
		t.Errorf("records are %+v", r)
	}
	if _, records = recordsIn(t, second.Records); len(records) != 1 || string(records[0].Value) != "two" {
		t.Errorf("records are %+v", records)
	}
}

// produceAnswer is a broker's, to request 5.
func produceAnswer(throttle time.Duration, codes ...*kmsg.ProduceResponseTopicPartition) []byte {
	r := kmsg.NewPtrProduceResponse()
	r.Version, r.ThrottleMillis = produceVersion, int32(throttle.Milliseconds())
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic = "t"
	for _, c := range codes {
		topic.Partitions = append(topic.Partitions, *c)
	}
	r.Topics = append(r.Topics, topic)
	body := r.AppendTo(binary.BigEndian.AppendUint32(nil, 5))
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func says(partition int32, k sarama.KError) *kmsg.ProduceResponseTopicPartition {
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition, p.ErrorCode = partition, int16(k)
	return &p
}

// produced reads an answer.
func produced(b []byte, batches []*batch) (time.Duration, error) {
	p := &pipe{config: &Config{}, conn: wireConn{in: bytes.NewReader(b)}}
	p.in = bufio.NewReaderSize(p.conn, 64)
	return p.receive(5).produced(batches)
}

func TestProduceAnswers(t *testing.T) {
	t.Parallel()
	batches := producing()
	b := produceAnswer(time.Second, says(0, sarama.ErrNotLeaderForPartition), says(3, sarama.ErrNoError))
	rest, err := produced(b, batches)
	must(t, err)
	if rest != time.Second || batches[0].err != nil || !batches[0].sent || !errors.Is(batches[1].err, sarama.ErrNotLeaderForPartition) || !batches[1].sent {
		t.Errorf("rest %v, %v, %v", rest, batches[0].err, batches[1].err)
	}
	if _, err = produced(produceAnswer(0, says(0, sarama.ErrNoError)), batches); err != nil || !errors.Is(batches[0].err, sarama.ErrIncompleteResponse) || batches[1].err != nil {
		t.Errorf("%v: a partition that is not in the answer: %v", err, batches[0].err)
	}
	if _, err := produced(b[:len(b)-1], batches); err == nil {
		t.Error("half an answer is none")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		bad := slices.Clone(b)
		for range 1 + random.IntN(3) {
			bad[random.IntN(len(bad))] = byte(random.Uint32())
		}
		_, _ = produced(bad, batches)
	}
}

// Two requests are under way. Each gets its answer; when the connection is lost, what had
// none is perhaps stored, and what is sent from then on is not.
func TestOutletLosesItsConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		o := newOutlet(&Config{Timeout: time.Minute}, "nowhere:1")
		o.pipe.conn, o.pipe.in = ours, bufio.NewReader(ours)
		o.pipe.number = 4
		var told []string
		send := func(name string) *batch {
			b := producing()[1]
			o.send([]*batch{b}, func() { told = append(told, name) })
			return b
		}
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		began := time.Now()
		first, second := send("first"), send("second")
		synctest.Wait()
		_, err := theirs.Write(produceAnswer(time.Second, says(0, sarama.ErrNoError)))
		must(t, err)
		synctest.Wait()
		if !first.sent || first.err != nil || !slices.Equal(told, []string{"first"}) {
			t.Errorf("%v were told; the first: sent %t, %v", told, first.sent, first.err)
		}
		third := send("third")
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("it was sent after %v; the broker wanted to rest for a second", waited)
		}
		must(t, theirs.Close())
		synctest.Wait()
		for _, b := range []*batch{second, third} {
			if !b.sent || b.err == nil {
				t.Errorf("one that had no answer: sent %t, %v", b.sent, b.err)
			}
		}
		if !slices.Equal(told, []string{"first", "second", "third"}) {
			t.Errorf("%v were told", told)
		}
		if o.leads("nowhere:1") {
			t.Error("it is still used")
		}
	})
}
