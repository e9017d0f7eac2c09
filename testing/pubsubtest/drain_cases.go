package pubsubtest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

var drainCases = []Case{
	{
		Name: "drain/finishes", Why: "A shutdown lets running handlers finish and settles what they did.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			free := make(chan struct{})
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(ctx context.Context, _ *pubsub.Delivery) error {
				<-pubsub.Draining(ctx)
				<-free
				return ctx.Err()
			})
			k.publish(k.publisher(c, topic), "", "x")
			b.next()
			b.cancel()
			close(free)
			b.close()
			k.open(k.subscriber(c, topic, pubsub.Group("g")), nil).none()
		},
	},
	{
		Name: "drain/returns", Why: "What was fetched and not started goes to another member at once, without an attempt charged.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			free := make(chan struct{})
			first := k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.Concurrency(1)), func(ctx context.Context, _ *pubsub.Delivery) error {
				select {
				case <-free:
				case <-drains(ctx, !k.caps.Competing): // what it returned comes when it has left
				}
				return nil
			})
			k.publish(k.publisher(c, topic), "", numbers(10)...)
			started := first.next()
			first.cancel()
			if !k.caps.Competing {
				first.close()
				k.sameUnstarted(c, topic, string(started.Body))
				return
			}
			second := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil)
			got := second.take(9) // while the first handler still runs
			for _, d := range got {
				if k.caps.Attempts == driver.Exact {
					k.precise(d.Attempt, 1)
				}
			}
			k.same(numbers(10), append(bodies(got), string(started.Body)))
			close(free)
			first.close()
			second.none()
		},
	},
	{
		Name: "drain/postponed", Why: "What waits because it was postponed goes to another member when its own leaves, without an attempt charged.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			first := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(context.Context, *pubsub.Delivery) error {
				return pubsub.Postpone(30*time.Second, errOfTheCase)
			})
			k.publish(k.publisher(c, topic), "", numbers(5)...)
			first.take(5)
			first.close()
			second := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil)
			got := second.take(5)
			for _, d := range got {
				if k.caps.Attempts == driver.Exact {
					k.precise(d.Attempt, 1)
				}
			}
			k.same(numbers(5), bodies(got))
			second.none()
		},
	},
	{
		Name: "drain/timeout", Why: "A handler that does not finish in time has its context ended, with a cause that says why.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			cause := make(chan error, 1)
			b := k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.DrainTimeout(50*time.Millisecond)), func(ctx context.Context, _ *pubsub.Delivery) error {
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return ctx.Err()
			})
			k.publish(k.publisher(c, topic), "", "x")
			b.next()
			b.close()
			if err := await(k, cause, "the end of the handler's context"); !errors.Is(err, pubsub.ErrDrainTimeout) {
				k.Errorf("cause is %v, want ErrDrainTimeout", err)
			}
			k.same([]string{"x"}, bodies(k.open(k.subscriber(c, topic, pubsub.Group("g")), nil).take(1)))
		},
	},
	{
		Name: "drain/order", Why: "What a closed session returns comes back in order, or a shutdown would shuffle a key.",
		needs: needsOrder,
		run: func(k *kit) {
			conn, r := k.conn(), k.request(k.name("t"), true)
			m := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "a", numbers(8)...)
			m.take(1)
			m.leave()
			k.join(conn, r).finish(numbers(8)...)
		},
	},
	{
		Name: "drain/quiesce", Why: "After Quiesce a session gives nothing new and says so, and keeps what it gave until it is settled.",
		needs: needsGroups,
		run: func(k *kit) {
			conn, r, m := k.reader("a")
			d := m.take(1)[0]
			k.must(m.Quiesce(k.ctx))
			k.sendKeyed(conn, r.TopicRequest, "", "b")
			var in driver.Intake
			if err := m.Receive(k.ctx, &in); !errors.Is(err, driver.ErrQuiesced) || len(in.Deliveries) > 0 {
				k.Errorf("Receive after Quiesce: %d deliveries, %v; want ErrQuiesced", len(in.Deliveries), err)
			}
			m.none(k.Quiet) // it waits for what is taken back
			m.done(&d, driver.Ack)
			m.leave()
			if d := k.join(conn, r).take(1)[0]; string(d.Body) != "b" {
				k.Errorf("got %q, want b", d.Body)
			}
		},
	},
	{
		Name: "drain/lost", Why: "A session that is lost while handlers run on says so, or they work on what is another's by then.",
		needs: needsGroups,
		run: func(k *kit) {
			k.dies()
			_, r, m := k.reader("a")
			m.take(1)
			k.must(m.Quiesce(k.ctx))
			var in driver.Intake
			if err := m.Receive(k.ctx, &in); !errors.Is(err, driver.ErrQuiesced) {
				k.Errorf("Receive after Quiesce: %v, want ErrQuiesced", err)
			}
			told := make(chan error, 1)
			go func() {
				for {
					if err := m.Receive(k.ctx, &in); err != nil {
						told <- err
						return
					}
				}
			}()
			k.cut()
			if err := await(k, told, "the end of the session"); errors.Is(err, driver.ErrQuiesced) || k.ctx.Err() != nil {
				k.Errorf("Receive on a session that was lost after Quiesce: %v, want why", err)
			}
			m.leave()
			again := k.join(k.conn(), r).take(1)[0]
			if string(again.Body) != "a" {
				k.Errorf("got %q, want a", again.Body)
			}
		},
	},
	{
		Name: "drain/leaves-nothing", Why: "After Close no goroutine is left: services that reopen would leak.",
		needs: needsGroups,
		run: func(k *kit) {
			ours := newFamily()
			func() {
				conn, err := k.driver.Open(k.ctx)
				k.must(err)
				r := k.request(k.name("t"), false)
				m := k.join(conn, r)
				k.sendKeyed(conn, r.TopicRequest, "", numbers(10)...)
				m.take(1)
				ours.alive()
				m.leave()
				k.must(m.Close(k.ctx)) // a second Close does nothing
				k.must(conn.Close(k.ctx))
				k.must(conn.Close(k.ctx))
			}()
			var left []string
			if !k.until(func() bool { left = slices.DeleteFunc(ours.alive(), k.Excuse); return len(left) == 0 }) {
				k.Errorf("goroutines are left after Close:\n%s", strings.Join(left, "\n\n"))
			}
		},
	},
	{
		Name: "close/use-after", Why: "Use after Close is an error that says so, and a second Close is none.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			p, s := k.publisher(c, topic), k.subscriber(c, topic, pubsub.Group("g"))
			k.must(p.Close(k.ctx))
			k.must(s.Close(k.ctx))
			k.must(p.Close(k.ctx))
			k.must(s.Close(k.ctx))
			k.code(p.Publish(k.ctx, &pubsub.Message{}), pubsub.CodeClosed, "publish after Close")
			k.code(s.Receive(k.ctx, permanent), pubsub.CodeClosed, "receive after Close")
			k.must(c.Close(k.ctx))
			_, err := c.Publisher(k.ctx, topic)
			k.code(err, pubsub.CodeClosed, "open a publisher after Close")
		},
	},
	{
		Name: "close/receive-twice", Why: "A second Receive at a time is refused: two would steal from each other unseen.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			s := k.subscriber(c, topic, pubsub.Group("g"))
			b := k.open(s, nil)
			k.publish(k.publisher(c, topic), "", "x")
			b.next()
			if err := s.Receive(k.ctx, permanent); !errors.Is(err, pubsub.ErrReceiving) {
				k.Errorf("second Receive: %v, want ErrReceiving", err)
			}
		},
	},
	{
		Name: "close/again", Why: "A subscription that has drained can receive again.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			s, p := k.subscriber(c, topic, pubsub.Group("g")), k.publisher(c, topic)
			for _, body := range numbers(3) {
				b := k.open(s, nil)
				k.publish(p, "", body)
				k.same([]string{body}, bodies(b.take(1)))
				b.close()
			}
		},
	},
}

