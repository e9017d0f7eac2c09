package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/deadletter"
)

// world is a broker with orders, which billing and email read, and their dead letters.
type world struct {
	t      *testing.T
	broker *memory.Broker
	client *pubsub.Client
	orders *pubsub.Topic
	dead   []pubsub.TopicOption // of the dead-letter topic

	mu     sync.Mutex
	broken bool
	log    []string // what billing handled
	email  int
}

func inWorld(t *testing.T, turn func(*pubsub.Capabilities), dead []pubsub.TopicOption, do func(*testing.T, *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, err := memory.New(memory.Config{Turn: turn})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, broker: broker, dead: dead, broken: true}
		w.client = w.connect()
		if w.orders, err = w.client.Publisher(t.Context(), "orders", pubsub.Ordered()); err != nil {
			t.Fatal(err)
		}
		do(t, w)
		if err := w.client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func (w *world) connect() *pubsub.Client {
	c, err := pubsub.New(w.t.Context(), w.broker, pubsub.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// poison has messages KEY-NUMBER fail in billing, in order.
func (w *world) poison(bodies ...string) {
	w.t.Helper()
	stop := w.serve()
	for _, body := range bodies {
		key, _, _ := strings.Cut(body, "-")
		if err := w.orders.Publish(w.t.Context(), &pubsub.Message{ID: body, Key: key, Headers: map[string]string{"tenant": key}, Body: []byte(body)}); err != nil {
			w.t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
	}
	stop()
}

// serve runs billing, which fails while the world is broken, and email.
func (w *world) serve() (stop func()) {
	w.t.Helper()
	dead, err := w.client.Publisher(w.t.Context(), "dead", pubsub.Queue(), pubsub.TopicOptions(w.dead...))
	if err != nil {
		w.t.Fatal(err)
	}
	billing, err := w.client.Subscriber(w.t.Context(), "orders", pubsub.Ordered(), pubsub.Group("billing"), middleware.DeadLetter(dead, middleware.DeadLetterPolicy{}))
	if err != nil {
		w.t.Fatal(err)
	}
	email, err := w.client.Subscriber(w.t.Context(), "orders", pubsub.Ordered(), pubsub.Group("email"), pubsub.DropPermanent())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- pubsub.Serve(ctx, pubsub.Handle(billing, w.bill), pubsub.Handle(email, func(context.Context, *pubsub.Delivery) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.email++
			return nil
		}))
	}()
	return func() {
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		for _, s := range []*pubsub.Subscription{billing, email} {
			if err := s.Close(w.t.Context()); err != nil {
				w.t.Error(err)
			}
		}
	}
}

func (w *world) bill(_ context.Context, d *pubsub.Delivery) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return pubsub.Permanent(errors.New("no account for " + d.Key))
	}
	if d.Attempt != 1 {
		w.t.Errorf("%s: attempt %d, want it reset", d.Body, d.Attempt)
	}
	w.log = append(w.log, string(d.Body))
	return nil
}

func (w *world) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = false
}

// back publishes what is redriven.
func (w *world) back(_ context.Context, source, group string) (pubsub.Publisher, error) {
	if source != "orders" || group != "billing" {
		return nil, fmt.Errorf("no topic %q", source)
	}
	return w.orders, nil
}

