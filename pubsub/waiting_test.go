package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// gate keeps the fates of all messages until it is opened.
type gate struct {
	mu    sync.Mutex
	fates []func(driver.Fate, error)
}

func (g *gate) send(_ int, batch []driver.Message, fate func(int, driver.Fate, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range batch {
		g.fates = append(g.fates, func(f driver.Fate, err error) { fate(i, f, err) })
	}
}

func (g *gate) open(f driver.Fate, err error) {
	g.mu.Lock()
	fates := g.fates
	g.fates = nil
	g.mu.Unlock()
	for _, fate := range fates {
		fate(f, err)
	}
}

// A message that failed while it waited in the queue is gone from there only when the
// queue is next looked at: what Publish kept of it must not be used again before that.
func TestFailedFollowersAreNotUsedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var g gate
		b := newScripted(driver.Capabilities{SendBatch: driver.Batch{Messages: 1, Linger: time.Hour}})
		b.send = g.send
		c := b.client(t)
		topic := open(t, c, pubsub.Ordered(), pubsub.PublishBatch(pubsub.Batch{Messages: 1, Linger: -1}))
		blocked := make(chan struct{})
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			if n == 2 {
				<-blocked // the courier sends nothing meanwhile
			}
			g.send(n, batch, fate)
		}
		publish := func(key, body string) <-chan error {
			done := make(chan error, 1)
			go func() { done <- topic.Publish(t.Context(), &pubsub.Message{Key: key, Body: []byte(body)}) }()
			synctest.Wait()
			return done
		}
		first := publish("k", "1")
		publish("", "2") // blocks the courier
		follower := publish("k", "3")
		publish("", "4")
		g.open(driver.Refused, errBoom)
		if err := <-first; !errors.Is(err, errBoom) {
			t.Errorf("the first: %v", err)
		}
		if err := <-follower; !errors.Is(err, pubsub.ErrKeyFailed) {
			t.Errorf("its follower: %v", err)
		}
		publish("", "5")
		publish("", "6")
		close(blocked)
		synctest.Wait()
		var sent []string
		for _, bodies := range b.sent() {
			sent = append(sent, bodies...)
		}
		if got := strings.Join(sent, ""); got != "12456" {
			t.Errorf("sent in the order %s, want 12456", got)
		}
		g.open(driver.Stored, nil)
		closeAll(t, c)
	})
}

// What waits behind a message may fail; what is ahead of it goes on.
func TestLaterFailureLeavesTheEarlierAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var g gate
		b := newScripted(driver.Capabilities{SendsPerKey: 1})
		b.send = g.send
		c := b.client(t)
		topic := open(t, c, pubsub.Ordered())
		done := make(chan error, 1)
		topic.PublishAsync(t.Context(), &pubsub.Message{Key: "k", Body: []byte("1")}, func(err error) { done <- err })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := topic.Publish(ctx, &pubsub.Message{Key: "k", Body: []byte("2")}); pubsub.CodeOf(err) != pubsub.CodeCanceled {
			t.Errorf("the later: %v", err)
		}
		g.open(driver.Aborted, errBoom) // not its fault: sent again
		time.Sleep(time.Minute)
		g.open(driver.Stored, nil)
		if err := <-done; err != nil {
			t.Errorf("the earlier: %v", err)
		}
		closeAll(t, c)
	})
}

// The context of a message bounds its waiting, though the driver does not come back
// from sending others.
func TestContextBoundsTheWaitingBehindAStuckSend(t *testing.T) {
	for _, perKey := range []int{0, 1} {
		t.Run(fmt.Sprint("sends per key ", perKey), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				blocked := make(chan struct{})
				b := newScripted(driver.Capabilities{SendsPerKey: perKey})
				b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
					<-blocked
					all(driver.Stored, nil)(n, batch, fate)
				}
				c := b.client(t)
				topic := open(t, c, pubsub.Ordered())
				topic.PublishAsync(t.Context(), &pubsub.Message{Key: "k"}, nil)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				done := make(chan error, 1)
				topic.PublishAsync(ctx, &pubsub.Message{Key: "k"}, func(err error) { done <- err })
				select {
				case err := <-done:
					if took := time.Since(began); took != time.Second || pubsub.CodeOf(err) != pubsub.CodeCanceled {
						t.Errorf("after %v: %v", took, err)
					}
				case <-time.After(time.Minute):
					t.Error("waits for ever")
				}
				close(blocked)
				closeAll(t, c)
			})
		})
	}
}

// Keys that failed are remembered only for what was with the driver then, also where
// there is always something with the driver.
func TestFailedKeysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // alone: the heap is everybody's
		b := newScripted(driver.Capabilities{SendNeverBlocks: true})
		var last func(driver.Fate, error)
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			b.mu.Lock()
			b.batches = nil
			b.mu.Unlock()
			if batch[0].Key != "" {
				fate(0, driver.Refused, errBoom)
				return
			}
			if last != nil {
				last(driver.Stored, nil)
			}
			last = func(f driver.Fate, err error) { fate(0, f, err) }
		}
		c := b.client(t)
		topic := open(t, c, pubsub.Ordered())
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		const keys, size = 5_000, 1_000
		before := heap()
		for i := range keys {
			topic.PublishAsync(t.Context(), &pubsub.Message{}, nil)
			topic.PublishAsync(t.Context(), &pubsub.Message{Key: fmt.Sprintf("%0*d", size, i)}, nil)
		}
		if grown := int64(heap() - before); grown > keys*size/4 {
			t.Errorf("%d keys that failed keep %d bytes", keys, grown)
		}
		last(driver.Stored, nil)
		closeAll(t, c)
	})
}
