package pubsubtest

import (
	"context"
	"fmt"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

var groupCases = []Case{
	{
		Name: "group/each", Why: "Every group gets every message: email must not take billing's.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			var boxes []*box
			for _, g := range []string{"email", "billing", "analytics"} {
				boxes = append(boxes, k.open(k.subscriber(c, topic, pubsub.Group(g)), nil))
			}
			k.publish(k.publisher(c, topic), "", numbers(20)...)
			for _, b := range boxes {
				k.same(numbers(20), bodies(b.take(20)))
				b.none()
			}
		},
	},
	{
		Name: "group/members", Why: "The members of a group share its messages: each is handled by one of them.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			all := &box{kit: k, seen: make(chan *pubsub.Delivery, 1000), done: make(chan struct{})}
			for range 3 {
				k.open(k.subscriber(c, topic, pubsub.Group("g")), func(_ context.Context, d *pubsub.Delivery) error {
					all.seen <- d
					return nil
				})
			}
			k.publish(k.publisher(c, topic), "", numbers(60)...)
			k.same(numbers(60), bodies(all.take(60)))
			all.none()
		},
	},
	{
		Name: "group/kept", Why: "What is published after a subscription was declared waits for it, though nothing received yet.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			s := k.subscriber(c, topic, pubsub.Group("g"))
			k.publish(k.publisher(c, topic), "", numbers(10)...)
			k.same(numbers(10), bodies(k.open(s, nil).take(10)))
		},
	},
	{
		Name: "group/absent-member", Why: "A group's messages wait while it has no member, as in a deployment.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil)
			p := k.publisher(c, topic)
			k.publish(p, "", "before")
			b.take(1)
			b.close()
			k.publish(p, "", numbers(5)...)
			k.same(numbers(5), bodies(k.open(k.subscriber(c, topic, pubsub.Group("g")), nil).take(5)))
		},
	},
	{
		Name: "group/unshared", Why: "A delivery is its handler's own: what one group does to it, another must not see.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			spoil := func(_ context.Context, d *pubsub.Delivery) error {
				for i := range d.Body {
					d.Body[i] = 'x'
				}
				d.Body = append(d.Body, "overrun"...)
				d.Headers["h"] = "x"
				return nil
			}
			a, b := k.subscriber(c, topic, pubsub.Group("a")), k.subscriber(c, topic, pubsub.Group("b"))
			p := k.publisher(c, topic)
			for _, body := range numbers(20) {
				k.must(p.Publish(k.ctx, &pubsub.Message{Body: []byte(body), Headers: map[string]string{"h": body}}))
			}
			first := k.open(a, spoil)
			first.take(20)
			first.close()
			for _, d := range k.open(b, nil).take(20) {
				if d.Headers["h"] != string(d.Body) || d.Headers["h"] == "x" {
					k.Errorf("got body %q, header %q: another group changed them", d.Body, d.Headers["h"])
				}
			}
		},
	},
	{
		Name: "group/redelivery-unshared", Why: "A redelivered message is as published, whatever its last handler did to it.",
		needs: needsGroups,
		run: func(k *kit) {
			conn, r := k.conn(), k.request(k.name("t"), false)
			m := k.join(conn, r)
			k.send(conn, r.TopicRequest, driver.Message{Body: []byte("body"), Headers: map[string]string{"h": "v"}})
			d := m.take(1)[0]
			copy(d.Body, "xxxx")
			d.Headers["h"] = "x"
			m.done(&d, driver.Retry)
			if d := m.take(1)[0]; string(d.Body) != "body" || d.Headers["h"] != "v" {
				k.Errorf("got body %q, headers %v again", d.Body, d.Headers)
			}
		},
	},
	{
		Name: "queue/once", Why: "Each task of a queue is handled by one worker.",
		needs: needsQueues,
		run: func(k *kit) {
			c, topic := k.client(), k.name("q")
			all := &box{kit: k, seen: make(chan *pubsub.Delivery, 1000), done: make(chan struct{})}
			for range 3 {
				k.open(k.subscriber(c, topic, pubsub.Queue()), func(_ context.Context, d *pubsub.Delivery) error {
					all.seen <- d
					return nil
				})
			}
			k.publish(k.publisher(c, topic, pubsub.Queue()), "", numbers(60)...)
			k.same(numbers(60), bodies(all.take(60)))
			all.none()
		},
	},
	{
		Name: "queue/kept", Why: "A queue keeps tasks from its creation on, before the first worker comes.",
		needs: needsQueues,
		run: func(k *kit) {
			c, topic := k.client(), k.name("q")
			k.publish(k.publisher(c, topic, pubsub.Queue()), "", numbers(10)...)
			k.same(numbers(10), bodies(k.open(k.subscriber(c, topic, pubsub.Queue()), nil).take(10)))
		},
	},
	{
		Name: "broadcast/each", Why: "Every broadcast subscription gets its own copy of everything: caches are told that way.",
		needs: needsBroadcast,
		run: func(k *kit) {
			conn, r := k.conn(), driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: k.name("t")}}
			first, second := k.join(conn, r), k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "", numbers(5)...)
			for _, m := range []*member{first, second} {
				for _, d := range m.take(5) {
					m.done(&d, driver.Ack)
				}
			}
		},
	},
	{
		Name: "broadcast/from-now", Why: "A broadcast subscription starts with what is published after it: no backlog of strangers.",
		needs: needsBroadcast,
		run: func(k *kit) {
			conn, r := k.conn(), driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: k.name("t")}}
			k.sendKeyed(conn, r.TopicRequest, "", "before")
			m := k.join(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "", "after")
			if d := m.take(1)[0]; string(d.Body) != "after" {
				k.Errorf("got %q", d.Body)
			}
			m.none(k.Quiet)
		},
	},
	{
		Name: "group/concurrent", Why: "Publishers, groups and retries at once lose nothing and mix nothing up.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			const groups, each = 4, 100
			var boxes []*box
			for g := range groups {
				fail := once(errOfTheCase)
				boxes = append(boxes, k.open(k.subscriber(c, topic, pubsub.Group(fmt.Sprint("g", g))), fail))
			}
			p := k.publisher(c, topic)
			for range 2 {
				go func() {
					for _, body := range numbers(each) {
						p.PublishAsync(k.ctx, &pubsub.Message{Body: []byte(body)}, nil)
					}
				}()
			}
			for _, b := range boxes {
				if got := b.take(2*each + 1); len(got) != 2*each+1 {
					k.Errorf("got %d", len(got))
				}
				b.none()
			}
		},
	},
}
