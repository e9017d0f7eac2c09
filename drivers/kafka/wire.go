package kafka

import (
	"sync"

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

// saramaWire is sarama's wire, but for what goes to a partition: that has connections and
// an encoder of its own (outlet.go, produce.go).
type saramaWire struct {
	client sarama.Client
	config *Config

	mu      sync.Mutex
	outlets map[int32]*outlet // by the broker's number
	closed  bool
}

// openWire connects.
func openWire(c *Config) (wire, error) {
	s := c.sarama()
	s.Metadata.Full = false
	s.Net.ReadTimeout = 2 * c.Timeout
	client, err := sarama.NewClient(c.Brokers, s)
	if err != nil {
		return nil, err
	}
	return &saramaWire{client: client, config: c, outlets: map[int32]*outlet{}}, nil
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

func (w *saramaWire) produce(leader int32, batches []*batch, answered func()) {
	o, err := w.outlet(leader)
	if err != nil {
		fail(batches, false, err)
		answered()
		return
	}
	o.send(batches, answered)
}

// fail gives batches one outcome.
func fail(batches []*batch, sent bool, err error) {
	for _, b := range batches {
		b.sent, b.err = sent, err
	}
}

// outlet finds a broker's, or opens another where that failed.
func (w *saramaWire) outlet(node int32) (*outlet, error) {
	broker, err := w.client.Broker(node)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	o := w.outlets[node]
	if o != nil && o.leads(broker.Addr()) && !w.closed {
		w.mu.Unlock()
		return o, nil
	}
	if o != nil {
		defer o.end(sarama.ErrNotConnected)
	}
	o = newOutlet(w.config, broker.Addr())
	w.outlets[node] = o
	w.mu.Unlock()
	err = o.pipe.open()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.closed {
		err = sarama.ErrClosedClient
	}
	if err != nil {
		o.end(err)
		return nil, err
	}
	return o, nil
}

func (w *saramaWire) refresh(topic string) { _ = w.client.RefreshMetadata(topic) }

func (w *saramaWire) close() error {
	w.mu.Lock()
	w.closed = true
	for _, o := range w.outlets {
		defer o.end(sarama.ErrClosedClient)
	}
	w.mu.Unlock()
	err := w.client.Close()
	if err == sarama.ErrClosedClient { //nolint:errorlint // as it is returned
		return nil
	}
	return err
}
