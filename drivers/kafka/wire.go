package kafka

import (
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// A wire is what publishing needs of a Kafka client, and all that it knows of one. The
// producer above it owns sequences, order and repetition; a wire sends what it is told
// once, and says what came of that. Its methods may be called concurrently.
type wire interface {
	// partitions counts a topic's. It may remember the answer.
	partitions(topic string) (int, error)
	// identify asks for the identity of a new idempotent producer.
	identify() (identity, error)
	// leader says which broker leads a partition. It may remember the answer.
	leader(topic string, partition int32) (int32, error)
	// produce sends batches, each of another partition, to their leader in one request, with
	// acks of all replicas in sync. When each batch knows what came of it, answered is called,
	// once: before produce returns or by another goroutine, which it must not hold up.
	produce(leader int32, batches []*batch, answered func())
	// refresh asks anew who leads a topic's partitions.
	refresh(topic string)
	// close cuts off whoever waits.
	close() error
}

// identity is by what brokers know a producer's sequences.
type identity struct {
	id    int64
	epoch int16
}

// A batch is what goes to a partition in one request.
type batch struct {
	track     *track
	topic     string
	partition int32
	identity  identity
	sequence  int32 // of the first
	parcels   []*parcel
	bytes     int

	// What came of sending it. A sarama.KError is the broker's answer; any other error
	// means that there was none. sent says that a broker may have the batch.
	sent bool
	err  error
}

// saramaWire is sarama's wire. Its connections are for publishing alone.
type saramaWire struct {
	client sarama.Client
	config *Config
}

// openWire connects.
func openWire(c *Config) (wire, error) {
	s := c.sarama()
	s.Metadata.Full = false
	s.Net.MaxOpenRequests = 2 * flights // a request that waits for a place holds up all that is asked of the broker
	s.Net.ReadTimeout = 2 * c.Timeout
	client, err := sarama.NewClient(c.Brokers, s)
	if err != nil {
		return nil, err
	}
	return &saramaWire{client, c}, nil
}

func (w *saramaWire) partitions(topic string) (int, error) {
	list, err := w.client.Partitions(topic)
	if err == nil && len(list) == 0 {
		err = sarama.ErrLeaderNotAvailable
	}
	return len(list), err
}

func (w *saramaWire) identify() (identity, error) {
	response, err := w.client.InitProducerID()
	if err != nil {
		return identity{}, err
	}
	if response.Err != sarama.ErrNoError {
		return identity{}, response.Err
	}
	return identity{response.ProducerID, response.ProducerEpoch}, nil
}

func (w *saramaWire) leader(topic string, partition int32) (int32, error) {
	broker, err := w.client.Leader(topic, partition)
	if err != nil {
		return 0, err
	}
	return broker.ID(), nil
}

// produce does not use sarama's Produce, which lets nothing else to the broker until the
// answer is there.
func (w *saramaWire) produce(leader int32, batches []*batch, answered func()) {
	fail := func(sent bool, err error) {
		for _, b := range batches {
			b.sent, b.err = sent, err
		}
		answered()
	}
	broker, err := w.client.Broker(leader)
	if err != nil {
		fail(false, err)
		return
	}
	r := &sarama.ProduceRequest{Version: 7, RequiredAcks: sarama.WaitForAll, Timeout: int32(w.config.Timeout / time.Millisecond)} //nolint:gosec // was checked
	records := sheets.Get().(*sheet)
	for _, b := range batches {
		r.AddBatch(b.topic, b.partition, w.recordBatch(b, records))
	}
	err = broker.AsyncProduce(r, func(response *sarama.ProduceResponse, err error) {
		if err != nil {
			go func() { // sarama's reader, which is here, must end before the connection is closed
				_ = broker.Close()
				fail(true, err)
			}()
			return
		}
		for _, b := range batches {
			b.sent, b.err = true, nil
			if block := response.GetBlock(b.topic, b.partition); block == nil {
				b.err = sarama.ErrIncompleteResponse
			} else if block.Err != sarama.ErrNoError {
				b.err = block.Err
			}
		}
		answered()
	})
	records.clear() // they have been encoded
	if err != nil {
		_ = broker.Close()
		fail(true, err)
	}
}

// A sheet is the records of a request while that is written.
type sheet struct {
	records  []sarama.Record
	pointers []*sarama.Record
}

var sheets = sync.Pool{New: func() any { return new(sheet) }}

// take gives room for n records. What was given before stays as it is.
func (s *sheet) take(n int) []*sarama.Record {
	if len(s.records)+n > cap(s.records) {
		s.records = make([]sarama.Record, 0, max(n, 2*cap(s.records)))
		s.pointers = make([]*sarama.Record, 0, cap(s.records))
	}
	at := len(s.records)
	s.records = s.records[:at+n]
	for i := at; i < at+n; i++ {
		s.pointers = append(s.pointers, &s.records[i])
	}
	return s.pointers[at : at+n : at+n]
}

// clear keeps the room for the next request.
func (s *sheet) clear() {
	clear(s.records)
	s.records, s.pointers = s.records[:0], s.pointers[:0]
	if cap(s.records) <= 2*batchMessages {
		sheets.Put(s)
	}
}

// recordBatch makes a batch of sarama's.
func (w *saramaWire) recordBatch(b *batch, s *sheet) *sarama.RecordBatch {
	now := time.Now().Truncate(time.Millisecond)
	r := &sarama.RecordBatch{
		Version: 2, Codec: compressions[w.config.Compression], CompressionLevel: sarama.CompressionLevelDefault,
		FirstTimestamp: now, MaxTimestamp: now, LastOffsetDelta: int32(len(b.parcels) - 1), //nolint:gosec // a batch
		ProducerID: b.identity.id, ProducerEpoch: b.identity.epoch, FirstSequence: b.sequence,
		Records: s.take(len(b.parcels)),
	}
	for i, p := range b.parcels {
		p.record(r.Records[i])
		r.Records[i].OffsetDelta = int64(i)
	}
	return r
}

func (w *saramaWire) refresh(topic string) { _ = w.client.RefreshMetadata(topic) }

func (w *saramaWire) close() error {
	err := w.client.Close()
	if err == sarama.ErrClosedClient { //nolint:errorlint // as it is returned
		return nil
	}
	return err
}
