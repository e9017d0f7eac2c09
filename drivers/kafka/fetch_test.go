package kafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is asked for is what another client reads of it.
func TestFetchRequest(t *testing.T) {
	t.Parallel()
	f := &fetch{topic: "t", wait: 100 * time.Millisecond, committed: true, rack: "r"}
	for p := range int32(2) {
		c := reading()
		c.partition = p
		f.asked = append(f.asked, want{c, 100 + int64(p), 7, 1 << 20})
	}
	b := f.append(nil, 5, "me")
	head := 4 + 2 + 2 + 4 + 2 + len("me")
	if int(binary.BigEndian.Uint32(b)) != len(b)-4 || b[11] != 5 || string(b[14:head]) != "me" {
		t.Fatalf("the head is % x", b[:head])
	}
	got := kmsg.NewPtrFetchRequest()
	got.Version = fetchVersion
	must(t, got.ReadFrom(b[head:]))
	if got.MaxWaitMillis != 100 || got.MinBytes != 1 || got.MaxBytes != 2<<20 || got.IsolationLevel != 1 ||
		got.SessionEpoch != -1 || got.Rack != "r" || got.ReplicaID != -1 || len(got.Topics) != 1 || got.Topics[0].Topic != "t" {
		t.Errorf("got %+v", got)
	}
	for i, p := range got.Topics[0].Partitions {
		if p.Partition != int32(i) || p.FetchOffset != 100+int64(i) || p.CurrentLeaderEpoch != 7 || p.PartitionMaxBytes != 1<<20 || p.LogStartOffset != -1 {
			t.Errorf("partition %d is %+v", i, p)
		}
	}
}

// wireConn gives bytes, and takes none.
type wireConn struct {
	net.Conn
	in *bytes.Reader
}

func (c wireConn) Read(b []byte) (int, error)      { return c.in.Read(b) }
func (c wireConn) SetReadDeadline(time.Time) error { return nil }

// answers reads a response.
func answers(b []byte) ([]answer, error) {
	p := &pipe{config: &Config{}, conn: wireConn{in: bytes.NewReader(b)}, number: 5}
	p.in = bufio.NewReaderSize(p.conn, 64)
	a, err := p.answer()
	if err != nil {
		return nil, err
	}
	var all []answer
	room := func(_ int32, n int) []byte { return make([]byte, n) }
	err = a.each(&fetch{topic: "t"}, room, func(p *answer) { all = append(all, *p) })
	return all, err
}

func TestFetchAnswers(t *testing.T) {
	t.Parallel()
	r := kmsg.NewPtrFetchResponse()
	r.Version = fetchVersion
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic = "t"
	for i := range int32(3) {
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.HighWatermark, p.LastStableOffset, p.PreferredReadReplica = i, 10, 5, i-1
		topic.Partitions = append(topic.Partitions, p)
	}
	topic.Partitions[0].RecordBatches = batchOf(0, 0, nil, 0, 1)
	topic.Partitions[1].AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 3, FirstOffset: 4}}
	topic.Partitions[2].ErrorCode = int16(sarama.ErrNotLeaderForPartition)
	r.Topics = append(r.Topics, topic)
	body := r.AppendTo(binary.BigEndian.AppendUint32(nil, 5))
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	got, err := answers(b)
	must(t, err)
	if len(got) != 3 || !bytes.Equal(got[0].records, topic.Partitions[0].RecordBatches) || got[0].end != 10 || got[0].replica != -1 ||
		!slices.Equal(got[1].aborted, []abortion{{3, 4}}) || got[1].replica != 0 || !errors.Is(got[2].err, sarama.ErrNotLeaderForPartition) {
		t.Errorf("got %+v", got)
	}
	if _, err := answers(b[:len(b)-1]); err == nil {
		t.Error("half an answer is none")
	}
	// Whatever is wrong with an answer, or with what it holds, is an error and no more.
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		bad := slices.Clone(b)
		for range 1 + random.IntN(3) {
			bad[4+random.IntN(len(bad)-4)] = byte(random.Uint32())
		}
		all, _ := answers(bad)
		for i := range all {
			_, _, _ = new(fetch).read(&all[i], 0)
		}
	}
	batch := batchOf(0, 0, nil, 0, 1)[batchHead:]
	for range 20_000 {
		bad := slices.Clone(batch)
		bad[random.IntN(len(bad))] = byte(random.Uint32())
		for data := bad; len(data) > 0; {
			s := &stretch{data: data}
			var found sight
			if !found.of(s) {
				break
			}
			eachHeader(found.parts.headers, func([]byte, []byte) {})
			data = data[found.length:]
		}
	}
}
