package driver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A session of a broker that is asked for messages.
func ExampleShelf() {
	type session struct{ *driver.Shelf }
	letters := []string{"a", "b", "c"} // of the broker

	var s session
	s.Shelf = driver.NewShelf(nil, func(context.Context) {
		n := min(s.Room(), len(letters))
		for _, body := range letters[:n] {
			s.Put(driver.Delivery{Message: driver.Message{Body: []byte(body)}})
		}
		letters = letters[n:]
	})
	s.Credit(2, 1<<20)
	var in driver.Intake
	fmt.Println(s.Receive(context.Background(), &in), len(in.Deliveries), "given,", len(letters), "not fetched")
	// Output: <nil> 2 given, 1 not fetched
}

func letters(bodies ...string) (list []driver.Delivery) {
	for i, b := range bodies {
		list = append(list, driver.Delivery{Message: driver.Message{Body: []byte(b)}, Receipt: driver.Receipt{Tag: uint64(i) + 1}})
	}
	return list
}

// receive returns the bodies of one Receive.
func receive(ctx context.Context, s *driver.Shelf) (bodies []string, revoked int, err error) {
	var in driver.Intake
	err = s.Receive(ctx, &in)
	for i := range in.Deliveries {
		bodies = append(bodies, string(in.Deliveries[i].Body))
	}
	return bodies, len(in.Revocations), err
}

func TestShelfKeepsToCredit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := driver.NewShelf(nil, nil)
		got := make(chan []string)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(got)
			for {
				bodies, _, err := receive(ctx, s)
				if err != nil {
					return
				}
				got <- bodies
			}
		}()
		next := func(want ...string) {
			t.Helper()
			synctest.Wait()
			var bodies []string
			select {
			case bodies = <-got:
			default:
			}
			if !slices.Equal(bodies, want) {
				t.Errorf("got %q, want %q", bodies, want)
			}
		}
		s.Put(letters("a", "bb", "cc", "d", "e")...)
		next()
		s.Credit(3, 0)
		next()
		s.Credit(0, 2) // the last message may be larger than the bytes left
		next("a", "bb")
		next()
		s.Credit(0, 3)
		next("cc")
		s.Credit(1, 100)
		next("d")
		s.Put(letters("f")...)
		next()
		s.Credit(5, 0)
		next("e", "f")
		s.Put(letters("g")...)
		next("g")
		cancel()
		<-got
	})
}

func TestShelfDropsWhatIsLeasedNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := driver.NewShelf(nil, nil)
		list := letters("a", "b")
		list[0].Deadline = time.Now().Add(time.Second)
		s.Put(list...)
		time.Sleep(time.Second) // of the bubble
		s.Credit(1, 100)
		if bodies, _, err := receive(t.Context(), s); err != nil || !slices.Equal(bodies, []string{"b"}) {
			t.Errorf("got %q, %v", bodies, err)
		}
	})
}

func TestShelfFetches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rooms []int
		var s *driver.Shelf
		s = driver.NewShelf(nil, func(context.Context) { rooms = append(rooms, s.Room()) })
		errBroker := errors.New("throttled")
		done := make(chan error)
		go func() {
			_, _, err := receive(t.Context(), s)
			done <- err
		}()
		for _, step := range []func(){
			func() {},
			func() { s.Credit(3, 0) }, // no bytes
			func() { s.Credit(0, 100) },
			func() { s.Put() },
			func() { s.Interrupt(errBroker) },
		} {
			step()
			synctest.Wait()
		}
		var interrupted *driver.Interrupted
		if err := <-done; !errors.As(err, &interrupted) || !errors.Is(err, errBroker) {
			t.Errorf("got %v, want an interruption", err)
		}
		if want := []int{0, 0, 3, 3, 0}; !slices.Equal(rooms, want) {
			t.Errorf("rooms %v, want %v", rooms, want)
		}
		s.Put(letters("a")...)
		if n := s.Room(); n != 2 {
			t.Errorf("room for %d beside one that waits, want 2", n)
		}
	})
}

// A handler may run on for long after intake has ended: what befalls its message is told.
func TestShelfTellsOfWhatIsOutOnceItIsQuiesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := driver.NewShelf(nil, nil)
		if err := s.Quiesce(t.Context()); err != nil {
			t.Error(err)
		}
		if _, _, err := receive(t.Context(), s); !errors.Is(err, driver.ErrQuiesced) {
			t.Errorf("got %v, want ErrQuiesced", err)
		}
		type result struct {
			revoked int
			err     error
		}
		results := make(chan result)
		go func() {
			for range 2 {
				_, revoked, err := receive(t.Context(), s)
				results <- result{revoked, err}
			}
		}()
		synctest.Wait()
		select {
		case r := <-results:
			t.Errorf("got %+v from a session that waits", r)
		default:
		}
		s.Interrupt(errors.New("does not matter any more"))
		s.Revoke(driver.Revocation{Claim: 1})
		if r := <-results; r.revoked != 1 || r.err != nil {
			t.Errorf("got %+v, want a revocation", r)
		}
		lost := errors.New("lost")
		s.End(lost)
		if r := <-results; !errors.Is(r.err, lost) {
			t.Errorf("got %+v, want the session's end", r)
		}
	})
}

func TestShelfEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent := driver.NewLife(nil)
		quiesced, cleared, dead := driver.NewShelf(&parent, nil), driver.NewShelf(&parent, nil), driver.NewShelf(&parent, nil)
		for _, s := range []*driver.Shelf{quiesced, cleared, dead} {
			s.Put(letters("a", "b")...)
			s.Revoke(driver.Revocation{Claim: 1})
			if bodies, revoked, err := receive(t.Context(), s); len(bodies) > 0 || revoked != 1 || err != nil {
				t.Errorf("got %q, %d revocations, %v", bodies, revoked, err)
			}
		}
		if err := quiesced.Quiesce(t.Context()); err != nil {
			t.Error(err)
		}
		quiesced.Revoke(driver.Revocation{Claim: 2})
		if bodies, revoked, err := receive(t.Context(), quiesced); len(bodies) != 2 || revoked != 1 || err != nil {
			t.Errorf("quiesced: got %q, %d revocations, %v; want all that is left, without credit", bodies, revoked, err)
		}
		if held := cleared.Clear(); len(held) != 2 {
			t.Errorf("cleared: %d were held, want 2", len(held))
		}
		for name, s := range map[string]*driver.Shelf{"quiesced": quiesced, "cleared": cleared} {
			if s.Put(letters("c")...) || s.Room() != 0 {
				t.Errorf("%s: takes more", name)
			}
			if _, _, err := receive(t.Context(), s); !errors.Is(err, driver.ErrQuiesced) {
				t.Errorf("%s: got %v, want ErrQuiesced", name, err)
			}
		}
		errCut := errors.New("cut")
		go func() {
			time.Sleep(time.Second) // of the bubble
			parent.End(errCut)
		}()
		if _, _, err := receive(t.Context(), dead); !errors.Is(err, errCut) {
			t.Errorf("dead: got %v", err)
		}
		dead.Credit(5, 100)
		if bodies, _, err := receive(t.Context(), dead); !errors.Is(err, errCut) || len(bodies) > 0 || dead.Put(letters("c")...) {
			t.Errorf("dead: got %q, %v", bodies, err)
		}
	})
}
