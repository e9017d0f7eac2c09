package kafka

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A flakyWire is brokers that keep sequences as Kafka's do, behind a network and a cluster
// that fail in every way they can. Partitions move between them one by one, and the client
// knows of it when it has asked.
type flakyWire struct {
	random *rand.Rand
	forget bool // they forget producers, and then lose no answers

	mu       sync.Mutex
	ids      int64
	logs     map[int32][]*parcel
	state    map[int32]sequences
	leads    [flakyPartitions]int32 // by partition
	known    [flakyPartitions]int32 // to the client
	flying   [flakyPartitions]bool
	requests int
	shared   int // requests of several batches
	passed   int // of those, with an answer in which some failed and some did not
	twice    int // batches of a partition that had one under way
}

const flakyPartitions = 6

// sequences are what a partition remembers of its producer.
type sequences struct {
	identity    identity
	next        int32
	last, count int32 // of the last batch
}

func (w *flakyWire) partitions(string) (int, error) { return flakyPartitions, nil }

func (w *flakyWire) identify() (identity, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return identity{id: w.ids}, nil
}

var errLost = errors.New("there is no answer")

func (w *flakyWire) leader(_ string, partition int32) (int32, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.random.IntN(12) == 0 {
		return 0, sarama.ErrLeaderNotAvailable
	}
	return w.known[partition], nil
}

func (w *flakyWire) refresh(string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = w.leads
}

func (w *flakyWire) produce(to int32, batches []*batch, answered func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	if len(batches) > 1 {
		w.shared++
	}
	for _, b := range batches {
		if w.flying[b.partition] {
			w.twice++
		}
		w.flying[b.partition] = true
	}
	arrives, returns := true, true
	switch w.random.IntN(20) {
	case 0:
		w.fail(batches, false, errLost) // the broker cannot be reached
		answered()
		return
	case 1:
		arrives = false
	case 2:
		returns = w.forget
	}
	there, back := time.Duration(w.random.IntN(20))*time.Millisecond, time.Duration(w.random.IntN(20))*time.Millisecond
	go func() {
		time.Sleep(there)
		w.mu.Lock()
		failed := 0
		for _, b := range batches {
			if b.sent, b.err = true, io.EOF; arrives {
				b.sent, b.err = w.attempt(to, b)
			}
			if b.err != nil {
				failed++
			}
		}
		if failed > 0 && failed < len(batches) && returns {
			w.passed++
		}
		if w.random.IntN(10) == 0 {
			w.leads[w.random.IntN(flakyPartitions)] = int32(w.random.IntN(3))
		}
		w.mu.Unlock()
		time.Sleep(back)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !returns {
			w.fail(batches, true, errLost)
		}
		for _, b := range batches {
			w.flying[b.partition] = false
		}
		answered()
	}()
}

// fail gives all batches the same outcome. It is called with the lock.
func (w *flakyWire) fail(batches []*batch, sent bool, err error) {
	for _, b := range batches {
		b.sent, b.err = sent, err
		w.flying[b.partition] = false
	}
}

// attempt is what a broker does with a batch. It is called with the lock.
func (w *flakyWire) attempt(to int32, b *batch) (bool, error) {
	if to != w.leads[b.partition] {
		return true, sarama.ErrNotLeaderForPartition
	}
	switch w.random.IntN(12) {
	case 0:
		return true, sarama.ErrNotEnoughReplicas
	case 1:
		if w.forget {
			delete(w.state, b.partition)
			break
		}
		if err := w.store(b); err != nil {
			return true, err
		}
		return true, sarama.ErrRequestTimedOut
	}
	return true, w.store(b)
}

func (w *flakyWire) store(b *batch) error {
	s, known := w.state[b.partition]
	n := int32(len(b.parcels))
	switch {
	case known && s.identity == b.identity && s.count == n && s.last == b.sequence:
		return nil // it has that
	case known && s.identity == b.identity && s.next != b.sequence:
		return sarama.ErrOutOfOrderSequenceNumber
	case (!known || s.identity != b.identity) && b.sequence != 0:
		return sarama.ErrUnknownProducerID
	}
	w.state[b.partition] = sequences{b.identity, b.sequence + n, b.sequence, n}
	w.logs[b.partition] = append(w.logs[b.partition], b.parcels...)
	return nil
}

func (w *flakyWire) close() error { return nil }

func flaky(seed uint64, forget bool) *flakyWire {
	return &flakyWire{random: rand.New(rand.NewPCG(seed, 0)), forget: forget, logs: map[int32][]*parcel{}, state: map[int32]sequences{}}
}

// unconnected is a connection for a topic on a wire.
func unconnected(t *testing.T) *conn {
	c, err := Config{Brokers: []string{"nowhere:1"}}.withDefaults()
	must(t, err)
	life := driver.NewLife(nil)
	return &conn{Life: life, calls: driver.NewCalls(&life), config: c, topics: map[*topic]bool{}}
}

