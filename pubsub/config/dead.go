package config

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/deadletter"
)

// DeadLetters lists the topics that subscriptions dead-letter into, by their names in the
// file, in its order.
func (c *Config) DeadLetters() []string {
	dead := map[string]topic{}
	for _, s := range c.doc.Subscriptions {
		if t, ok := c.doc.Topics[s.DeadLetter.Topic]; ok && !s.DropPermanent {
			dead[s.DeadLetter.Topic] = t
		}
	}
	return names(c, "topics", dead)
}

// Letters calls look for each dead letter of a topic that the filter picks, until that returns
// false, and takes nothing. See deadletter.List.
func (c *Client) Letters(ctx context.Context, topic string, filter deadletter.Filter, policy pubsub.BrowsePolicy, look func(deadletter.Letter) bool) error {
	t, option, err := c.dlq(topic)
	if err != nil {
		return err
	}
	if look == nil {
		return invalid("nobody looks: look is nil")
	}
	complete := c.completes(topic)
	err = deadletter.List(ctx, c.brokers[t.Broker], t.Name, deadletter.Filter{}, policy, func(l deadletter.Letter) bool {
		complete(&l)
		return !filter.Picks(&l) || look(l)
	}, option)
	return c.config.opened("topics", topic, err)
}

// Waiting counts the letters of a dead-letter topic. It fails with CodeUnsupported where the
// broker does not tell.
func (c *Client) Waiting(ctx context.Context, topic string) (pubsub.Backlog, error) {
	t, option, err := c.dlq(topic)
	if err != nil {
		return pubsub.Backlog{}, err
	}
	return c.brokers[t.Broker].Backlog(ctx, t.Name, "", option)
}

// Redrive brings letters of a dead-letter topic back to the topics where they failed, which are
// those of the file's subscriptions that dead-letter into it, unless the policy has a
// Publisher. It declares nothing: letters of a topic or a group that is gone stay. See
// deadletter.Redrive.
func (c *Client) Redrive(ctx context.Context, topic string, policy deadletter.Policy) (deadletter.Report, error) {
	t, option, err := c.dlq(topic)
	if err != nil {
		return deadletter.Report{}, err
	}
	if policy.Complete == nil {
		policy.Complete = c.completes(topic)
	}
	opened := map[string]*pubsub.Topic{}
	if policy.Publisher == nil {
		policy.Publisher = func(ctx context.Context, source, group string) (pubsub.Publisher, error) {
			name, err := c.source(topic, source)
			if err != nil {
				return nil, err
			}
			if opened[name] == nil {
				t, err := c.publisher(ctx, name, c.config.doc.Topics[name].declaringNothing())
				if err != nil {
					return nil, err
				}
				opened[name] = t
			}
			return opened[name], c.reaches(ctx, name, group)
		}
	}
	report, err := deadletter.Redrive(ctx, c.brokers[t.Broker], t.Name, policy, option)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	closed := together(slices.Collect(maps.Values(opened)), func(t *pubsub.Topic) error { return t.Close(closing) })
	return report, c.config.opened("topics", topic, errors.Join(err, errors.Join(closed...)))
}

// reaches fails where a group of a topic is gone from the broker: what is brought back for it
// would reach nobody.
func (c *Client) reaches(ctx context.Context, topic, group string) error {
	for name, s := range c.config.doc.Subscriptions {
		if s.Topic != topic || s.Group != group || s.Broadcast || c.config.doc.Topics[topic].Topology == "assume" {
			continue
		}
		if err := c.verifySubscription(ctx, s); pubsub.CodeOf(err) == pubsub.CodeNotFound {
			return c.config.opened("subscriptions", name, err)
		}
	}
	return nil
}

// completes puts in where letters come from that do not tell, as those of a broker's own dead
// letter, if only one topic, or one subscription of it, dead-letters into this one.
func (c *Client) completes(dead string) func(*deadletter.Letter) {
	type origin struct{ source, group string }
	var origins []origin
	for _, name := range c.config.Subscriptions() {
		if s := c.config.doc.Subscriptions[name]; !s.DropPermanent && s.DeadLetter.Topic == dead {
			origins = append(origins, origin{c.config.doc.Topics[s.Topic].Name, s.Group})
		}
	}
	return func(l *deadletter.Letter) {
		if l.Source != "" {
			return
		}
		for i, o := range origins {
			switch {
			case i == 0:
				l.Source, l.Group = o.source, o.group
			case l.Source != o.source:
				l.Source, l.Group = "", ""
				return
			default:
				l.Group = "" // any of the topic's
			}
		}
	}
}

// source finds the topic of the file where a dead letter failed, by its name on the broker. A
// letter that does not tell comes from the one topic whose subscriptions dead-letter into
// this one.
func (c *Client) source(dead, source string) (string, error) {
	found := ""
	for _, name := range c.config.Subscriptions() {
		s := c.config.doc.Subscriptions[name]
		if s.DropPermanent || s.DeadLetter.Topic != dead || source != "" && c.config.doc.Topics[s.Topic].Name != source {
			continue
		}
		if found != "" && found != s.Topic {
			return "", invalid("%s: its letter does not tell which of several topics it comes from; name one to send it to (--to, or Policy.Publisher)", dead)
		}
		found = s.Topic
	}
	if found == "" {
		return "", invalid("no subscription of topic %q dead-letters into %s; name a topic to send it to (--to, or Policy.Publisher)", source, dead)
	}
	return found, nil
}

// dlq is a topic that subscriptions dead-letter into, with what belongs to its reading.
func (c *Client) dlq(name string) (topic, pubsub.TopicOption, error) {
	if err := c.config.CheckDeadLetters(name); err != nil {
		return topic{}, nil, err
	}
	t := c.config.doc.Topics[name].declaringNothing()
	option, err := c.config.topicOption(t)
	if err != nil {
		return t, nil, err
	}
	// A subscription that reads it may name it otherwise on the broker.
	for _, s := range c.config.doc.Subscriptions {
		if s.Topic != name {
			continue
		}
		if option, err = c.config.withSettings(option, t, s); err != nil {
			return t, nil, err
		}
	}
	return t, option, nil
}
