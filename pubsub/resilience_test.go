package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// A broker that comes back after a long while may deny for a moment: the grace begins
// with the first denial, not with the outage.
func TestGraceBeginsWithTheFinalError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		c := b.client(t)
		b.refuse(driver.Errorf(driver.CodeUnavailable, "away"))
		b.conn.die(errBoom)
		opened := make(chan error, 1)
		go func() {
			_, err := c.Publisher(t.Context(), "t")
			opened <- err
		}()
		time.Sleep(10 * time.Minute)
		b.refuse(driver.Errorf(driver.CodePermissionDenied, "not yet"))
		time.Sleep(40 * time.Second)
		b.refuse(nil)
		if err := <-opened; err != nil {
			t.Errorf("Publisher: %v", err)
		}
		closeAll(t, c)
	})
}

// slowDial is a driver whose Open takes its time.
type slowDial struct {
	*scripted
	dialing chan struct{}
	goOn    chan struct{}
}

func (d *slowDial) Open(ctx context.Context) (driver.Conn, error) {
	d.dialing <- struct{}{}
	<-d.goOn
	return d.scripted.Open(ctx)
}

// A connection that is made while its client closes is closed too.
func TestCloseWhileDialingLeavesNoConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &slowDial{scripted: newScripted(driver.Capabilities{}), dialing: make(chan struct{}, 1), goOn: make(chan struct{}, 1)}
		d.goOn <- struct{}{}
		c, err := pubsub.New(t.Context(), d, pubsub.Logger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		<-d.dialing
		d.conn.die(errBoom)
		opened := make(chan error, 1)
		go func() {
			_, err := c.Publisher(t.Context(), "t")
			opened <- err
		}()
		<-d.dialing
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
		d.goOn <- struct{}{}
		if err := <-opened; !errors.Is(err, pubsub.ErrClosed) {
			t.Errorf("Publisher: %v", err)
		}
		if d.conn.Err() == nil {
			t.Error("the connection was left open")
		}
	})
}

// shortLived is a driver whose connections die at once, but for the first.
type shortLived struct {
	*scripted
	dials atomic.Int32
}

func (d *shortLived) Open(ctx context.Context) (driver.Conn, error) {
	conn, err := d.scripted.Open(ctx)
	if n := d.dials.Add(1); n > 1 && n < 1000 { // or the test would never end without a backoff
		d.conn.die(errBoom)
	}
	return conn, err
}

// A broker that takes connections and drops them is not dialed in a hot loop.
func TestConnectionsThatDieYoungAreOpenedWithBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &shortLived{scripted: newScripted(driver.Capabilities{})}
		c, err := pubsub.New(t.Context(), d, pubsub.Logger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		d.conn.die(errBoom)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Publisher(ctx, "t"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBoom) {
			t.Errorf("got %v", err)
		}
		if n := d.dials.Load(); n < 3 || n > 20 {
			t.Errorf("dialed %d times in a minute", n)
		}
		closeAll(t, c)
	})
}

// Who waits in vain for the broker is told why.
func TestWaitingForTheBrokerTellsWhy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		c := b.client(t)
		b.refuse(driver.Wrap(driver.CodeUnavailable, "away", errBoom))
		b.conn.die(errBoom)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Publisher(ctx, "t")
		if !errors.Is(err, errBoom) || !errors.Is(err, context.DeadlineExceeded) || pubsub.CodeOf(err) != pubsub.CodeCanceled {
			t.Errorf("got %v", err)
		}
		closeAll(t, c)
	})
}

// A session that gives something and dies at once is not opened in a hot loop.
func TestSessionsThatDieYoungAreOpenedWithBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error { return nil })
		session, opened := r.session, 0
		for began := time.Now(); time.Since(began) < time.Minute; opened++ {
			session.give(1, driver.Message{})
			synctest.Wait()
			session.die(errBoom)
			session = <-b.sessions
			if opened == 1000 {
				t.Fatalf("opened %d sessions in %v", opened, time.Since(began))
			}
		}
		r.end(nil)
	})
}

// One settlement that the broker does not take does not slow the others down for long.
func TestOneStubbornSettlementDoesNotStopTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error { return nil })
		r.session.settles = func(v *driver.Settlement) {
			if v.Tag == 1 {
				v.Outcome, v.OutcomeErr = driver.Again, errBoom
			}
		}
		r.session.give(1, driver.Message{})
		began := time.Now()
		for tag := uint64(2); tag < 200; tag++ {
			r.session.give(tag, driver.Message{})
			time.Sleep(time.Second)
		}
		synctest.Wait()
		worst := time.Duration(0)
		for _, v := range r.session.log() {
			if v.tag > 1 {
				worst = max(worst, v.at.Sub(began)-time.Duration(v.tag-2)*time.Second)
			}
		}
		if worst > time.Second {
			t.Errorf("a settlement waited for %v behind another's", worst)
		}
		r.end(nil)
	})
}

