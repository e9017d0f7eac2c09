package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/codec"
	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// bank does not answer before a moment, refuses Mallory, and takes a while.
type bank struct {
	opens time.Time
	takes time.Duration

	mu   sync.Mutex
	paid []string
}

func (b *bank) Charge(_ context.Context, o Order) error {
	if time.Now().Before(b.opens) {
		return errors.New("no answer")
	}
	if o.Customer == "mallory" {
		return ErrRefused
	}
	time.Sleep(b.takes)
	b.mu.Lock()
	defer b.mu.Unlock()
	if order := fmt.Sprint(o.Customer, " ", o.Number); !slices.Contains(b.paid, order) {
		b.paid = append(b.paid, order)
	}
	return nil
}

func (b *bank) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.paid)
}

// world is a service that runs, in a bubble where time is virtual.
type world struct {
	client  *config.Client // the test's own
	orders  pubsub.TypedPublisher[Order]
	tracker pubsubtest.Tracker
	stop    context.CancelFunc
	ended   chan error
}

// run starts the service by its own configuration, with memory in the place of its broker.
func run(t *testing.T, b Bank) *world {
	t.Helper()
	cfg, err := config.Load("billing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ended: make(chan error, 1)}
	open := func() *config.Client {
		client, err := cfg.Client(t.Context(), pubsub.Observe(&w.tracker))
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(t.Context())
	service := open()
	go func() { w.ended <- Run(ctx, service, b) }()
	synctest.Wait() // the service receives now: its group is there

	w.client = open()
	orders, err := w.client.Publisher(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	w.orders = pubsub.TypedPublisher[Order]{
		Publisher: orders, Codec: codec.JSON[Order](), Key: func(o Order) string { return o.Customer },
	}
	return w
}

// place publishes orders.
func (w *world) place(t *testing.T, orders ...Order) {
	t.Helper()
	if err := w.orders.Publish(t.Context(), orders...); err != nil {
		t.Fatal(err)
	}
}

// end stops the service, and returns when all is closed.
func (w *world) end(t *testing.T) {
	t.Helper()
	w.stop()
	if err := errors.Join(<-w.ended, w.client.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestBankIsAway: hours of retries take no time, on what each broker can do.
func TestBankIsAway(t *testing.T) {
	for _, like := range []string{"kafka", "rabbitmq", "gcppubsub", "sqs-fifo"} {
		t.Setenv("BROKER_URL", "memory://test?like="+like)
		synctest.Test(t, func(t *testing.T) {
			b := &bank{opens: time.Now().Add(3 * time.Hour)}
			w := run(t, b)
			w.place(t, Order{7, "ada", 100}, Order{8, "bob", 100})
			time.Sleep(3*time.Hour - time.Second)
			if paid := b.got(); len(paid) > 0 {
				t.Errorf("%s: %v were paid by a bank that is closed", like, paid)
			}
			// Everything is settled when the bank has opened and answered.
			if err := w.tracker.Wait(t.Context(), "orders", "billing"); err != nil {
				t.Error(err)
			}
			if paid := b.got(); len(paid) != 2 {
				t.Errorf("%s: got %v; want both", like, paid)
			}
			w.end(t)
		})
	}
}

// TestOneCustomerWaits: while the bank does not answer, a customer's orders keep their order.
func TestOneCustomerWaits(t *testing.T) {
	t.Setenv("BROKER_URL", "memory://test")
	synctest.Test(t, func(t *testing.T) {
		b := &bank{opens: time.Now().Add(time.Minute)}
		w := run(t, b)
		w.place(t, Order{7, "ada", 100})
		time.Sleep(2 * time.Minute) // it has failed once, and waits; the bank is open again
		w.place(t, Order{8, "ada", 100}, Order{9, "bob", 100})
		synctest.Wait()
		if paid := b.got(); !slices.Equal(paid, []string{"bob 9"}) {
			t.Errorf("got %v; want bob's alone", paid)
		}
		time.Sleep(bankPause)
		synctest.Wait()
		if paid := b.got(); !slices.Equal(paid, []string{"bob 9", "ada 7", "ada 8"}) {
			t.Errorf("got %v; want ada's in her order", paid)
		}
		w.end(t)
	})
}

// TestRefused: what is refused is a dead letter, with its reason.
func TestRefused(t *testing.T) {
	t.Setenv("BROKER_URL", "memory://test")
	synctest.Test(t, func(t *testing.T) {
		w := run(t, &bank{})
		broker, _ := w.client.Broker("main")
		dead, err := broker.Subscriber(t.Context(), "orders-dead", pubsub.Queue(), pubsub.DropPermanent())
		if err != nil {
			t.Fatal(err)
		}
		w.place(t, Order{7, "mallory", 100})
		ctx, stop := context.WithCancel(t.Context())
		var reason string
		err = dead.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
			reason = d.Headers[middleware.HeaderReason]
			stop()
			return nil
		})
		if err != nil || reason != "refused" {
			t.Errorf("%v, and the reason is %q", err, reason)
		}
		w.end(t)
	})
}

// TestShutdown: a charge that runs when the service is told to stop is finished.
func TestShutdown(t *testing.T) {
	t.Setenv("BROKER_URL", "memory://test")
	synctest.Test(t, func(t *testing.T) {
		b := &bank{takes: 10 * time.Second}
		w := run(t, b)
		w.place(t, Order{7, "ada", 100})
		synctest.Wait() // it is being charged
		told := time.Now()
		w.end(t)
		if paid := b.got(); len(paid) != 1 || time.Since(told) != b.takes {
			t.Errorf("got %v, %v after it was told to stop", paid, time.Since(told))
		}
	})
}
