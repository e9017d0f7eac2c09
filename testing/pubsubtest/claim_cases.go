package pubsubtest

import (
	"context"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

var claimCases = []Case{
	{
		Name: "claim/broker", Why: "The broker has a name: errors say who cannot do what.",
		run: func(k *kit) {
			if k.caps.Broker == "" {
				k.Error("Capabilities.Broker is empty")
			}
			if again := k.conn().Capabilities(); again != k.caps {
				k.Errorf("capabilities change from connection to connection: %+v, then %+v", k.caps, again)
			}
		},
	},
	{
		Name: "claim/backlog", Why: "A backlog that is told is true: alerts and autoscaling go by it.",
		needs: needs("tells no backlog", func(c *driver.Capabilities) bool { return c.Backlog && c.Groups }),
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			k.subscriber(c, topic, pubsub.Group("g"))
			k.publish(k.publisher(c, topic), "", numbers(7)...)
			options := pubsub.TopicOptions(k.TopicOptions...)
			var b pubsub.Backlog
			told := k.until(func() bool { // a broker may take a moment to count, or answer zero when it is busy
				var err error
				b, err = c.Backlog(k.ctx, topic, "g", options)
				k.must(err)
				return b.Ready == 7
			})
			if !told {
				k.Errorf("backlog is %+v, want 7 ready", b)
			}
		},
	},
	{
		Name: "claim/no-backlog", Why: "A broker that tells no backlog says so instead of guessing.",
		needs: needs("tells a backlog", func(c *driver.Capabilities) bool { return !c.Backlog && c.Groups }),
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			k.subscriber(c, topic, pubsub.Group("g"))
			_, err := c.Backlog(k.ctx, topic, "g")
			k.code(err, pubsub.CodeUnsupported, "ask for a backlog")
		},
	},
	{
		Name: "claim/never-blocks", Why: "A Send that claims never to block returns though nobody takes the messages: the engine calls it in the publisher.",
		needs: needs("may block in Send", func(c *driver.Capabilities) bool { return c.SendNeverBlocks }),
		run: func(k *kit) {
			topic, err := k.conn().Topic(k.ctx, driver.TopicRequest{Topic: k.name("t")})
			k.must(err)
			returned := make(chan struct{})
			body := []byte("own")
			fates := make(chan driver.Fate, 1000)
			go func() {
				defer close(returned)
				for range 1000 {
					topic.Send(context.Background(), []driver.Message{{Body: body}}, func(_ int, f driver.Fate, _ error) { fates <- f })
				}
			}()
			await(k, returned, "return of Send")
			for range 1000 {
				await(k, fates, "a fate")
			}
			k.must(topic.Close(k.ctx))
		},
	},
	{
		Name: "claim/missing", Why: "What a broker lacks is refused when opening: groups, queues, broadcast.",
		run: func(k *kit) {
			c := k.client()
			if !k.caps.Groups {
				_, err := k.trySubscriber(c, k.name("t"), pubsub.Group("g"), pubsub.DropPermanent())
				k.code(err, pubsub.CodeUnsupported, "open a group")
			}
			if !k.caps.Queues {
				_, err := k.trySubscriber(c, k.name("q"), pubsub.Queue(), pubsub.DropPermanent())
				k.code(err, pubsub.CodeUnsupported, "open a queue")
			}
			if !k.caps.Broadcast {
				_, err := k.trySubscriber(c, k.name("b"), pubsub.Broadcast(), pubsub.DropPermanent())
				k.code(err, pubsub.CodeUnsupported, "open a broadcast")
			}
			if k.caps.Attempts == driver.None && k.caps.Groups {
				_, err := k.trySubscriber(c, k.name("a"), pubsub.Group("g"), pubsub.DropPermanent(), pubsub.MaxAttempts(3))
				k.code(err, pubsub.CodeUnsupported, "open with a ceiling of attempts")
			}
		},
	},
}