// Whatever fails, each message is stored once, in the order of its key, and its publisher
// is told so.
func TestProducerIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			w := flaky(seed, seed%2 == 1)
			topic, err := newTopicOn(t.Context(), unconnected(t), "t", w)
			must(t, err)
			const keys, each = 20, 300
			pace := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			fates := map[driver.Fate]int{}
			for n := range each {
				batch := make([]driver.Message, keys)
				for k := range batch {
					batch[k] = driver.Message{Key: fmt.Sprint("key-", k), Body: strconv.AppendInt(nil, int64(n), 10)}
				}
				topic.Send(t.Context(), batch, func(_ int, f driver.Fate, _ error) {
					mu.Lock()
					fates[f]++
					mu.Unlock()
				})
				time.Sleep(time.Duration(pace.IntN(30)) * time.Millisecond)
			}
			must(t, topic.Close(t.Context()))
			if fates[driver.Stored] != keys*each {
				t.Errorf("seed %d: fates are %v, want %d stored", seed, fates, keys*each)
			}
			next := map[string]int{}
			for _, log := range w.logs {
				for _, p := range log {
					key := p.message.Key
					if string(p.message.Body) != strconv.Itoa(next[key]) {
						t.Fatalf("seed %d: %s has %s, want %d", seed, key, p.message.Body, next[key])
					}
					next[key]++
				}
			}
			for key, n := range next {
				if n != each {
					t.Errorf("seed %d: %s has %d messages, want %d", seed, key, n, each)
				}
			}
			if len(next) != keys || w.shared < 20 || w.passed < 3 || w.twice > 0 {
				t.Errorf("seed %d: %d keys in %d requests, %d of several partitions, of which some passed in %d, %d while one was under way",
					seed, len(next), w.requests, w.shared, w.passed, w.twice)
			}
		})
	}
}

// deadWire never answers until it is closed.
type deadWire struct {
	*flakyWire
	closed chan struct{}
}

func (w *deadWire) produce(_ int32, batches []*batch, answered func()) {
	go func() {
		<-w.closed
		for _, b := range batches {
			b.sent, b.err = true, errLost
		}
		answered()
	}()
}

func (w *deadWire) close() error { close(w.closed); return nil }

// What has no answer when its topic ends is of a fate unknown; what was not sent is not
// stored.
func TestProducerEndsWithoutAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &deadWire{flaky(0, false), make(chan struct{})}
		topic, err := newTopicOn(t.Context(), unconnected(t), "t", w)
		must(t, err)
		fates := make([]driver.Fate, 3)
		send := func(i int) {
			topic.Send(t.Context(), []driver.Message{{Key: "k", Body: []byte("x")}}, func(_ int, f driver.Fate, _ error) { fates[i] = f })
			synctest.Wait()
		}
		send(0)
		send(1)
		must(t, topic.end(errClosed))
		send(2)
		if fates[0] != driver.Unknown || fates[1] != driver.Aborted || fates[2] != driver.Aborted {
			t.Errorf("fates are %v", fates)
		}
	})
}

// A heldWire has the test answer.
type heldWire struct {
	*flakyWire
	requests chan heldRequest
	moved    map[int32]int32 // leaders, unless 0
}

type heldRequest struct {
	leader  int32
	batches []*batch
	answer  func(errs ...error) // of the batches in turn; none: all are stored
}

func (w *heldWire) leader(_ string, partition int32) (int32, error) { return w.moved[partition], nil }

func (w *heldWire) produce(leader int32, batches []*batch, answered func()) {
	inOrder := slices.Clone(batches)
	slices.SortFunc(inOrder, func(a, b *batch) int { return int(a.partition - b.partition) })
	w.requests <- heldRequest{leader, inOrder, func(errs ...error) {
		for i, b := range inOrder {
			if b.sent, b.err = true, nil; len(errs) > 0 {
				b.err = errs[i]
			}
		}
		answered()
	}}
}

func held(t *testing.T) (*heldWire, *topic) {
	w := &heldWire{flaky(0, false), make(chan heldRequest, flights), map[int32]int32{}}
	topic, err := newTopicOn(t.Context(), unconnected(t), "t", w)
	must(t, err)
	return w, topic
}

// to makes a message for a partition.
func to(partition int32) driver.Message {
	for i := 0; ; i++ {
		if key := strconv.Itoa(i); partitionOf(key, flakyPartitions) == partition {
			return driver.Message{Key: key, Body: []byte(key)}
		}
	}
}