func (w *world) list(filter deadletter.Filter) []deadletter.Letter {
	w.t.Helper()
	var list []deadletter.Letter
	err := deadletter.List(w.t.Context(), w.client, "dead", filter, pubsub.BrowsePolicy{}, func(l deadletter.Letter) bool {
		list = append(list, l)
		return true
	}, w.dead...)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func bodies(list []deadletter.Letter) string {
	var all []string
	for _, l := range list {
		all = append(all, string(l.Body))
	}
	return strings.Join(all, " ")
}

func (w *world) redrive(ctx context.Context, p deadletter.Policy) deadletter.Report {
	w.t.Helper()
	if p.Publisher == nil {
		p.Publisher = w.back
	}
	report, err := deadletter.Redrive(ctx, w.client, "dead", p, w.dead...)
	if err != nil {
		w.t.Error(err)
	}
	return report
}

func TestList(t *testing.T) {
	inWorld(t, nil, nil, func(t *testing.T, w *world) {
		w.poison("ada-1", "bob-1", "ada-2")
		time.Sleep(time.Hour)
		for round := range 2 { // looking takes nothing
			list := w.list(deadletter.Filter{})
			if got := bodies(list); got != "ada-1 bob-1 ada-2" {
				t.Fatalf("round %d: %s", round, got)
			}
			l := list[0]
			if l.Source != "orders" || l.Group != "billing" || l.Reason != "no account for ada" || l.Attempts != 1 || l.Redriven != 0 ||
				l.Age() < time.Hour || l.ID != "ada-1" || l.Attempt != 1 {
				t.Errorf("%+v", l)
			}
		}
		for want, f := range map[string]deadletter.Filter{
			"ada-1 ada-2":       {Key: "ada"},
			"bob-1":             {Reason: "ACCOUNT for bob"},
			"ada-2":             {ID: "ada-2"},
			"ada-1 bob-1 ada-2": {Source: "orders", Group: "billing", MinAge: time.Minute, MaxAge: 2 * time.Hour},
			"":                  {MinAge: 2 * time.Hour},
			" ":                 {Headers: map[string]string{"tenant": "cleo"}},
		} {
			if got := bodies(w.list(f)); got != strings.TrimSpace(want) {
				t.Errorf("%+v: %q, want %q", f, got, want)
			}
		}
	})
}

func TestBrowseStops(t *testing.T) {
	inWorld(t, memory.LikeRabbitMQ, nil, func(t *testing.T, w *world) {
		w.poison("ada-1", "ada-2", "ada-3")
		var seen []string
		look := func(d *pubsub.Delivery) bool {
			seen = append(seen, string(d.Body))
			return len(seen) < 2
		}
		if err := w.client.Browse(t.Context(), "dead", "", pubsub.BrowsePolicy{}, look, pubsub.Queue()); err != nil {
			t.Fatal(err)
		}
		if len(seen) != 2 {
			t.Errorf("saw %q", seen)
		}
		seen = nil
		if err := w.client.Browse(t.Context(), "dead", "", pubsub.BrowsePolicy{Messages: 1}, look, pubsub.Queue()); err != nil || !slices.Equal(seen, []string{"ada-1"}) {
			t.Errorf("saw %q, error %v", seen, err)
		}
		for _, bad := range []error{
			w.client.Browse(t.Context(), "orders", "", pubsub.BrowsePolicy{}, look),
			w.client.Browse(t.Context(), "dead", "", pubsub.BrowsePolicy{Messages: -1}, look, pubsub.Queue()),
			w.client.Browse(t.Context(), "dead", "", pubsub.BrowsePolicy{}, nil, pubsub.Queue()),
		} {
			if pubsub.CodeOf(bad) != pubsub.CodeInvalid {
				t.Errorf("bad input: %v", bad)
			}
		}
	})
}

// A look that lasts keeps its leases, so that nothing is given to others meanwhile.
func TestBrowseKeepsLeases(t *testing.T) {
	inWorld(t, nil, nil, func(t *testing.T, w *world) {
		w.poison("ada-1", "bob-1")
		if got := len(w.list(deadletter.Filter{})); got != 2 {
			t.Fatalf("%d letters", got)
		}
		n := 0
		err := w.client.Browse(t.Context(), "dead", "", pubsub.BrowsePolicy{Quiet: 5 * time.Minute}, func(*pubsub.Delivery) bool {
			n++
			return true
		}, pubsub.Queue())
		if err != nil || n != 2 {
			t.Errorf("saw %d, error %v; want each once", n, err)
		}
	})
}

func TestRedrive(t *testing.T) {
	for name, turn := range map[string]func(*pubsub.Capabilities){
		"memory": nil, "kafka": memory.LikeKafka, "rabbitmq": memory.LikeRabbitMQ, "gcppubsub": memory.LikeGCPPubSub, "sqs": memory.LikeSQSFIFO,
	} {
		for _, dead := range [][]pubsub.TopicOption{nil, {pubsub.Ordered()}} {
			t.Run(fmt.Sprint(name, "/ordered=", dead != nil), func(t *testing.T) {
				inWorld(t, turn, dead, func(t *testing.T, w *world) {
					var all []string
					for n := range 30 {
						all = append(all, fmt.Sprint([]string{"ada", "bob", "cleo"}[n%3], "-", n))
					}
					w.poison(all...)
					w.mend()
					stop := w.serve()
					told := 0
					report := w.redrive(t.Context(), deadletter.Policy{Progress: func(r deadletter.Report) { told = r.Redriven }})
					stop()
					if report != (deadletter.Report{Redriven: 30}) || told != 30 {
						t.Errorf("%+v, told of %d", report, told)
					}
					if !slices.Equal(byKey(w.log), byKey(all)) {
						t.Errorf("came back as %v", w.log)
					}
					if w.email != 30 {
						t.Errorf("email handled %d, want each once", w.email)
					}
					if left := w.list(deadletter.Filter{}); len(left) > 0 {
						t.Errorf("left: %s", bodies(left))
					}
				})
			})
		}
	}
}

// byKey sorts by key and keeps the order within each.
func byKey(list []string) []string {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b string) int { return strings.Compare(a[:3], b[:3]) })
	return list
}