// MaxHandling is kept for each message, whenever it came.
func TestTooSlowIsToldInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Hold: 30 * time.Minute})
		took := make(chan time.Duration, 2)
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			began := time.Now()
			<-ctx.Done()
			took <- time.Since(began)
			return nil
		})
		r.session.give(1, driver.Message{})
		time.Sleep(20 * time.Minute)
		r.session.give(2, driver.Message{})
		for range 2 {
			if d := <-took; d > 31*time.Minute {
				t.Errorf("a handler was told after %v", d)
			}
		}
		r.end(nil)
	})
}

// An extension that failed is tried again while the lease lasts.
func TestFailedExtensionIsTriedAgainInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Lease: 30 * time.Second, Hold: time.Hour})
		var cause error
		r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
				cause = context.Cause(ctx)
			}
			return nil
		})
		var mu sync.Mutex
		failures := 3
		r.session.extends = func(receipt *driver.Receipt, d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if failures--; failures < 0 {
				receipt.Deadline = time.Now().Add(d)
			}
		}
		r.session.intake <- driver.Intake{Deliveries: []driver.Delivery{{Receipt: driver.Receipt{Tag: 1, Deadline: time.Now().Add(30 * time.Second)}}}}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if cause != nil {
			t.Errorf("the handler lost its message: %v", cause)
		}
		r.end(nil)
	})
}

// The broker's own client is within reach where the driver shows it, until the client
// is closed.
func TestRaw(t *testing.T) {
	t.Parallel()
	broker, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := pubsub.New(t.Context(), broker)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := c.Raw(t.Context()); err != nil || raw != any(broker) {
		t.Errorf("got %v, %v", raw, err)
	}
	closeAll(t, c)
	if _, err := c.Raw(t.Context()); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	none := newScripted(driver.Capabilities{}).client(t)
	if _, err := none.Raw(t.Context()); pubsub.CodeOf(err) != pubsub.CodeUnsupported {
		t.Errorf("where there is none: %v", err)
	}
	closeAll(t, none)
}

// needy is a logger that writes a record when a message has been handled meanwhile.
type needy struct {
	slog.Handler
	write func()
}

func (h *needy) Enabled(context.Context, slog.Level) bool { return true }

func (h *needy) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *needy) Handle(context.Context, slog.Record) error {
	h.write()
	return nil
}

// Nothing is logged under the lock: a slow logger would stop everything.
func TestLogsAreWrittenWithoutTheLock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		handled := make(chan struct{})
		var r *reception
		logged := 0
		c := b.client(t, pubsub.Logger(slog.New(&needy{Handler: slog.DiscardHandler, write: func() {
			logged++
			r.session.give(100, driver.Message{})
			<-handled
		}})), pubsub.SubscriberDefaults(pubsub.MaxHandling(time.Minute)))
		r = receiveWith(t, c, b, func(ctx context.Context, d *pubsub.Delivery) error {
			switch string(d.Body) {
			case "":
				handled <- struct{}{}
			case "slow":
				<-ctx.Done()
			}
			return nil
		})
		r.session.settles = func(v *driver.Settlement) {
			switch v.Tag {
			case 1:
				v.Outcome = driver.Lost
			case 2:
				v.Outcome = driver.Failed
			}
		}
		for tag, body := range []string{1: "lost", 2: "failed", 3: "slow"} {
			if tag > 0 {
				r.session.give(uint64(tag), driver.Message{Body: []byte(body)})
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if logged != 3 {
			t.Errorf("%d records, want 3", logged)
		}
		r.end(nil)
	})
}

// Time that was up in a dial was not the caller's, though net says so with a context's
// error: it passes as the outage does.
func TestTimeoutsOfTheBrokerAreWeather(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		c := b.client(t)
		topic := open(t, c)
		r := receiveWith(t, c, b, func(context.Context, *pubsub.Delivery) error { return nil })
		away := &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded} // as net.Dialer.Timeout has it
		b.refuse(away)
		published := make(chan error, 1)
		b.conn.topics[0].die(away)
		b.conn.die(away)
		r.session.die(away)
		go func() { published <- topic.Publish(t.Context(), &pubsub.Message{}) }()
		time.Sleep(time.Hour)
		b.refuse(nil)
		select {
		case err := <-published:
			if err != nil {
				t.Errorf("Publish: %v", err)
			}
		case <-time.After(time.Hour):
			t.Error("Publish still waits")
		}
		select {
		case <-b.sessions:
		case err := <-r.done:
			t.Fatalf("Receive: %v", err)
		}
		r.end(nil)
	})
}

