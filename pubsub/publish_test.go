package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// outcomes publishes bodies asynchronously and collects their outcomes.
type outcomes struct {
	errs map[string]error
	done chan struct{}
}

func publishAll(ctx context.Context, topic *pubsub.Topic, key string, bodies ...string) *outcomes {
	o := &outcomes{errs: map[string]error{}, done: make(chan struct{})}
	results := make(chan struct {
		body string
		err  error
	}, len(bodies))
	for _, body := range bodies {
		topic.PublishAsync(ctx, &pubsub.Message{Key: key, Body: []byte(body)}, func(err error) {
			results <- struct {
				body string
				err  error
			}{body, err}
		})
	}
	go func() {
		defer close(o.done)
		for range bodies {
			r := <-results
			o.errs[r.body] = r.err
		}
	}()
	return o
}

func (o *outcomes) wait() map[string]error {
	<-o.done
	return o.errs
}

func open(t *testing.T, c *pubsub.Client, options ...pubsub.PublisherOption) *pubsub.Topic {
	t.Helper()
	topic, err := c.Publisher(t.Context(), "t", options...)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func closeAll(t *testing.T, c *pubsub.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func TestAbortedIsSentAgainInOrder(t *testing.T) {
	for _, direct := range []bool{false, true} {
		t.Run(fmt.Sprint("direct=", direct), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{SendNeverBlocks: direct, SendBatch: driver.Batch{Messages: 4}})
				b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
					f, err := driver.Stored, error(nil)
					if n <= 3 {
						f, err = driver.Aborted, errBoom
					}
					all(f, err)(n, batch, fate)
				}
				c := b.client(t)
				o := publishAll(t.Context(), open(t, c), "k", "1", "2", "3", "4", "5", "6", "7", "8")
				for body, err := range o.wait() {
					if err != nil {
						t.Errorf("%s: %v", body, err)
					}
				}
				var stored []string
				for _, bodies := range b.sent()[3:] {
					stored = append(stored, bodies...)
				}
				if got := strings.Join(stored, ""); got != "12345678" {
					t.Errorf("stored in the order %s; sends %v", got, b.sent())
				}
				closeAll(t, c)
			})
		})
	}
}

func TestUnknownIsSentAgainOnlyWhereThatIsRight(t *testing.T) {
	for _, resend := range []bool{true, false} {
		t.Run(fmt.Sprint(resend), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{ResendUnknown: resend})
				b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
					if n == 1 {
						fate(0, driver.Unknown, errBoom)
						return
					}
					fate(0, driver.Stored, nil)
				}
				c := b.client(t)
				err := open(t, c).Publish(t.Context(), &pubsub.Message{})
				if resend && err != nil {
					t.Errorf("got %v, want it sent again", err)
				}
				if !resend && (!errors.Is(err, pubsub.ErrUnconfirmed) || !errors.Is(err, errBoom) || pubsub.CodeOf(err) != pubsub.CodeUnconfirmed) {
					t.Errorf("got %v, want ErrUnconfirmed with its cause", err)
				}
				closeAll(t, c)
			})
		})
	}
}

func TestBatchIsSplitUntilTheCulpritIsAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendBatch: driver.Batch{Messages: 8}})
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			bad := false
			for i := range batch {
				bad = bad || string(batch[i].Body) == "bad"
			}
			switch {
			case bad && len(batch) == 1:
				fate(0, driver.Refused, errBoom)
			case bad:
				all(driver.Aborted, errBoom)(n, batch, fate)
			default:
				all(driver.Stored, nil)(n, batch, fate)
			}
		}
		c := b.client(t)
		for body, err := range publishAll(t.Context(), open(t, c), "", "1", "2", "3", "bad", "5", "6", "7").wait() {
			if (body == "bad") != (err != nil) {
				t.Errorf("%s: %v", body, err)
			}
		}
		closeAll(t, c)
	})
}