// drains is closed when a drain begins, where a handler is to end with that.
func drains(ctx context.Context, ends bool) <-chan struct{} {
	if !ends {
		return nil
	}
	return pubsub.Draining(ctx)
}

// sameUnstarted reads what a member that has left did not start, of the numbers to 10.
func (k *kit) sameUnstarted(c *pubsub.Client, topic, started string) {
	k.Helper()
	next := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil)
	got := next.take(9)
	k.same(numbers(10), append(bodies(got), started))
	next.none()
}

// A family is the goroutines that come from one, as far as they were seen: other
// cases run beside it.
type family struct {
	head    string
	members map[string]bool
	before  map[string]bool // those that lived when it was made, of the case's own connection
}

func newFamily() *family {
	buf := make([]byte, 64)
	head := number(string(buf[:runtime.Stack(buf, false)]))
	f := &family{head: head, members: map[string]bool{head: true}}
	before := map[string]bool{head: true}
	for _, stack := range f.alive() {
		before[number(stack)] = true
	}
	f.before = before
	return f
}

// alive returns the stacks of the members that live, and remembers them.
func (f *family) alive() []string {
	buf := make([]byte, 16<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	for grown := true; grown; {
		grown = false
		for _, stack := range all {
			_, parent, _ := strings.Cut(stack, " in goroutine ")
			parent, _, _ = strings.Cut(parent, "\n")
			if id := number(stack); f.members[parent] && (parent == f.head || !f.before[parent]) && !f.members[id] {
				f.members[id] = true
				grown = true
			}
		}
	}
	var alive []string
	for _, stack := range all {
		if id := number(stack); f.members[id] && id != f.head && !f.before[id] {
			alive = append(alive, stack)
		}
	}
	return alive
}

// number is the N of a stack that begins with "goroutine N [".
func number(stack string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
	return id
}