// What the filter leaves holds back its key's later letters, where the topic is ordered.
func TestRedriveByFilter(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered=", ordered), func(t *testing.T) {
			var dead []pubsub.TopicOption
			want, behind := "bob-1 ada-2 ada-3", 0
			if ordered {
				dead, want, behind = []pubsub.TopicOption{pubsub.Ordered()}, "bob-1", 2
			}
			inWorld(t, nil, dead, func(t *testing.T, w *world) {
				w.poison("ada-1")
				time.Sleep(time.Hour)
				w.poison("bob-1", "ada-2", "ada-3")
				w.mend()
				stop := w.serve()
				report := w.redrive(t.Context(), deadletter.Policy{Filter: deadletter.Filter{MaxAge: 30 * time.Minute}})
				stop()
				if report.Skipped != 1 || report.Behind != behind || strings.Join(w.log, " ") != want {
					t.Errorf("%+v; came back as %v", report, w.log)
				}
				if report.Redriven+len(w.list(deadletter.Filter{})) != 4 {
					t.Errorf("left: %s", bodies(w.list(deadletter.Filter{})))
				}
			})
		})
	}
}

func TestRedriveLimitAndRate(t *testing.T) {
	inWorld(t, nil, nil, func(t *testing.T, w *world) {
		w.poison("ada-1", "ada-2", "ada-3", "ada-4", "ada-5")
		began := time.Now()
		report := w.redrive(t.Context(), deadletter.Policy{Limit: 3, Rate: 0.1, Quiet: time.Second})
		if report.Redriven != 3 || report.Skipped != 2 {
			t.Errorf("%+v", report)
		}
		if took := time.Since(began); took < 20*time.Second || took > 30*time.Second {
			t.Errorf("took %v for three at one in ten seconds", took)
		}
		if got := bodies(w.list(deadletter.Filter{})); got != "ada-4 ada-5" {
			t.Errorf("left: %s", got)
		}
	})
}

// What dies again while it is redriven stays, and is not redriven for ever.
func TestRedriveOfWhatDiesAgain(t *testing.T) {
	inWorld(t, nil, nil, func(t *testing.T, w *world) {
		w.poison("ada-1", "bob-1")
		stop := w.serve()
		report := w.redrive(t.Context(), deadletter.Policy{})
		stop()
		if report.Redriven != 2 || report.Again != 2 {
			t.Errorf("%+v", report)
		}
		list := w.list(deadletter.Filter{})
		if len(list) != 2 || list[0].Redriven != 1 || list[1].Redriven != 1 {
			t.Errorf("left: %+v", list)
		}
		w.mend()
		stop = w.serve()
		w.redrive(t.Context(), deadletter.Policy{})
		stop()
		slices.Sort(w.log) // keys go in parallel
		if strings.Join(w.log, " ") != "ada-1 bob-1" || w.email != 2 {
			t.Errorf("came back as %v; email handled %d", w.log, w.email)
		}
	})
}

// failing publishes nothing.
type failing struct{ pubsub.Publisher }

func (failing) PublishAsync(_ context.Context, _ *pubsub.Message, done func(error)) {
	done(errors.New("refused"))
}

