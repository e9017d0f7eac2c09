package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
)

var errBoom = errors.New("boom")

func delivery() *pubsub.Delivery {
	return &pubsub.Delivery{
		Message: pubsub.Message{ID: "7", Key: "k", Body: []byte("secret body"), Headers: map[string]string{"tenant": "a"}},
		Topic:   "orders", Group: "billing", Attempt: 1,
	}
}

func fails(err error) pubsub.Handler {
	return func(context.Context, *pubsub.Delivery) error { return err }
}

func TestRecoverMakesAnErrorOfAPanic(t *testing.T) {
	t.Parallel()
	err := middleware.Recover()(func(context.Context, *pubsub.Delivery) error { panic(errBoom) })(t.Context(), delivery())
	var p *pubsub.PanicError
	if !errors.As(err, &p) || !errors.Is(err, errBoom) || len(p.Stack) == 0 {
		t.Fatalf("got %v, want a PanicError with its cause and stack", err)
	}
}

func TestLoggingLevels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "level=DEBUG"}, {errBoom, "level=WARN"}, {pubsub.Drop(errBoom), "level=WARN"}, {pubsub.Permanent(errBoom), "level=ERROR"},
	} {
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if err := middleware.Logging(logger)(fails(c.err))(t.Context(), delivery()); !errors.Is(err, c.err) {
			t.Errorf("got %v, want %v unchanged", err, c.err)
		}
		if got := out.String(); !strings.Contains(got, c.want) || strings.Contains(got, "secret") || !strings.Contains(got, "id=7") {
			t.Errorf("logged %q, want %q, the ID and no body", got, c.want)
		}
	}
}

func TestTimeoutEndsTheContextAndWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		returned := false
		err := middleware.Timeout(time.Second)(func(ctx context.Context, _ *pubsub.Delivery) error {
			<-ctx.Done()
			time.Sleep(time.Minute) // is slow to notice
			returned = true
			return context.Cause(ctx)
		})(t.Context(), delivery())
		if !errors.Is(err, middleware.ErrTimeout) || !returned {
			t.Fatalf("got %v, returned %t; want ErrTimeout after the handler returned", err, returned)
		}
	})
}

func TestTimeoutSaysSoInOtherErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		err := middleware.Timeout(time.Second)(func(ctx context.Context, _ *pubsub.Delivery) error {
			<-ctx.Done()
			return errBoom
		})(t.Context(), delivery())
		if !errors.Is(err, middleware.ErrTimeout) || !errors.Is(err, errBoom) {
			t.Fatalf("got %v, want both causes", err)
		}
	})
}

func TestRetry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		errs  []error
		calls int
		want  error
	}{
		"succeeds at last":   {[]error{errBoom, errBoom, nil}, 3, nil},
		"gives up":           {[]error{errBoom, errBoom, errBoom, nil}, 3, errBoom},
		"permanent":          {[]error{pubsub.Permanent(errBoom), nil}, 1, errBoom},
		"drop":               {[]error{pubsub.Drop(errBoom), nil}, 1, errBoom},
		"retry after passes": {[]error{pubsub.RetryAfter(time.Hour, errBoom), nil}, 1, errBoom},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				d := delivery()
				began := time.Now()
				err := middleware.Retry(middleware.RetryPolicy{})(func(_ context.Context, d *pubsub.Delivery) error {
					if d.Headers["try"] != "" {
						t.Error("a header of the failed try is still there")
					}
					d.SetHeader("try", "x")
					calls++
					return c.errs[calls-1]
				})(t.Context(), d)
				if calls != c.calls || !errors.Is(err, c.want) {
					t.Errorf("%d calls, %v; want %d, %v", calls, err, c.calls, c.want)
				}
				if calls > 1 && time.Since(began) < 160*time.Millisecond {
					t.Errorf("waited %v between tries; want the backoff", time.Since(began))
				}
			})
		})
	}
}

func TestRetryStopsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := middleware.Retry(middleware.RetryPolicy{})(func(context.Context, *pubsub.Delivery) error {
			cancel()
			return errBoom
		})(ctx, delivery())
		if !errors.Is(err, errBoom) {
			t.Fatalf("got %v, want the handler's error", err)
		}
	})
}

// outbox is a publisher that records, or fails.
type outbox struct {
	sent []*pubsub.Message
	err  error
}

