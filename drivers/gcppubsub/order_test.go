package gcppubsub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/waybill-go/waybill/drivers/gcppubsub"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// inBubble is a fake whose leases of half a minute pass in no time, and a driver for it.
func inBubble(t *testing.T) (*fake, driver.Driver) {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	f := newFakeOn(t, l)
	d, err := gcppubsub.New(gcppubsub.Config{Project: "p", Endpoint: "passthrough:///fake", Client: []option.ClientOption{
		option.WithoutAuthentication(), option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })),
	}})
	must(t, err)
	return f, d
}

// course notes what handlers of ordered messages saw, whose bodies are numbers.
type course struct {
	t       *testing.T
	shared  bool // by members: one that lost a lease may overlap with the next
	mu      sync.Mutex
	next    map[string]int
	running map[string]bool
	left    int
	all     chan struct{}
}

func newCourse(t *testing.T, messages int) *course {
	return &course{t: t, next: map[string]int{}, running: map[string]bool{}, left: messages, all: make(chan struct{})}
}

// begin notes that a handler started.
func (c *course) begin(d *pubsub.Delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[d.Key] && !c.shared {
		c.t.Errorf("two handlers of key %s at a time", d.Key)
	}
	c.running[d.Key] = true
}

// end notes that it is over, and whether it succeeded.
func (c *course) end(d *pubsub.Delivery, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[d.Key] = false
	if err != nil {
		return err
	}
	switch n, _ := strconv.Atoi(string(d.Body)); {
	case n > c.next[d.Key]:
		c.t.Errorf("key %s: %d succeeded before %d", d.Key, n, c.next[d.Key])
	case n == c.next[d.Key]:
		c.next[d.Key]++
		if c.left--; c.left == 0 {
			close(c.all)
		}
	}
	return nil
}

// TestOrderOverBrokenStreams breaks streams, with what they carried lost, and fails
// acknowledgements and extensions of leases, while handlers take their time and some
// fail: each key's messages succeed in order, and all do.
func TestOrderOverBrokenStreams(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		for members := 1; members <= 2; members++ {
			t.Run(fmt.Sprint("seed ", seed, ", members ", members), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { breakStreams(t, members, rand.New(rand.NewPCG(seed, 0))) })
			})
		}
	}
}

// breakStreams has members of a group read through faults. If they are two, they also
// leave in turn, and come back.
func breakStreams(t *testing.T, members int, random *rand.Rand) {
	t.Helper()
	const keys, each = 6, 40
	f, d := inBubble(t)
	ctx := t.Context()
	client, err := pubsub.New(ctx, d, quiet)
	must(t, err)
	p, err := client.Publisher(ctx, "orders", pubsub.Ordered())
	must(t, err)
	c := newCourse(t, keys*each)
	c.shared = members > 1
	handle := func(ctx context.Context, m *pubsub.Delivery) error {
		c.begin(m)
		n, _ := strconv.Atoi(string(m.Body))
		k, _ := strconv.Atoi(m.Key)
		timer := time.NewTimer(time.Duration(1+(7*n+5*k)%9) * 400 * time.Millisecond)
		defer timer.Stop()
		var err error
		select {
		case <-timer.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if (n+k)%7 == 0 && m.Attempt == 1 {
			err = errOfTheTest
		}
		return c.end(m, err)
	}
	subscriptions := make([]*pubsub.Subscription, members)
	stops := make([]func(), members)
	for i := range members {
		subscriptions[i], err = client.Subscriber(ctx, "orders", pubsub.Group("g"), pubsub.Ordered(), pubsub.DropPermanent(),
			pubsub.Lease(10*time.Second), pubsub.InFlight(100, 0))
		must(t, err)
		stops[i] = reading(t, subscriptions[i], handle)
	}
	for i := range each {
		for k := range keys {
			must(t, p.Publish(ctx, &pubsub.Message{Key: strconv.Itoa(k), Body: []byte(strconv.Itoa(i))}))
		}
	}
	away := func([]string) error { return status.Error(codes.Unavailable, "as the test wants") }
	faults := time.NewTicker(5 * time.Second)
	defer faults.Stop()
	timeout := time.After(time.Hour)
	for working := true; working; {
		select {
		case <-c.all:
			working = false
		case <-timeout:
			t.Fatalf("%d messages are left after an hour", c.left)
		case <-faults.C:
			f.mu.Lock()
			f.losing, f.onAck, f.onModify = false, nil, nil
			fault := random.IntN(4 + members)
			switch fault {
			case 0:
				f.losing = true
				fallthrough
			case 1:
				close(f.broken)
				f.broken = make(chan struct{})
			case 2:
				f.onAck = away
			case 3:
				f.onModify = func(ids []string, seconds int32) error { return away(ids) }
			}
			f.mu.Unlock()
			if i := random.IntN(members); fault == 5 {
				stops[i]()
				stops[i] = reading(t, subscriptions[i], handle)
			}
		}
	}
	f.mu.Lock()
	f.losing, f.onAck, f.onModify = false, nil, nil
	t.Logf("%d streams", f.streams)
	f.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	closing(t, client)
}
