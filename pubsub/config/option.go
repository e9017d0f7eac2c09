package config

import (
	"time"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

var topologies = map[topology]driver.Topology{
	"": pubsub.Create, "create": pubsub.Create, "verify": pubsub.Verify, "assume": pubsub.Assume,
}

func (b backoff) policy() pubsub.Backoff {
	return pubsub.Backoff{
		Min: time.Duration(b.Min), Max: time.Duration(b.Max),
		Factor: float64(b.Factor), Jitter: float64(b.Jitter),
	}
}

func (b batch) policy() pubsub.Batch {
	return pubsub.Batch{Messages: int(b.Messages), Bytes: int(b.Bytes), Linger: time.Duration(b.Linger)}
}

// topicOption is what both sides say of a topic.
func (c *Config) topicOption(t topic) (pubsub.TopicOption, error) {
	list := []pubsub.TopicOption{pubsub.Topology(topologies[t.Topology])}
	if t.Kind == "queue" {
		list = append(list, pubsub.Queue())
	}
	if t.Ordered {
		list = append(list, pubsub.Ordered())
	}
	settings, err := c.settings(t.Broker, t.Settings, driver.TopicSettings)
	if len(settings) > 0 {
		list = append(list, pubsub.Settings(settings...))
	}
	return pubsub.TopicOptions(list...), err
}

// settings are those of a broker's driver; the others are for another day.
func (c *Config) settings(broker string, sections map[string]map[string]string,
	read func(string, map[string]string) ([]any, error),
) ([]any, error) {
	b := c.doc.Brokers[broker]
	name := driver.SettingsOf(b.scheme())
	section, ok := sections[name]
	if !ok {
		return nil, nil
	}
	return read(name, section)
}

// publisherOptions are a topic's.
func (c *Config) publisherOptions(t topic) ([]pubsub.PublisherOption, error) {
	option, err := c.topicOption(t)
	list := []pubsub.PublisherOption{
		option, pubsub.PublishBatch(t.Publish.Batch.policy()),
		pubsub.PublishLimit(int(t.Publish.Limit.Messages), int(t.Publish.Limit.Bytes)),
	}
	if t.Publish.ContinueAfterFailure {
		list = append(list, pubsub.ContinueAfterFailure())
	}
	return list, err
}

// withSettings adds what a subscription tells the driver, such as another name on the broker.
func (c *Config) withSettings(option pubsub.TopicOption, t topic, s subscription) (pubsub.TopicOption, error) {
	settings, err := c.settings(t.Broker, s.Settings, driver.SubscriptionSettings)
	if len(settings) > 0 {
		option = pubsub.TopicOptions(option, pubsub.Settings(settings...))
	}
	return option, err
}

// subscriberOptions are a subscription's, but for what becomes of poison and the
// middleware inside of that.
func (c *Config) subscriberOptions(s subscription) ([]pubsub.SubscriberOption, error) {
	t := c.doc.Topics[s.Topic]
	option, err := c.topicOption(t)
	if err != nil {
		return nil, err
	}
	if option, err = c.withSettings(option, t, s); err != nil {
		return nil, err
	}
	list := []pubsub.SubscriberOption{
		option, pubsub.InFlight(int(s.InFlight.Messages), int(s.InFlight.Bytes)),
		pubsub.SettleBatch(s.Settle.policy()), pubsub.RetryBackoff(s.Retry.policy()),
	}
	if s.Group != "" {
		list = append(list, pubsub.Group(s.Group))
	}
	if s.Broadcast {
		list = append(list, pubsub.Broadcast())
	}
	if s.Concurrency > 0 {
		list = append(list, pubsub.Concurrency(int(s.Concurrency)))
	}
	for _, o := range []struct {
		span   span
		option func(time.Duration) pubsub.SubscriberOption
	}{{s.Drain, pubsub.DrainTimeout}, {s.MaxHandling, pubsub.MaxHandling}, {s.Lease, pubsub.Lease}} {
		if o.span > 0 {
			list = append(list, o.option(time.Duration(o.span)))
		}
	}
	return list, nil
}

// poisonOption says what becomes of messages that fail for good; dead publishes to
// the dead-letter topic where the middleware does it.
func (c *Config) poisonOption(s subscription, dead pubsub.Publisher) []pubsub.SubscriberOption {
	switch {
	case s.DropPermanent && s.MaxAttempts > 0:
		return []pubsub.SubscriberOption{pubsub.DropPermanent(), pubsub.MaxAttempts(int(s.MaxAttempts))}
	case s.DropPermanent:
		return []pubsub.SubscriberOption{pubsub.DropPermanent()}
	case s.DeadLetter.By == "broker":
		to := c.doc.Topics[s.DeadLetter.Topic]
		return []pubsub.SubscriberOption{pubsub.NativeDeadLetter(to.Name, int(s.MaxAttempts))}
	default:
		policy := middleware.DeadLetterPolicy{MaxAttempts: int(s.MaxAttempts), Timeout: time.Duration(s.DeadLetter.Timeout)}
		return []pubsub.SubscriberOption{middleware.DeadLetter(dead, policy)}
	}
}

// inner is the middleware inside of the dead letter, outermost first.
func (s *subscription) inner() []pubsub.Middleware {
	var list []pubsub.Middleware
	if s.RetryInPlace.Attempts > 0 {
		list = append(list, middleware.Retry(middleware.RetryPolicy{
			Attempts: int(s.RetryInPlace.Attempts), Backoff: s.RetryInPlace.policy(),
		}))
	}
	if s.Timeout > 0 {
		list = append(list, middleware.Timeout(time.Duration(s.Timeout)))
	}
	return list
}