// A reason that waiting does not heal ends Receive after its grace also where it shows
// only when the session reads.
func TestSessionsThatMayNotReadEndReceiveAfterTheGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error { return nil })
		r.session.give(1, driver.Message{})
		synctest.Wait()
		time.Sleep(time.Hour)
		denied := driver.Errorf(driver.CodePermissionDenied, "may not read")
		began := time.Now()
		r.session.die(denied)
		for n := 1; ; n++ {
			select {
			case s := <-b.sessions:
				s.die(denied)
			case err := <-r.done:
				if took := time.Since(began); !errors.Is(err, denied) || took < time.Minute || took > 3*time.Minute {
					t.Errorf("after %v: %v", took, err)
				}
				closeAll(t, r.client)
				return
			}
			if n == 1000 {
				t.Errorf("after %v and %d sessions Receive goes on", time.Since(began), n)
				r.end(nil)
				return
			}
		}
	})
}

// One that worked in between, or lived for long, begins a new grace.
func TestTheGraceBeginsAnewAfterASessionThatWorked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		r := receive(t, b, func(context.Context, *pubsub.Delivery) error { return nil })
		session := r.session
		for i := range 20 {
			if i%2 == 0 {
				session.give(1, driver.Message{})
				synctest.Wait()
			} else {
				time.Sleep(2 * time.Minute)
			}
			session.die(driver.Errorf(driver.CodeNotFound, "a failover"))
			select {
			case session = <-b.sessions:
			case err := <-r.done:
				t.Fatalf("Receive: %v", err)
			}
		}
		r.end(nil)
	})
}

// Open returns why the broker was not reached, so the log need not say it again; of what
// happens later, only the log tells.
func TestFailedOpenIsNotLogged(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	broker, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	broker.Refuse(driver.Errorf(pubsub.CodeUnavailable, "closed today"))
	_, err = pubsub.New(t.Context(), broker, pubsub.Logger(slog.New(slog.NewTextHandler(&logged, nil))))
	if err == nil || err.Error() != "open: closed today" || logged.Len() > 0 {
		t.Errorf("got %v, and logged: %s", err, logged.String())
	}
}

// One that waited for longer than MaxHandling behind its key is told too when its handler
// hangs, where there is no lease that would run out.
func TestTooSlowIsToldToWhatWaitedForLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Hold: driver.Unlimited})
		var cause error
		var took time.Duration
		r := receive(t, b, func(ctx context.Context, d *pubsub.Delivery) error {
			if string(d.Body) == "first" {
				time.Sleep(90 * time.Second)
				return nil
			}
			began := time.Now()
			select {
			case <-ctx.Done():
			case <-time.After(24 * time.Hour):
			}
			cause, took = context.Cause(ctx), time.Since(began)
			return nil
		}, pubsub.Ordered(), pubsub.MaxHandling(time.Minute))
		r.session.give(1, driver.Message{Key: "k", Body: []byte("first")}, driver.Message{Key: "k"})
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if !errors.Is(cause, pubsub.ErrHandlerTooSlow) || took != time.Minute {
			t.Errorf("after %v: cause %v", took, cause)
		}
		r.end(nil)
	})
}

// What the engine logs of a message, and counts, it does not read from the delivery: that is
// the handler's to write to, and to keep.
func TestAHandlerMayWriteToItsDelivery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Attempts: driver.Exact})
		var logs bytes.Buffer
		client := b.client(t, pubsub.Logger(slog.New(slog.NewTextHandler(&logs, nil))))
		r := receiveWith(t, client, b, func(ctx context.Context, d *pubsub.Delivery) error {
			d.ID, d.Attempt, d.Key = "written", 70, "written"
			<-ctx.Done()
			go func() { d.ID, d.Attempt, d.Key = "kept", 80, "kept" }()
			return pubsub.Drop(context.Cause(ctx))
		}, pubsub.Ordered(), pubsub.MaxHandling(time.Minute), pubsub.MaxAttempts(60))
		r.session.settles = func(v *driver.Settlement) { v.Outcome, v.OutcomeErr = driver.Failed, errBoom }
		r.session.give(1, driver.Message{ID: "came", Key: "k"})
		time.Sleep(time.Hour)
		r.end(nil)
		for _, want := range []string{
			`msg="waybill: handler holds its message for too long" subscription=t/g id=came attempt=1 `,
			`msg="waybill: message dropped by its handler" subscription=t/g id=came attempt=1 `,
			`msg="waybill: settlement failed" subscription=t/g verb=ack id=came `,
		} {
			if !strings.Contains(logs.String(), want) {
				t.Errorf("want %s in the log:\n%s", want, logs.String())
			}
		}
	})
}