// A batch that the broker refuses as a whole is divided, also while others are stored.
func TestBatchIsSplitOnABusyTopic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendBatch: driver.Batch{Messages: 8}})
		var sends atomic.Int32
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			bad := slices.ContainsFunc(batch, func(m driver.Message) bool { return string(m.Body) == "bad" })
			sends.Add(1)
			switch {
			case bad && len(batch) == 1:
				fate(0, driver.Refused, errBoom)
			case bad:
				go func() {
					time.Sleep(time.Millisecond) // others are stored meanwhile
					all(driver.Aborted, errBoom)(n, batch, fate)
				}()
			default:
				go func() {
					time.Sleep(100 * time.Microsecond)
					all(driver.Stored, nil)(n, batch, fate)
				}()
			}
		}
		c := b.client(t)
		topic := open(t, c)
		first := publishAll(t.Context(), topic, "", "1", "2", "bad", "4")
		var busy sync.WaitGroup
		var over atomic.Bool
		for range 64 {
			busy.Go(func() {
				for !over.Load() && sends.Load() < 10_000 { // or the test would never end
					_ = topic.Publish(t.Context(), &pubsub.Message{Body: []byte("other")})
				}
			})
		}
		for body, err := range first.wait() {
			if (body == "bad") != (err != nil) {
				t.Errorf("%s: %v", body, err)
			}
		}
		over.Store(true)
		busy.Wait()
		if n := sends.Load(); n > 1000 {
			t.Errorf("it took %d sends", n)
		}
		closeAll(t, c)
	})
}

func TestFailedKeyFailsItsFollowers(t *testing.T) {
	for _, goOn := range []bool{false, true} {
		t.Run(fmt.Sprint("continue=", goOn), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{SendsPerKey: 1})
				b.send = func(_ int, batch []driver.Message, fate func(int, driver.Fate, error)) {
					for i := range batch {
						if string(batch[i].Body) == "a1" {
							fate(i, driver.Refused, errBoom)
						} else {
							fate(i, driver.Stored, nil)
						}
					}
				}
				c := b.client(t)
				options := []pubsub.PublisherOption{pubsub.Ordered()}
				if goOn {
					options = append(options, pubsub.ContinueAfterFailure())
				}
				topic := open(t, c, options...)
				a := publishAll(t.Context(), topic, "a", "a1", "a2", "a3")
				other := publishAll(t.Context(), topic, "b", "b1", "b2")
				for body, err := range a.wait() {
					switch {
					case body == "a1" && !errors.Is(err, errBoom):
						t.Errorf("a1: %v", err)
					case body != "a1" && goOn && err != nil, body != "a1" && !goOn && !errors.Is(err, pubsub.ErrKeyFailed):
						t.Errorf("%s: %v", body, err)
					}
				}
				for body, err := range other.wait() {
					if err != nil {
						t.Errorf("%s: %v", body, err)
					}
				}
				if err := topic.Publish(t.Context(), &pubsub.Message{Key: "a", Body: []byte("a4")}); err != nil {
					t.Errorf("a later message of the key: %v", err)
				}
				closeAll(t, c)
			})
		})
	}
}

func TestSendsPerKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendsPerKey: 1, SendBatch: driver.Batch{Messages: 10}})
		c := b.client(t)
		topic := open(t, c, pubsub.Ordered())
		publishAll(t.Context(), topic, "a", "1", "2", "3", "4").wait()
		for _, bodies := range b.sent() {
			if len(bodies) != 1 {
				t.Errorf("a Send had %v of one key", bodies)
			}
		}
		closeAll(t, c)
	})
}

// keyPerSend checks what Sends with one key carry; the fates come after a second.
type keyPerSend struct {
	*testing.T
	broker *scripted

	mu    sync.Mutex
	busy  map[string]bool
	sent  map[string]string // bodies of each key
	sizes []int
}

func newKeyPerSend(t *testing.T) *keyPerSend {
	k := &keyPerSend{T: t, busy: map[string]bool{}, sent: map[string]string{}}
	k.broker = newScripted(driver.Capabilities{KeyPerSend: true, SendBatch: driver.Batch{Messages: 4, Linger: time.Hour}})
	k.broker.send = k.send
	return k
}

