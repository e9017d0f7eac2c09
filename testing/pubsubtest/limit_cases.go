package pubsubtest

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// gauge is the most that was in flight.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func (g *gauge) OnIntake(i pubsub.IntakeInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += i.Messages
	g.most = max(g.most, g.now)
}

func (g *gauge) OnSettle(s pubsub.SettleInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.Verb != driver.Keep {
		g.now--
	}
}

var limitCases = []Case{
	{
		Name: "limit/in-flight", Why: "A slow handler slows intake: what is fetched stays within InFlight, and memory flat.",
		needs: needsGroups,
		run: func(k *kit) {
			g := &gauge{}
			c, topic := k.client(pubsub.Observe(g)), k.name("t")
			free := make(chan struct{})
			b := k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.InFlight(10, 0), pubsub.Concurrency(4)),
				func(context.Context, *pubsub.Delivery) error {
					<-free
					return nil
				})
			k.publish(k.publisher(c, topic), "", numbers(50)...)
			b.take(4)
			b.none()
			close(free)
			b.take(46)
			g.mu.Lock()
			defer g.mu.Unlock()
			// Settlements are counted a moment after their credit went back.
			if g.most > 20 {
				k.Errorf("%d messages were in flight, want at most 10", g.most)
			}
		},
	},
	{
		Name: "limit/credit", Why: "A session gives no more messages than it has credit for: the engine's bound rests on it.",
		needs: needsGroups,
		run: func(k *kit) {
			conn, r := k.conn(), k.request(k.name("t"), false)
			m := k.joinWithout(conn, r)
			k.sendKeyed(conn, r.TopicRequest, "", numbers(10)...)
			m.none(k.Quiet)
			m.Credit(3, 1<<20)
			got := m.take(3)
			m.none(k.Quiet)
			for i := range got {
				m.done(&got[i], driver.Ack)
			}
			m.Credit(7, 1<<20)
			m.take(7)
		},
	},
	{
		Name: "limit/concurrency", Why: "No more handlers run at a time than Concurrency says: databases behind them have limits too.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			g := &gauge{}
			b := k.open(k.subscriber(c, topic, pubsub.Group("g"), pubsub.Concurrency(3)), func(context.Context, *pubsub.Delivery) error {
				g.OnIntake(pubsub.IntakeInfo{Messages: 1})
				defer g.OnSettle(pubsub.SettleInfo{})
				timer := time.NewTimer(time.Millisecond)
				defer timer.Stop()
				<-timer.C
				return nil
			})
			k.publish(k.publisher(c, topic), "", numbers(40)...)
			b.take(40)
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.most > 3 {
				k.Errorf("%d handlers ran at a time, want at most 3", g.most)
			}
		},
	},
}
