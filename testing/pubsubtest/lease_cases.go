package pubsubtest

import (
	"context"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// leased is a request with the harness's short lease.
func (k *kit) leased() (driver.Conn, driver.SubscribeRequest) {
	r := k.request(k.name("t"), false)
	r.Lease = k.Lease
	return k.conn(), r
}

var leaseCases = []Case{
	{
		Name: "lease/kept", Why: "A handler that runs longer than the lease keeps its message: slow work is not done twice.",
		needs: needsLease,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.Lease(k.Lease)), func(ctx context.Context, _ *pubsub.Delivery) error {
				select {
				case <-time.After(3 * k.Lease):
				case <-ctx.Done():
					k.Errorf("handler's context ended: %v", context.Cause(ctx))
				}
				return nil
			})
			k.publish(k.publisher(c, topic), "", "slow")
			b.next()
			select {
			case d := <-b.seen:
				k.Errorf("%q came again, attempt %d, though its handler ran", d.Body, d.Attempt)
			case <-time.After(4 * k.Lease):
			}
		},
	},
	{
		Name: "lease/expires", Why: "What a silent member has comes again when its lease ends: a crash loses nothing.",
		needs: needsLease,
		run: func(k *kit) {
			conn, r := k.leased()
			silent := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "", "x")
			old := silent.take(1)[0]
			again := k.first(silent, k.join(k.conn(), r)) // a broker may prefer the old one, which is there
			if string(again.Body) != "x" {
				k.Errorf("got %q", again.Body)
			}
			k.precise(again.Attempt, 2)
			if got := silent.settle(&old, driver.Ack, 0); got == driver.Confirmed || got == driver.Accepted {
				k.Errorf("the silent member's settlement is %s, want lost", got)
			}
		},
	},
	{
		Name: "lease/deadline", Why: "Deliveries tell when their leases end, and Extend moves that: the engine keeps them by it.",
		needs: needsLease,
		run: func(k *kit) {
			conn, r := k.leased()
			m := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "", "x")
			d := m.take(1)[0]
			if left := time.Until(d.Deadline); left <= 0 || left > 2*k.Lease+k.Patience {
				k.Fatalf("lease ends in %v, asked for %v", left, k.Lease)
			}
			before := d.Deadline
			timer := time.NewTimer(k.Lease / 4)
			defer timer.Stop()
			<-timer.C
			receipt := d.Receipt
			m.Extend(k.ctx, []*driver.Receipt{&receipt}, 4*k.Lease)
			if !receipt.Deadline.After(before) {
				k.Fatalf("lease ends at %v after Extend, %v before", receipt.Deadline, before)
			}
			m.none(time.Until(before) + k.Lease) // it would have come back by now
			m.done(&d, driver.Ack)
		},
	},
	{
		Name: "lease/lost-is-told", Why: "Extend tells of a lost lease, so that its handler stops working on what is another's.",
		needs: needsLease,
		run: func(k *kit) {
			conn, r := k.leased()
			m := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "", "x")
			d := m.take(1)[0]
			m.done(&d, driver.Ack)
			receipt := d.Receipt
			m.Extend(k.ctx, []*driver.Receipt{&receipt}, k.Lease)
			if !receipt.Deadline.IsZero() {
				k.Errorf("a settled receipt was extended to %v", receipt.Deadline)
			}
		},
	},
	{
		Name: "lease/none", Why: "A broker without leases sets no deadlines, or the engine would give messages up for nothing.",
		needs: needs("has leases", func(c *driver.Capabilities) bool { return c.Lease == 0 && c.Groups }),
		run: func(k *kit) {
			_, _, m := k.reader("x")
			if d := m.take(1)[0]; !d.Deadline.IsZero() {
				k.Errorf("delivery has the deadline %v", d.Deadline)
			}
			_, err := k.trySubscriber(k.client(), k.name("u"), pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Lease(time.Minute))
			k.code(err, pubsub.CodeUnsupported, "open with a lease")
		},
	},
}