func (k *keyPerSend) send(_ int, batch []driver.Message, fate func(int, driver.Fate, error)) {
	key := batch[0].Key
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[key] && key != "" {
		k.Errorf("two Sends of key %q", key)
	}
	k.busy[key] = true
	k.sizes = append(k.sizes, len(batch))
	for i := range batch {
		if batch[i].Key != key {
			k.Errorf("a Send with keys %q and %q", key, batch[i].Key)
		}
		k.sent[key] += string(batch[i].Body)
	}
	n := len(batch)
	time.AfterFunc(time.Second, func() {
		k.mu.Lock()
		k.busy[key] = false
		k.mu.Unlock()
		for i := range n {
			fate(i, driver.Stored, nil)
		}
	})
}

// What comes while a Send of its key runs is in the next, and other keys do not wait.
func TestKeyPerSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeyPerSend(t)
		c := k.broker.client(t)
		topic := open(t, c, pubsub.Ordered())
		began := time.Now()
		a := publishAll(t.Context(), topic, "a", "1", "2", "3", "4", "5", "6")
		b := publishAll(t.Context(), topic, "b", "1", "2", "3")
		none := publishAll(t.Context(), topic, "", "1", "2", "3", "4", "5")
		for _, o := range []*outcomes{a, b, none} {
			for body, err := range o.wait() {
				if err != nil {
					t.Errorf("%s: %v", body, err)
				}
			}
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v and %v messages a Send", took, k.sizes)
		}
		for key, want := range map[string]string{"a": "123456", "b": "123", "": "12345"} {
			if k.sent[key] != want {
				t.Errorf("key %q was sent in the order %s, want %s", key, k.sent[key], want)
			}
		}
		closeAll(t, c)
	})
}

// What comes back goes in front of what waits for its key, and in one Send again.
func TestKeyPerSendComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeyPerSend(t)
		k.broker.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			if n > 4 {
				k.send(n, batch, fate)
				return
			}
			n = len(batch)
			time.AfterFunc(time.Second, func() {
				for i := range n {
					fate(n-1-i, driver.Aborted, errBoom)
				}
			})
		}
		c := k.broker.client(t)
		topic := open(t, c, pubsub.Ordered())
		var outcomes []*outcomes
		for _, body := range strings.Split("12345678", "") {
			for _, key := range []string{"a", "b", "c", ""} {
				outcomes = append(outcomes, publishAll(t.Context(), topic, key, body))
			}
			time.Sleep(300 * time.Millisecond)
		}
		for _, o := range outcomes {
			for body, err := range o.wait() {
				if err != nil {
					t.Errorf("%s: %v", body, err)
				}
			}
		}
		for key, sent := range k.sent {
			if key != "" && sent != "12345678" || len(sent) != 8 {
				t.Errorf("key %q was sent in the order %s", key, sent)
			}
		}
		closeAll(t, c)
	})
}

// A message whose context ends while it waits for its key takes those behind it along,
// and the key goes on after them.
func TestKeyPerSendExpires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeyPerSend(t)
		c := k.broker.client(t)
		topic := open(t, c, pubsub.Ordered())
		first := publishAll(t.Context(), topic, "a", "1")
		synctest.Wait()
		second := publishAll(t.Context(), topic, "a", "2")
		ctx, cancel := context.WithCancel(t.Context())
		third := publishAll(ctx, topic, "a", "3")
		fourth := publishAll(t.Context(), topic, "a", "4")
		cancel()
		for body, err := range fourth.wait() {
			if !errors.Is(err, pubsub.ErrKeyFailed) {
				t.Errorf("%s: %v", body, err)
			}
		}
		for body, err := range third.wait() {
			if pubsub.CodeOf(err) != pubsub.CodeCanceled {
				t.Errorf("%s: %v", body, err)
			}
		}
		fifth := publishAll(t.Context(), topic, "a", "5")
		for _, o := range []*outcomes{first, second, fifth} {
			for body, err := range o.wait() {
				if err != nil {
					t.Errorf("%s: %v", body, err)
				}
			}
		}
		if k.sent["a"] != "125" {
			t.Errorf("sent %s", k.sent["a"])
		}
		closeAll(t, c)
	})
}

