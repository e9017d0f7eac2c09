package memory_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// A key of which a member has nothing any more goes to whoever has credit: that member may have
// none for a long time, as when its handlers hang.
func TestAKeyLeavesAMemberWithoutCredit(t *testing.T) {
	t.Parallel()
	settle := func(v driver.Verb) func(driver.Session, driver.Delivery) {
		return func(s driver.Session, d driver.Delivery) {
			s.Settle(context.Background(), []driver.Settlement{{Receipt: &d.Receipt, Verb: v}})
		}
	}
	for name, c := range map[string]struct {
		end  func(driver.Session, driver.Delivery) // of the first message, at its member
		want []string
	}{
		"settled":      {settle(driver.Ack), []string{"2", "3"}},
		"returned":     {settle(driver.Return), []string{"1", "2", "3"}},
		"retried":      {settle(driver.Retry), []string{"1", "2", "3"}},
		"lease is out": {func(driver.Session, driver.Delivery) { time.Sleep(time.Hour) }, []string{"1", "2", "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, waits := range []bool{true, false} { // before the key is free, or only then
				synctest.Test(t, func(t *testing.T) {
					conn := connect(t, broker(t, memory.Config{Lease: time.Hour}))
					r := group("t", "g")
					r.Ordered = true
					first, err := conn.Subscribe(t.Context(), r)
					if err != nil {
						t.Fatal(err)
					}
					topic, err := conn.Topic(t.Context(), r.TopicRequest)
					if err != nil {
						t.Fatal(err)
					}
					var messages []driver.Message
					for _, body := range []string{"1", "2", "3"} {
						messages = append(messages, driver.Message{Key: "k", Body: []byte(body)})
					}
					topic.Send(t.Context(), messages, func(int, driver.Fate, error) {})
					first.Credit(1, 1<<20)
					out := take(t, first).Deliveries
					if len(out) != 1 {
						t.Fatalf("got %d deliveries, want 1", len(out))
					}
					var got []string
					var count atomic.Int32
					received := make(chan struct{})
					read := func() {
						defer close(received)
						second := join(t, conn, r)
						ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
						defer cancel()
						for len(got) < len(c.want) {
							var in driver.Intake
							if err := second.Receive(ctx, &in); err != nil {
								t.Errorf("waits=%t: after %q: %v", waits, got, err)
								return
							}
							for _, d := range in.Deliveries {
								got = append(got, string(d.Body))
								count.Add(1)
							}
						}
					}
					if waits {
						go read()
						synctest.Wait()
						if n := count.Load(); n > 0 {
							t.Errorf("%d messages came while another of their key was out", n)
						}
					}
					c.end(first, out[0])
					if !waits {
						go read()
					}
					<-received
					if !slices.Equal(got, c.want) {
						t.Errorf("waits=%t: got %q, want %q", waits, got, c.want)
					}
					if err := conn.Close(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}