func (o *outbox) Publish(ctx context.Context, m ...*pubsub.Message) error {
	if o.err != nil {
		return o.err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	o.sent = append(o.sent, m...)
	return nil
}

func (o *outbox) PublishAsync(ctx context.Context, m *pubsub.Message, done func(error)) {
	done(o.Publish(ctx, m))
}

func TestDeadLetterTakesWhatFailedForGood(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err     error
		attempt int
		dead    bool
	}{
		"done":          {nil, 9, false},
		"first failure": {errBoom, 1, false},
		"last failure":  {errBoom, 3, true},
		"permanent":     {pubsub.Permanent(errBoom), 1, true},
		"drop":          {pubsub.Drop(errBoom), 9, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := &outbox{}
			d := delivery()
			d.Attempt = c.attempt
			h := middleware.DeadLetter(box, middleware.DeadLetterPolicy{MaxAttempts: 3}).Middleware(fails(c.err))
			err := h(t.Context(), d)
			if !c.dead {
				if len(box.sent) > 0 || !errors.Is(err, c.err) {
					t.Fatalf("sent %d, %v; want none and the error unchanged", len(box.sent), err)
				}
				return
			}
			if err != nil || len(box.sent) != 1 {
				t.Fatalf("sent %d, %v; want one and nil", len(box.sent), err)
			}
			m := box.sent[0]
			if m.ID != "7" || m.Key != "k" || string(m.Body) != "secret body" || m.Headers["tenant"] != "a" ||
				m.Headers[middleware.HeaderTopic] != "orders" || m.Headers[middleware.HeaderGroup] != "billing" ||
				!strings.Contains(m.Headers[middleware.HeaderReason], "boom") || m.Headers[middleware.HeaderAttempts] == "" {
				t.Errorf("dead letter %+v lacks something", m)
			}
			if _, err := time.Parse(time.RFC3339, m.Headers[middleware.HeaderTime]); err != nil {
				t.Error(err)
			}
			if d.Headers[middleware.HeaderTopic] != "" {
				t.Error("the delivery's own headers were changed")
			}
		})
	}
}

func TestDeadLetterThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	h := middleware.DeadLetter(&outbox{err: down}, middleware.DeadLetterPolicy{}).Middleware(fails(pubsub.Permanent(errBoom)))
	err := h(t.Context(), delivery())
	if v, _ := pubsub.VerdictOf(err); v != pubsub.VerdictRetry || !errors.Is(err, down) || !strings.Contains(err.Error(), "boom") {
		t.Fatalf("got %v; want a retry that tells both", err)
	}
}

func TestDeadLetterGoesOnInAShutdownAndNotAfterALoss(t *testing.T) {
	t.Parallel()
	for cause, want := range map[error]int{pubsub.ErrDrainTimeout: 1, pubsub.ErrLeaseLost: 0} {
		box := &outbox{}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		_ = middleware.DeadLetter(box, middleware.DeadLetterPolicy{}).Middleware(fails(pubsub.Permanent(errBoom)))(ctx, delivery())
		if len(box.sent) != want {
			t.Errorf("context ended by %v: %d dead letters, want %d", cause, len(box.sent), want)
		}
	}
}

// A message that was at a broker's limit has no room for what tells why it is dead: it must not
// be tried for ever.
func TestDeadLetterOfAMessageAtTheLimit(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*pubsub.Message{
		"bytes":   {Body: make([]byte, 1<<20)},
		"a few":   {Body: []byte("x"), Headers: map[string]string{"tenant": "a"}},
		"nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := pubsub.Open(t.Context(), "memory://dead-letter-at-limit-"+strings.ReplaceAll(name, " ", "-")+"?like=sqs")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(context.WithoutCancel(t.Context()))
			graves, err := c.Publisher(t.Context(), "graves", pubsub.Queue())
			if err != nil {
				t.Fatal(err)
			}
			source, err := c.Publisher(t.Context(), "images", pubsub.Queue())
			if err != nil {
				t.Fatal(err)
			}
			if err := source.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			read := func(topic string, options ...pubsub.SubscriberOption) *pubsub.Delivery {
				s, err := c.Subscriber(t.Context(), topic, append(options, pubsub.TopicOptions(pubsub.Queue()))...)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var got *pubsub.Delivery
				if err := s.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
					got = d
					cancel()
					return pubsub.Permanent(errBoom)
				}); err != nil {
					t.Fatal(err)
				}
				return got
			}
			read("images", middleware.DeadLetter(graves, middleware.DeadLetterPolicy{}))
			dead := read("graves", pubsub.DropPermanent())
			if len(dead.Body) != len(m.Body) || dead.Headers["tenant"] != m.Headers["tenant"] {
				t.Errorf("dead letter has %d bytes and headers %v", len(dead.Body), dead.Headers)
			}
			if told, room := dead.Headers[middleware.HeaderReason] != "", name != "bytes"; told != room {
				t.Errorf("dead letter tells why: %v, want %v", told, room)
			}
		})
	}
}

func TestDeadLetterReasonIsBounded(t *testing.T) {
	t.Parallel()
	box := &outbox{}
	long := errors.New(strings.Repeat("é", 2000) + "\xff")
	_ = middleware.DeadLetter(box, middleware.DeadLetterPolicy{}).Middleware(fails(pubsub.Permanent(long)))(t.Context(), delivery())
	if n := len(box.sent[0].Headers[middleware.HeaderReason]); n > 1000 || n < 990 {
		t.Fatalf("reason has %d bytes", n)
	}
}