// A handler that writes to its delivery and fails is counted as any other.
func TestAttemptsAreCountedWhateverAHandlerWrites(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{Attempts: driver.Exact})
		var attempts []int
		r := receive(t, b, func(_ context.Context, d *pubsub.Delivery) error {
			attempts = append(attempts, d.Attempt)
			d.Attempt = 0
			return errBoom
		}, pubsub.MaxAttempts(3))
		r.session.give(1, driver.Message{})
		time.Sleep(time.Hour)
		r.end(nil)
		if !slices.Equal(attempts, []int{1, 2, 3}) {
			t.Errorf("attempts %v, want three", attempts)
		}
	})
}

// interrupt has each Receive of a session fail, and the session live on.
type interrupt struct {
	*scriptedSession
	mu  sync.Mutex
	err error // nil: it works
}

func (s *interrupt) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *interrupt) Receive(ctx context.Context, in *driver.Intake) error {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	select {
	case <-s.quiesced:
		return s.scriptedSession.Receive(ctx, in)
	default:
	}
	if err != nil {
		return &driver.Interrupted{Err: err}
	}
	return s.scriptedSession.Receive(ctx, in)
}

// Intake that is interrupted for a reason that waiting does not heal is no weather: Receive
// ends after its grace, as where that reason ends sessions, and drains what is in hand.
func TestInterruptionsThatDoNotHealEndReceive(t *testing.T) {
	denied := driver.Errorf(driver.CodePermissionDenied, "may not read")
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprint("first=", first), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				s := &interrupt{}
				b.wraps = func(inner driver.Session) driver.Session {
					s.scriptedSession = inner.(*scriptedSession) //nolint:forcetypeassert // ours
					return s
				}
				if first {
					s.set(denied)
				}
				var cause error
				r := receive(t, b, func(ctx context.Context, _ *pubsub.Delivery) error {
					select {
					case <-time.After(80 * time.Second):
					case <-ctx.Done():
						cause = context.Cause(ctx)
					}
					return nil
				})
				if !first {
					time.Sleep(time.Hour)
					s.set(denied)
					r.session.give(1, driver.Message{})
					synctest.Wait()
				}
				began := time.Now()
				select {
				case err := <-r.done:
					took := time.Since(began)
					if !errors.Is(err, denied) || first && took > 0 || !first && (took < 80*time.Second || took > 3*time.Minute) {
						t.Errorf("after %v: %v", took, err)
					}
				case <-time.After(time.Hour):
					t.Error("Receive goes on after an hour")
					r.stop()
					<-r.done
				}
				if cause != nil {
					t.Errorf("the handler's context ended by %v, though its session lived", cause)
				}
				if want := map[bool]string{false: "1 ack"}[first]; verbs(r.session.log()) != want {
					t.Errorf("settled %q, want %q", verbs(r.session.log()), want)
				}
				closeAll(t, r.client)
			})
		})
	}
}

// What may heal is waited out however long it takes, and the log says so, less and less often.
func TestInterruptionsThatMayHealAreWaitedOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newScripted(driver.Capabilities{})
		s := &interrupt{}
		b.wraps = func(inner driver.Session) driver.Session {
			s.scriptedSession = inner.(*scriptedSession) //nolint:forcetypeassert // ours
			return s
		}
		s.set(driver.Errorf(driver.CodeExhausted, "throttled"))
		var logs bytes.Buffer
		c := b.client(t, pubsub.Logger(slog.New(slog.NewTextHandler(&logs, nil))))
		r := receiveWith(t, c, b, func(context.Context, *pubsub.Delivery) error { return nil })
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(logs.String(), "intake is interrupted"); n < 100 || n > 200 {
			t.Errorf("logged %d times in an hour; want about twice a minute", n)
		}
		// A reason that does not heal has a grace of its own, and one that passes is forgotten.
		for range 5 {
			s.set(driver.Errorf(driver.CodeNotFound, "a failover"))
			time.Sleep(45 * time.Second)
			s.set(nil)
			time.Sleep(time.Minute)
			r.session.give(1, driver.Message{})
			synctest.Wait()
		}
		r.end(nil)
	})
}

// Browse tells of an interruption that does not pass: nobody else does.
func TestBrowseTellsOfInterruptions(t *testing.T) {
	for _, code := range []driver.Code{driver.CodePermissionDenied, driver.CodeUnavailable} {
		t.Run(code.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				s := &interrupt{err: driver.Errorf(code, "not now")}
				b.wraps = func(inner driver.Session) driver.Session {
					s.scriptedSession = inner.(*scriptedSession) //nolint:forcetypeassert // ours
					return s
				}
				c := b.client(t)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				err := c.Browse(ctx, "t", "g", pubsub.BrowsePolicy{}, func(*pubsub.Delivery) bool { return true })
				if took := time.Since(began); pubsub.CodeOf(err) != code || took > time.Minute {
					t.Errorf("after %v: %v", took, err)
				}
				closeAll(t, c)
			})
		})
	}
}
