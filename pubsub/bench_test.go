package pubsub_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// BenchmarkMemory is the whole way through the memory driver.
func BenchmarkMemory(b *testing.B) {
	for _, groups := range []int{1, 10} {
		b.Run(fmt.Sprint("groups=", groups), func(b *testing.B) {
			ctx, cancel := context.WithCancel(context.Background())
			broker, err := memory.New(memory.Config{BacklogMessages: 1024})
			if err != nil {
				b.Fatal(err)
			}
			client, err := pubsub.New(ctx, broker)
			if err != nil {
				b.Fatal(err)
			}
			var left atomic.Int64
			left.Store(int64(groups) * int64(b.N))
			all := make(chan struct{})
			var routes []pubsub.Route
			for g := range groups {
				s, err := client.Subscriber(ctx, "t", pubsub.Group(fmt.Sprint(g)), pubsub.DropPermanent(), pubsub.Concurrency(1))
				if err != nil {
					b.Fatal(err)
				}
				routes = append(routes, pubsub.Handle(s, func(context.Context, *pubsub.Delivery) error {
					if left.Add(-1) == 0 {
						close(all)
					}
					return nil
				}))
			}
			topic, err := client.Publisher(ctx, "t")
			if err != nil {
				b.Fatal(err)
			}
			done := make(chan error)
			go func() { done <- client.Serve(ctx, routes...) }()
			body := make([]byte, 256)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := topic.Publish(ctx, &pubsub.Message{Body: body}); err != nil {
					b.Fatal(err)
				}
			}
			<-all
			b.StopTimer()
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkEngine is what the engine adds between a driver's intake and its settle:
// the driver gives and takes for nothing. Run it with -cpu 1.
func BenchmarkEngine(b *testing.B) {
	for _, ordered := range []bool{false, true} {
		b.Run(fmt.Sprint("ordered=", ordered), func(b *testing.B) {
			d := &endless{n: b.N, total: b.N, done: make(chan struct{}), credit: make(chan struct{}, 1)}
			ctx, cancel := context.WithCancel(context.Background())
			client, err := pubsub.New(ctx, d)
			if err != nil {
				b.Fatal(err)
			}
			options := []pubsub.SubscriberOption{pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Concurrency(1)}
			if ordered {
				options = append(options, pubsub.Ordered())
			}
			s, err := client.Subscriber(ctx, "t", options...)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			received := make(chan error)
			go func() {
				received <- s.Receive(ctx, func(context.Context, *pubsub.Delivery) error { return nil })
			}()
			<-d.done
			b.StopTimer()
			cancel()
			if err := <-received; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// endless is a broker that has n messages, and no cost.
type endless struct {
	driver.Conn
	driver.Session
	n, total, settled int
	room              atomic.Int64
	credit            chan struct{}
	done              chan struct{}
	quiet             atomic.Bool
}

var keys = func() (k [64]string) {
	for i := range k {
		k[i] = fmt.Sprint("key-", i)
	}
	return k
}()

func (e *endless) Open(context.Context) (driver.Conn, error) { return &endlessConn{e}, nil }

type endlessConn struct{ *endless }

func (e *endlessConn) Capabilities() driver.Capabilities {
	return driver.Capabilities{Groups: true, Ordered: true, Lease: time.Minute, SettleConfirmed: true}
}
func (e *endlessConn) Declare(context.Context, driver.SubscribeRequest) error { return nil }
func (e *endlessConn) Done() <-chan struct{}                                  { return nil }
func (e *endlessConn) Err() error                                             { return nil }
func (e *endlessConn) Close(context.Context) error                            { return nil }
func (e *endlessConn) Subscribe(context.Context, driver.SubscribeRequest) (driver.Session, error) {
	return &endlessSession{e.endless}, nil
}

type endlessSession struct{ *endless }

func (e *endlessSession) Credit(messages, _ int) {
	e.room.Add(int64(messages))
	select {
	case e.credit <- struct{}{}:
	default:
	}
}

func (e *endlessSession) Receive(ctx context.Context, in *driver.Intake) error {
	for e.n == 0 || e.room.Load() == 0 {
		if e.quiet.Load() {
			return driver.ErrQuiesced
		}
		select {
		case <-e.credit:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	deadline := time.Now().Add(time.Minute)
	for range min(int(e.room.Load()), e.n, 256) {
		e.room.Add(-1)
		e.n--
		in.Deliveries = append(in.Deliveries, driver.Delivery{
			Message: driver.Message{Key: keys[e.n%len(keys)]}, Receipt: driver.Receipt{Tag: 1, Deadline: deadline},
		})
	}
	return nil
}

func (e *endlessSession) Settle(_ context.Context, batch []driver.Settlement) {
	for i := range batch {
		batch[i].Outcome = driver.Confirmed
	}
	if e.settled += len(batch); e.settled == e.total {
		close(e.done)
	}
}

func (e *endlessSession) Extend(context.Context, []*driver.Receipt, time.Duration) {}
func (e *endlessSession) Quiesce(context.Context) error                            { e.quiet.Store(true); return nil }
func (e *endlessSession) Close(context.Context) error                              { return nil }
