package pubsubtest

import (
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// strangeSetting is of no driver's.
type strangeSetting struct{}

var openCases = []Case{
	{
		Name: "open/missing-topic", Why: "Verify fails where a topic is missing, by name: a misspelt one must not be made or ignored.",
		needs: needsGroups,
		run: func(k *kit) {
			c := k.client()
			_, err := c.Publisher(k.ctx, k.name("missing"), pubsub.Topology(pubsub.Verify))
			k.code(err, pubsub.CodeNotFound, "open a missing topic for publishing")
			_, err = k.trySubscriber(c, k.name("missing"), pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Topology(pubsub.Verify))
			k.code(err, pubsub.CodeNotFound, "open a missing topic for receiving")
			_, err = c.Publisher(k.ctx, k.name("missing"), pubsub.Topology(pubsub.Verify))
			k.code(err, pubsub.CodeNotFound, "open it again: the first try must not have made it")
		},
	},
	{
		Name: "open/missing-group", Why: "Verify fails where a group is missing: it would never get a message.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			k.publisher(c, topic)
			_, err := k.trySubscriber(c, topic, pubsub.Group("missing"), pubsub.DropPermanent(), pubsub.Topology(pubsub.Verify))
			k.code(err, pubsub.CodeNotFound, "open a missing group")
		},
	},
	{
		Name: "open/verified", Why: "Verify works where everything is there, as in production where others make the topology.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			k.publisher(c, topic)
			k.subscriber(c, topic, pubsub.Group("g"))
			s := k.subscriber(c, topic, pubsub.Group("g"), pubsub.Topology(pubsub.Verify))
			k.publish(k.publisher(c, topic, pubsub.Topology(pubsub.Verify)), "", "x")
			k.open(s, nil).next()
		},
	},
	{
		Name: "open/conflict", Why: "A topic that exists as something else is refused: half of the services would read nothing.",
		needs: needs("does not show what a topic was made as", func(c *driver.Capabilities) bool { return c.Groups && c.Ordered && c.ShowsMismatch }),
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			k.publisher(c, topic)
			_, err := c.Publisher(k.ctx, topic, pubsub.Ordered())
			k.code(err, pubsub.CodeConflict, "open an unordered topic as ordered")
			_, err = k.trySubscriber(c, topic, pubsub.Group("g"), pubsub.Ordered(), pubsub.DropPermanent())
			k.code(err, pubsub.CodeConflict, "subscribe to an unordered topic as ordered")
		},
	},
	{
		Name: "open/settings", Why: "A setting of another driver is refused: ignored ones are bugs that show in production.",
		run: func(k *kit) {
			c := k.client()
			_, err := c.Publisher(k.ctx, k.name("t"), pubsub.Settings(strangeSetting{}))
			k.code(err, pubsub.CodeInvalid, "open with a stranger's setting")
		},
	},
	{
		Name: "open/names", Why: "Usual names work on every broker, escaped where it must be: switching is by config alone.",
		needs: needsGroups,
		run: func(k *kit) {
			c := k.client()
			for _, name := range []string{"orders.created.v1", "Orders_Created", "a-b.c_d", "x1"} {
				topic := k.name(name)
				s := k.subscriber(c, topic, pubsub.Group("group.with-odd_Name1"))
				k.publish(k.publisher(c, topic), "", name)
				k.same([]string{name}, bodies(k.open(s, nil).take(1)))
			}
		},
	},
	{
		Name: "open/empty-topic", Why: "An empty name is refused at once.",
		run: func(k *kit) {
			c := k.client()
			_, err := c.Publisher(k.ctx, "")
			k.code(err, pubsub.CodeInvalid, "open a publisher without a topic")
			_, err = c.Subscriber(k.ctx, "", pubsub.DropPermanent())
			k.code(err, pubsub.CodeInvalid, "open a subscriber without a topic")
		},
	},
}