// No more than the window is with the driver; it is sent to in batches as large as half of
// it, not as places come free.
func TestSendWindow(t *testing.T) {
	for _, direct := range []bool{false, true} {
		t.Run(fmt.Sprintf("direct %t", direct), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{SendWindow: 6, SendNeverBlocks: direct})
				under := 0
				fates := make(chan func(), 20)
				b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
					if under += len(batch); under > 6 {
						t.Errorf("%d messages are without their fates", under)
					}
					for i := range batch {
						fates <- func() { fate(i, driver.Stored, nil) }
					}
				}
				c := b.client(t)
				topic := open(t, c)
				o := publishAll(t.Context(), topic, "", strings.Split("abcdefghijklmnopqrst", "")...)
				synctest.Wait()
				first := len(b.sent())
				for range 20 {
					under--
					(<-fates)()
					synctest.Wait()
				}
				o.wait()
				if n := len(b.sent()) - first; n > 5 { // for 14 messages
					t.Errorf("%d further Sends: %v", n, b.sent())
				}
				closeAll(t, c)
			})
		})
	}
}

func TestPublishLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		release := make(chan struct{})
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			go func() {
				<-release
				all(driver.Stored, nil)(n, batch, fate)
			}()
		}
		c := b.client(t)
		topic := open(t, c, pubsub.PublishLimit(2, 0))
		o := publishAll(t.Context(), topic, "", "1", "2")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := topic.Publish(ctx, &pubsub.Message{}); pubsub.CodeOf(err) != pubsub.CodeCanceled || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beyond the limit: %v", err)
		}
		close(release)
		o.wait()
		if err := topic.Publish(t.Context(), &pubsub.Message{}); err != nil {
			t.Error(err)
		}
		closeAll(t, c)
	})
}

func TestPublishWaitsWhileTheBrokerIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendNeverBlocks: true})
		c := b.client(t)
		topic := open(t, c)
		b.refuse(driver.Errorf(driver.CodeUnavailable, "away"))
		b.conn.topics[0].die(errBoom)
		b.conn.die(errBoom)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := topic.Publish(short, &pubsub.Message{Body: []byte("short")})
		if pubsub.CodeOf(err) != pubsub.CodeCanceled || !strings.Contains(err.Error(), "not sent") {
			t.Errorf("got %v, want that it was not sent", err)
		}
		expired := publishAll(short, topic, "", "late")
		patient := publishAll(t.Context(), topic, "", "1", "2", "3")
		time.Sleep(10 * time.Minute)
		b.refuse(nil)
		for body, err := range patient.wait() {
			if err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
		if err := expired.wait()["late"]; pubsub.CodeOf(err) != pubsub.CodeCanceled {
			t.Errorf("late: %v", err)
		}
		if got := slices.Concat(b.sent()...); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("sent %v", got)
		}
		closeAll(t, c)
	})
}

func TestPublishWhoseContextEndsWhileSentIsUnconfirmed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		var tell func()
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			tell = func() { all(driver.Stored, nil)(n, batch, fate) }
		}
		c := b.client(t)
		topic := open(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := topic.Publish(ctx, &pubsub.Message{}); !errors.Is(err, pubsub.ErrUnconfirmed) {
			t.Errorf("got %v", err)
		}
		tell()
		closeAll(t, c)
	})
}

// What went wrong before is told beside the context's end, which alone says nothing of it.
func TestUnconfirmedSaysWhatWentWrong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{ResendUnknown: true})
		var tell func()
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			if n == 1 {
				all(driver.Unknown, errBoom)(n, batch, fate)
				return
			}
			tell = func() { all(driver.Stored, nil)(n, batch, fate) }
		}
		c := b.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := open(t, c).Publish(ctx, &pubsub.Message{})
		if !errors.Is(err, pubsub.ErrUnconfirmed) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), errBoom.Error()) {
			t.Errorf("got %v", err)
		}
		tell()
		closeAll(t, c)
	})
}

func TestCloseSendsWhatWasTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendBatch: driver.Batch{Messages: 1}})
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			time.Sleep(time.Second)
			all(driver.Stored, nil)(n, batch, fate)
		}
		c := b.client(t)
		o := publishAll(t.Context(), open(t, c), "", "1", "2", "3")
		closeAll(t, c)
		for body, err := range o.wait() {
			if err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
}

func TestCloseWaitsUntilOutcomesAreTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			go all(driver.Stored, nil)(n, batch, fate)
		}
		c := b.client(t)
		var told atomic.Int32
		for range 3 {
			open(t, c).PublishAsync(t.Context(), &pubsub.Message{}, func(error) {
				time.Sleep(time.Second)
				told.Add(1)
			})
		}
		closeAll(t, c)
		if n := told.Load(); n != 3 {
			t.Errorf("Close returned when %d of 3 outcomes were told", n)
		}
	})
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendBatch: driver.Batch{Messages: 1}})
		b.send = all(driver.Aborted, errBoom)
		c := b.client(t)
		o := publishAll(t.Context(), open(t, c), "", "1", "2")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
		for body, err := range o.wait() {
			if pubsub.CodeOf(err) != pubsub.CodeClosed || !errors.Is(err, errBoom) {
				t.Errorf("%s: %v, want closed, and why it was not sent", body, err)
			}
		}
	})
}

func TestFinalErrorEndsTheWaitingAfterAGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		gone := false
		b.opens = func(string) error {
			if gone {
				return driver.Errorf(driver.CodePermissionDenied, "denied")
			}
			return nil
		}
		c := b.client(t)
		topic := open(t, c)
		gone = true
		b.conn.topics[0].die(errBoom)
		began := time.Now()
		err := topic.Publish(t.Context(), &pubsub.Message{})
		if pubsub.CodeOf(err) != pubsub.CodePermissionDenied || time.Since(began) < time.Minute || time.Since(began) > 3*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		closeAll(t, c)
	})
}

func TestLingerWaitsForCompanyOnlyWhenBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendBatch: driver.Batch{Messages: 10, Linger: time.Second}})
		release := make(chan struct{})
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			go func() {
				<-release
				all(driver.Stored, nil)(n, batch, fate)
			}()
		}
		c := b.client(t)
		topic := open(t, c)
		first := publishAll(t.Context(), topic, "", "1")
		synctest.Wait()
		second := publishAll(t.Context(), topic, "", "2")
		synctest.Wait()
		if got := len(b.sent()); got != 1 {
			t.Errorf("%d Sends; want the first at once and the second to wait", got)
		}
		third := publishAll(t.Context(), topic, "", "3")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := b.sent(); !reflect.DeepEqual(got, [][]string{{"1"}, {"2", "3"}}) {
			t.Errorf("sent %v", got)
		}
		close(release)
		first.wait()
		second.wait()
		third.wait()
		closeAll(t, c)
	})
}

func TestPublishMiddlewareSeesBothWays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		b.send = func(_ int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			if batch[0].Headers["tenant"] != "a" {
				t.Errorf("headers %v", batch[0].Headers)
			}
			fate(0, driver.Stored, nil)
		}
		seen := 0
		middleware := func(next pubsub.PublishFunc) pubsub.PublishFunc {
			return func(ctx context.Context, m *pubsub.Message, done func(error)) {
				m.SetHeader("tenant", "a")
				next(ctx, m, func(err error) {
					seen++
					done(err)
					done(err) // a middleware that is wrong
				})
			}
		}
		c := b.client(t, pubsub.PublisherDefaults(pubsub.PublishMiddleware(middleware)))
		topic := open(t, c)
		mine := &pubsub.Message{}
		if err := topic.Publish(t.Context(), mine); err != nil || mine.Headers != nil {
			t.Errorf("%v; the caller's message has headers %v", err, mine.Headers)
		}
		told := 0
		topic.PublishAsync(t.Context(), &pubsub.Message{}, func(error) { told++ })
		synctest.Wait()
		if seen != 2 || told != 1 {
			t.Errorf("saw %d outcomes, want 2, and told the second's %d times, want once", seen, told)
		}
		topic.PublishAsync(t.Context(), &pubsub.Message{}, nil)
		closeAll(t, c)
	})
}

