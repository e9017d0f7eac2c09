package pubsub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

const settleLinger = 10 * time.Millisecond

// lingering is a broker whose settlements wait for company.
func lingering() *scripted {
	return newScripted(driver.Capabilities{Ordered: true, SettleBatch: driver.Batch{Linger: settleLinger}})
}

// calls is how many calls of Settle there were.
func (s *scriptedSession) calls() int {
	log := s.log()
	if len(log) == 0 {
		return 0
	}
	return log[len(log)-1].call + 1
}

func TestSettlementsOfAStreamTravelTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := receive(t, lingering(), done)
		const messages, apart = 1000, settleLinger / 20
		for i := range messages {
			r.session.give(uint64(1+i), driver.Message{})
			time.Sleep(apart)
		}
		time.Sleep(settleLinger)
		if got := len(r.session.log()); got != messages {
			t.Errorf("%d of %d were settled", got, messages)
		}
		if got, most := r.session.calls(), int(messages*apart/settleLinger)+2; got > most {
			t.Errorf("%d calls of Settle, want at most %d", got, most)
		}
		r.end(nil)
	})
}

func TestALoneSettlementDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := receive(t, lingering(), done)
		for i := range 5 {
			began := time.Now()
			r.session.give(uint64(1+i), driver.Message{})
			synctest.Wait()
			if log := r.session.log(); len(log) != i+1 || !log[i].at.Equal(began) {
				t.Fatalf("settled %+v, want all so far, the last at %v", log, began)
			}
			time.Sleep(settleLinger + 1)
		}
		r.end(nil)
	})
}

// What fills requests does not wait for more requests.
func TestFullRequestsDoNotWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{RetryDelay: 2 * time.Hour, SettleRequest: 10, SettleBatch: driver.Batch{Messages: 100, Linger: settleLinger}})
		r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
			if len(d.Body) > 0 {
				return errors.New("later")
			}
			return nil
		}, pubsub.RetryBackoff(pubsub.Backoff{Min: time.Hour, Max: time.Hour}))
		tag, settled := uint64(1), 0
		give := func(messages ...driver.Message) {
			t.Helper()
			r.session.give(tag, messages...)
			tag += uint64(len(messages))
			synctest.Wait()
		}
		want := func(more int) {
			t.Helper()
			settled += more
			if got := len(r.session.log()); got != settled {
				t.Fatalf("%d were settled; want %d", got, settled)
			}
		}
		give(driver.Message{}) // begins a stream
		want(1)
		give(make([]driver.Message, 25)...)
		want(20)
		give(make([]driver.Message, 4)...)
		want(0)
		give(driver.Message{})
		want(10)
		give(make([]driver.Message, 3)...)
		time.Sleep(settleLinger)
		synctest.Wait()
		want(3)
		give(driver.Message{Body: []byte("x")})
		give(make([]driver.Message, 9)...) // with the retry, these fill no request
		want(0)
		time.Sleep(settleLinger)
		synctest.Wait()
		want(10)
		r.end(nil)
	})
}

// With the window used up, the broker gives nothing more before it hears of something.
func TestSettlementsDoNotHoldTheWindowBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const window = 10
		r := receive(t, lingering(), done, pubsub.InFlight(window, 0))
		began := time.Now()
		for i := range 10 {
			r.session.give(uint64(1+i*window), make([]driver.Message, window)...)
			synctest.Wait()
		}
		if got := len(r.session.log()); got != 10*window || !time.Now().Equal(began) {
			t.Errorf("%d of %d were settled within %v", got, 10*window, time.Since(began))
		}
		r.end(nil)
	})
}

// Some brokers give the next message of a key when the last was settled.
func TestSettlementsDoNotHoldAKeyBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := receive(t, lingering(), done, pubsub.Ordered())
		began := time.Now()
		for i := range 10 {
			r.session.give(uint64(1+i), driver.Message{Key: "k"})
			synctest.Wait()
		}
		if got := len(r.session.log()); got != 10 || !time.Now().Equal(began) {
			t.Errorf("%d of 10 were settled within %v", got, time.Since(began))
		}
		r.end(nil)
	})
}