// What comes while a request is under way shares the next one, whatever the partition. In
// the answer each partition is for itself: one that moved goes on at its new leader, and
// the others stay.
func TestRequestIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, topic := held(t)
		var fates [3][]driver.Fate
		send := func(partition int32) {
			topic.Send(t.Context(), []driver.Message{to(partition)}, func(_ int, f driver.Fate, _ error) {
				fates[partition] = append(fates[partition], f)
			})
			synctest.Wait()
		}
		check := func(r heldRequest, leader int32, want map[int32]int32) {
			t.Helper()
			got := map[int32]int32{}
			for _, b := range r.batches {
				got[b.partition] = b.sequence
			}
			if r.leader != leader || !maps.Equal(got, want) {
				t.Errorf("broker %d got %v, want broker %d and %v", r.leader, got, leader, want)
			}
		}
		for p := range int32(3) { // the first finds its leader, and is under way
			send(p)
		}
		first := <-w.requests
		check(first, 0, map[int32]int32{0: 0})
		first.answer()
		second := <-w.requests
		check(second, 0, map[int32]int32{1: 0, 2: 0})
		send(0)
		send(1)
		w.moved[1] = 7
		second.answer(sarama.ErrNotLeaderForPartition, nil)
		synctest.Wait()
		third := <-w.requests
		check(third, 0, map[int32]int32{0: 1})
		moved := <-w.requests
		check(moved, 7, map[int32]int32{1: 0}) // as it was, without what came later
		if n := len(moved.batches[0].parcels); n != 1 {
			t.Errorf("it is repeated with %d messages, want 1", n)
		}
		third.answer(errLost)
		moved.answer()
		again, later := <-w.requests, <-w.requests
		if again.leader == 7 {
			again, later = later, again
		}
		check(again, 0, map[int32]int32{0: 1})
		check(later, 7, map[int32]int32{1: 1})
		again.answer(sarama.ErrDuplicateSequenceNumber) // it had come
		later.answer()
		must(t, topic.Close(t.Context()))
		for p, want := range []int{2, 2, 1} {
			if len(fates[p]) != want || slices.Contains(fates[p], driver.Refused) || slices.Contains(fates[p], driver.Unknown) {
				t.Errorf("partition %d has the fates %v", p, fates[p])
			}
		}
	})
}

// The answer that is lost is that of all its batches: each is repeated as it was.
func TestSharedAnswerIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, topic := held(t)
		stored := 0
		for p := range int32(3) {
			topic.Send(t.Context(), []driver.Message{to(p), to(p)}, func(_ int, f driver.Fate, _ error) {
				if f == driver.Stored {
					stored++
				}
			})
			synctest.Wait()
		}
		(<-w.requests).answer()
		lost := <-w.requests
		before := map[int32][]*parcel{}
		for _, b := range lost.batches {
			before[b.partition] = b.parcels
		}
		topic.Send(t.Context(), []driver.Message{to(1), to(2)}, func(int, driver.Fate, error) {})
		lost.answer(io.EOF, io.EOF)
		for len(before) > 0 {
			r := <-w.requests
			for _, b := range r.batches {
				if was := before[b.partition]; was != nil && (!slices.Equal(b.parcels, was) || b.sequence != 0) {
					t.Errorf("partition %d is sent %d messages from %d", b.partition, len(b.parcels), b.sequence)
				}
				delete(before, b.partition)
			}
			r.answer()
			synctest.Wait()
		}
		if stored != 6 {
			t.Errorf("%d messages are stored, want 6", stored)
		}
		go func() {
			for r := range w.requests {
				r.answer()
			}
		}()
		must(t, topic.Close(t.Context()))
		close(w.requests)
	})
}

// A refused message is found in a shared request: what is with it in the batch and what is
// beside it is stored.
func TestSharedRequestIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, topic := held(t)
		go func() {
			for r := range w.requests {
				errs := make([]error, len(r.batches))
				for i, b := range r.batches {
					for _, p := range b.parcels {
						if len(p.message.Body) > 100 {
							errs[i] = sarama.ErrMessageSizeTooLarge
						}
					}
				}
				r.answer(errs...)
			}
		}()
		large := to(2)
		large.Body = make([]byte, 1000)
		batch := []driver.Message{to(0), to(2), to(1), large, to(2), to(0), to(2)}
		fates := make([]driver.Fate, len(batch))
		topic.Send(t.Context(), batch, func(i int, f driver.Fate, _ error) { fates[i] = f })
		must(t, topic.Close(t.Context()))
		close(w.requests)
		want := make([]driver.Fate, len(batch))
		want[3] = driver.Refused
		if !slices.Equal(fates, want) {
			t.Errorf("fates are %v, want %v", fates, want)
		}
	})
}

// Messages without a key stay together while one partition can take them, and go to
// another when that is busy or does not answer.
func TestKeylessMessagesStayTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, topic := held(t)
		send := func(n int) {
			for range n {
				topic.Send(t.Context(), []driver.Message{{Body: []byte("x")}}, func(int, driver.Fate, error) {})
			}
			synctest.Wait()
		}
		send(1)
		first := <-w.requests
		send(20)
		first.answer(sarama.ErrNotLeaderForPartition)
		second := <-w.requests
		if len(second.batches) != 1 || len(second.batches[0].parcels) != 20 || second.batches[0].partition == first.batches[0].partition {
			t.Errorf("the second request has %d batches", len(second.batches))
		}
		send(1)
		second.answer()
		third := <-w.requests
		if p := third.batches[0].partition; p == first.batches[0].partition || p == second.batches[0].partition {
			t.Errorf("the third request is for partition %d again", p)
		}
		third.answer()
		(<-w.requests).answer()
		must(t, topic.Close(t.Context()))
		close(w.requests)
	})
}