func TestRedriveThatFails(t *testing.T) {
	inWorld(t, nil, nil, func(t *testing.T, w *world) {
		w.poison("ada-1", "bob-1")
		for want, open := range map[string]func(context.Context, string, string) (pubsub.Publisher, error){
			"refused": func(context.Context, string, string) (pubsub.Publisher, error) { return failing{}, nil },
			"nowhere": func(context.Context, string, string) (pubsub.Publisher, error) { return nil, errors.New("nowhere") },
		} {
			var why []string
			report := w.redrive(t.Context(), deadletter.Policy{Publisher: open, Failed: func(l deadletter.Letter, err error) { why = append(why, l.ID+" "+err.Error()) }})
			if report.Failed != 2 || strings.Join(why, ", ") != "ada-1 "+want+", bob-1 "+want {
				t.Errorf("%+v, %q", report, why)
			}
		}
		if got := bodies(w.list(deadletter.Filter{})); got != "ada-1 bob-1" {
			t.Errorf("left: %s", got)
		}
		for _, p := range []deadletter.Policy{{}, {Publisher: w.back, Rate: -1}} {
			if _, err := deadletter.Redrive(t.Context(), w.client, "dead", p); pubsub.CodeOf(err) != pubsub.CodeInvalid {
				t.Errorf("%+v: %v", p, err)
			}
		}
	})
}

// An interrupted redrive finishes what it began, and the next goes on.
func TestRedriveInterrupted(t *testing.T) {
	inWorld(t, nil, []pubsub.TopicOption{pubsub.Ordered()}, func(t *testing.T, w *world) {
		var all []string
		for n := range 20 {
			all = append(all, fmt.Sprint("ada-", n))
		}
		w.poison(all...)
		w.mend()
		stop := w.serve()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+1)
		defer cancel()
		report, err := deadletter.Redrive(ctx, w.client, "dead", deadletter.Policy{Publisher: w.back, Rate: 1}, w.dead...)
		if !errors.Is(err, context.DeadlineExceeded) || report.Redriven < 9 || report.Redriven > 12 {
			t.Errorf("%+v, %v", report, err)
		}
		rest := w.redrive(t.Context(), deadletter.Policy{})
		stop()
		if report.Redriven+rest.Redriven != 20 || !slices.Equal(w.log, all) {
			t.Errorf("%d and %d; came back as %v", report.Redriven, rest.Redriven, w.log)
		}
	})
}

// A connection that is lost in the middle repeats some, and loses none.
func TestRedriveThroughALostConnection(t *testing.T) {
	inWorld(t, nil, []pubsub.TopicOption{pubsub.Ordered()}, func(t *testing.T, w *world) {
		var all []string
		for n := range 20 {
			all = append(all, fmt.Sprint("ada-", n))
		}
		w.poison(all...)
		w.mend()
		cut := time.AfterFunc(5*time.Second, func() { w.broker.Disconnect(nil) })
		defer cut.Stop()
		report := w.redrive(t.Context(), deadletter.Policy{Rate: 2})
		stop := w.serve()
		time.Sleep(time.Minute)
		stop()
		if got := slices.Compact(slices.Clone(w.log)); !slices.Equal(got, all) || report.Redriven < 20 {
			t.Errorf("%+v; came back as %v", report, w.log)
		}
	})
}

// Batches pass over what was brought back for another group, as single messages do.
func TestRedrivenForAnotherGroup(t *testing.T) {
	inWorld(t, nil, nil, func(t *testing.T, w *world) {
		through := func(next pubsub.Handler) pubsub.Handler { return next }
		for _, middleware := range [][]pubsub.Middleware{nil, {through}} {
			email, err := w.client.Subscriber(t.Context(), "orders", pubsub.Ordered(), pubsub.Group("email"), pubsub.DropPermanent(), pubsub.Use(middleware...))
			if err != nil {
				t.Fatal(err)
			}
			for body, group := range map[string]string{"mine": "email", "theirs": "billing"} {
				if err := w.orders.Publish(t.Context(), &pubsub.Message{Headers: map[string]string{deadletter.HeaderGroup: group}, Body: []byte(body)}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var got []string
			err = email.ReceiveBatch(ctx, pubsub.BatchPolicy{}, func(_ context.Context, batch []*pubsub.Delivery) []error {
				for _, d := range batch {
					got = append(got, string(d.Body))
				}
				return nil
			})
			if err != nil || !slices.Equal(got, []string{"mine"}) {
				t.Errorf("got %q, error %v", got, err)
			}
			if b, err := email.Backlog(t.Context()); err != nil || b.Ready+b.Unsettled > 0 {
				t.Errorf("left: %+v, error %v", b, err)
			}
			if err := email.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