// A Publish of several messages leaves no gap in a key, whichever way the earlier one failed.
func TestPublishOfSeveralLeavesNoGapInAKey(t *testing.T) {
	for _, direct := range []bool{false, true} {
		for _, chained := range []bool{false, true} {
			for _, bad := range []string{"too long", "refused"} {
				t.Run(fmt.Sprintf("direct=%t chained=%t %s", direct, chained, bad), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						b := newScripted(driver.Capabilities{SendNeverBlocks: direct, MessageBytes: 9, SendBatch: driver.Batch{Messages: 1}})
						b.send = func(_ int, batch []driver.Message, fate func(int, driver.Fate, error)) {
							for i := range batch {
								if string(batch[i].Body) == "refused" {
									fate(i, driver.Refused, errBoom)
								} else {
									fate(i, driver.Stored, nil)
								}
							}
						}
						var options []pubsub.PublisherOption
						if chained {
							options = append(options, pubsub.PublishMiddleware(func(next pubsub.PublishFunc) pubsub.PublishFunc { return next }))
						}
						c := b.client(t)
						m := func(key, body string) *pubsub.Message { return &pubsub.Message{Key: key, Body: []byte(body)} }
						messages := []*pubsub.Message{m("a", bad+"."), m("a", "2"), m("b", "3"), m("", "4"), m("a", "5")}
						messages[0].Body = []byte(map[string]string{"refused": "refused"}[bad])
						if bad == "too long" {
							messages[0].Body = []byte("0123456789")
						}
						topic := open(t, c, append(options, pubsub.Ordered(), pubsub.PublishLimit(1, 0))...)
						var failed *pubsub.PublishError
						if err := topic.Publish(t.Context(), messages...); !errors.As(err, &failed) || len(failed.Failed) != 3 ||
							!errors.Is(failed.Failed[1].Err, pubsub.ErrKeyFailed) || !errors.Is(failed.Failed[2].Err, pubsub.ErrKeyFailed) {
							t.Errorf("Publish: %v; want what came after the first of its key to fail with it", err)
						}
						if err := topic.Publish(t.Context(), m("a", "6"), m("a", "7")); err != nil {
							t.Errorf("the next Publish: %v", err)
						}
						topic = open(t, c, append(options, pubsub.Ordered(), pubsub.ContinueAfterFailure())...)
						if err := topic.Publish(t.Context(), messages...); !errors.As(err, &failed) || len(failed.Failed) != 1 {
							t.Errorf("Publish that goes on: %v", err)
						}
						closeAll(t, c)
					})
				})
			}
		}
	}
}

// What middleware passed on and was never sent is no more in doubt than without it.
func TestPublishThroughMiddlewareSaysWhatWasNeverSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		stuck := make(chan struct{})
		b.send = func(n int, batch []driver.Message, fate func(int, driver.Fate, error)) {
			<-stuck
			all(driver.Stored, nil)(n, batch, fate)
		}
		c := b.client(t)
		topic := open(t, c, pubsub.PublishMiddleware(func(next pubsub.PublishFunc) pubsub.PublishFunc { return next }))
		first := publishAll(t.Context(), topic, "", "1")
		synctest.Wait()
		for _, patience := range []time.Duration{time.Millisecond, time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := topic.Publish(ctx, &pubsub.Message{}); pubsub.CodeOf(err) != pubsub.CodeCanceled || errors.Is(err, pubsub.ErrUnconfirmed) {
				t.Errorf("after %v: %v, want that it was not sent", patience, err)
			}
			cancel()
		}
		close(stuck)
		first.wait()
		closeAll(t, c)
	})
}

// Who publishes the next message when the last one's outcome comes may do so for ever: where
// outcomes come at once, calls are not nested without end.
func TestPublishFromAnOutcomeDoesNotNest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{SendNeverBlocks: true})
		c := b.client(t)
		topic := open(t, c)
		done := make(chan int)
		frames := make([]uintptr, 100_000)
		n := 0
		var next func(error)
		next = func(err error) {
			if err != nil {
				t.Error(err)
			}
			if n++; n == 5000 {
				done <- runtime.Callers(0, frames)
				return
			}
			topic.PublishAsync(t.Context(), &pubsub.Message{}, next)
		}
		go next(nil)
		if deep := <-done; deep > 5000 {
			t.Errorf("%d calls deep", deep)
		}
		closeAll(t, c)
	})
}
