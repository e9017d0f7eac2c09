package config

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// fill puts in what follows from what was said.
func (c *Config) fill() {
	if c.doc.Broker == "" && len(c.doc.Brokers) == 1 {
		for name := range c.doc.Brokers {
			c.doc.Broker = name
		}
	}
	for name, t := range c.doc.Topics {
		if t.Name == "" {
			t.Name = name
		}
		if t.Broker == "" {
			t.Broker = c.doc.Broker
		}
		if t.Kind == "" {
			t.Kind = "event"
		}
		c.doc.Topics[name] = t
	}
	for name, s := range c.doc.Subscriptions {
		// What a subscription says itself takes the place of a default that contradicts it.
		key := under("subscriptions", name)
		if s.DropPermanent && c.said(key, "drop-permanent") && !c.said(key, "dead-letter") {
			s.DeadLetter = deadLetter{}
		}
		if c.said(key, "dead-letter") && !c.said(key, "drop-permanent") {
			s.DropPermanent = false
		}
		c.doc.Subscriptions[name] = s
	}
}

// check finds contradictions: what makes no sense on any broker.
func (c *Config) check(f *faults) {
	if len(c.doc.Brokers) == 0 {
		f.invalid("brokers", "names no broker; give one, with its url")
	}
	if _, ok := c.doc.Brokers[c.doc.Broker]; c.doc.Broker != "" && !ok {
		f.invalid("broker", "there is no broker %q%s", c.doc.Broker, nearest(c.doc.Broker, keys(c.doc.Brokers)))
	}
	for _, name := range names(c, "brokers", c.doc.Brokers) {
		c.checkBroker(f, under("brokers", name), c.doc.Brokers[name])
	}
	onBroker := map[[2]string]string{}
	for _, name := range c.Topics() {
		key, t := under("topics", name), c.doc.Topics[name]
		c.checkTopic(f, key, t)
		place := [2]string{t.Broker, t.Name}
		if other, dup := onBroker[place]; dup {
			f.invalid(under(key, "name"), "is the same topic %q on the broker as topics.%s", t.Name, other)
		}
		onBroker[place] = name
	}
	readers := map[[2]string]string{}
	for _, name := range c.Subscriptions() {
		key, s := under("subscriptions", name), c.doc.Subscriptions[name]
		t, ok := c.doc.Topics[s.Topic]
		switch {
		case s.Topic == "":
			f.invalid(under(key, "topic"), "is missing; name a topic of this file")
			continue
		case !ok:
			f.invalid(under(key, "topic"), "there is no topic %q%s", s.Topic, nearest(s.Topic, keys(c.doc.Topics)))
			continue
		}
		c.checkSubscription(f, key, s, t)
		c.checkDeadLetter(f, key, s, t)
		member := [2]string{s.Topic, s.Group}
		if other, dup := readers[member]; dup && !s.Broadcast {
			f.invalid(under(key, "group"), "reads what subscriptions.%s reads: each message would reach only one of them; give them groups of their own", other)
		}
		if !s.Broadcast {
			readers[member] = name
		}
	}
}

func (c *Config) checkBroker(f *faults, key string, b broker) {
	if b.URL == "" {
		f.invalid(under(key, "url"), "is missing; give one such as memory://name")
		return
	}
	u, err := url.Parse(b.URL)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		// The URL may have a password in it.
		f.invalid(under(key, "url"), "is not a URL such as scheme://host:port; special characters in it are percent-encoded")
		return
	}
	_, hasPassword := u.User.Password()
	switch {
	case b.User != "" && u.User != nil:
		f.invalid(under(key, "user"), "the url names a user too; leave one of them out")
	case b.Password != (reference{}) && hasPassword:
		f.invalid(under(key, "password"), "the url has a password too; leave that out")
	case b.Password != (reference{}) && b.User == "" && u.User.Username() == "":
		f.invalid(under(key, "password"), "is nobody's; give a user")
	}
	query := u.Query()
	for name := range b.Params {
		if query.Has(name) {
			f.invalid(under(key, "params", name), "the url has this parameter too; leave one of them out")
		}
	}
	for name := range b.Secrets {
		if _, twice := b.Params[name]; twice || query.Has(name) {
			f.invalid(under(key, "secrets", name), "the url or params have this parameter too; leave one of them out")
		}
	}
	checkBackoff(f, under(key, "reconnect"), b.Reconnect)
}

func checkBackoff(f *faults, key string, b backoff) {
	if b.Max > 0 && b.Max < b.Min {
		f.invalid(under(key, "max"), "%v is below min, %v", time.Duration(b.Max), time.Duration(b.Min))
	}
}

func (c *Config) checkTopic(f *faults, key string, t topic) {
	if _, ok := c.doc.Brokers[t.Broker]; !ok && t.Broker != c.doc.Broker {
		f.invalid(under(key, "broker"), "there is no broker %q%s", t.Broker, nearest(t.Broker, keys(c.doc.Brokers)))
	} else if t.Broker == "" && len(c.doc.Brokers) > 1 {
		f.invalid(key, "names none of the brokers; give broker here, or at the top of the file for all topics")
	}
	checkSettings(f, key, t.Settings, driver.TopicSettings)
}

// checkSettings reads the settings of all drivers, so that those for another broker
// are right on the day they are needed.
func checkSettings(f *faults, key string, sections map[string]map[string]string, read func(string, map[string]string) ([]any, error)) {
	for name, section := range sections {
		at := under(key, "settings", name)
		_, err := read(name, section)
		if bad := new(driver.ParamError); errors.As(err, &bad) {
			at = under(at, bad.Name)
		}
		if err != nil {
			f.at(at, err)
		}
	}
}

func (c *Config) checkSubscription(f *faults, key string, s subscription, t topic) {
	switch {
	case t.Kind == "queue" && s.Group != "":
		f.invalid(under(key, "group"), "topic %q is a queue, which has no groups; leave group out, or make it an event topic", s.Topic)
	case t.Kind == "queue" && s.Broadcast:
		f.invalid(under(key, "broadcast"), "topic %q is a queue, where each message is handled once; leave broadcast out, or make it an event topic", s.Topic)
	case t.Kind == "event" && s.Group == "" && !s.Broadcast:
		f.invalid(key, "names no group; give group, or broadcast: true for a copy of everything while it is open")
	case s.Group != "" && s.Broadcast:
		f.invalid(under(key, "broadcast"), "contradicts group; leave one of them out")
	}
	checkBackoff(f, under(key, "retry"), s.Retry)
	checkBackoff(f, under(key, "retry-in-place"), s.RetryInPlace.backoff)
	if s.RetryInPlace.Attempts == 0 && s.RetryInPlace != (inPlace{}) {
		f.invalid(under(key, "retry-in-place"), "says how long to wait and not how often to try; give attempts")
	}
	if s.MaxHandling > 0 && s.Timeout > s.MaxHandling {
		f.invalid(under(key, "timeout"), "%v is beyond max-handling, %v, and would never be reached", time.Duration(s.Timeout), time.Duration(s.MaxHandling))
	}
	if n := s.InFlight.Messages; n > 0 && s.Concurrency > n {
		f.invalid(under(key, "concurrency"), "%d handlers cannot be busy with in-flight.messages of %d", s.Concurrency, n)
	}
	checkSettings(f, key, s.Settings, driver.SubscriptionSettings)
}

func (c *Config) checkDeadLetter(f *faults, key string, s subscription, t topic) {
	at := under(key, "dead-letter")
	to, ok := c.doc.Topics[s.DeadLetter.Topic]
	switch {
	case s.DropPermanent && s.DeadLetter.Topic != "":
		f.invalid(under(key, "drop-permanent"), "contradicts dead-letter; leave one of them out")
	case s.DropPermanent:
	case s.DeadLetter == (deadLetter{}):
		f.invalid(key, "does not say what becomes of messages that fail permanently; give dead-letter, or drop-permanent: true")
	case s.DeadLetter.Topic == "":
		f.invalid(at, "names no topic")
	case !ok:
		f.invalid(under(at, "topic"), "there is no topic %q%s", s.DeadLetter.Topic, nearest(s.DeadLetter.Topic, keys(c.doc.Topics)))
	case to.Kind != "queue":
		f.invalid(under(at, "topic"), "topic %q is not of kind queue, and would lose what nobody reads yet", s.DeadLetter.Topic)
	case c.leadsTo(s.DeadLetter.Topic, s.Topic):
		f.invalid(under(at, "topic"), "dead letters would come back to topic %q for ever; say drop-permanent: true here", s.Topic)
	case s.DeadLetter.By == "broker" && to.Broker != t.Broker:
		f.invalid(under(at, "by"), "topic %q is on another broker; leave by out, and the middleware moves them", s.DeadLetter.Topic)
	case s.DeadLetter.By == "broker" && s.DeadLetter.Timeout > 0:
		f.invalid(under(at, "timeout"), "is the middleware's; leave it out, or by: broker")
	}
}

// leadsTo says whether dead letters get from one topic to another.
func (c *Config) leadsTo(from, to string) bool {
	seen := map[string]bool{}
	for next := []string{from}; len(next) > 0; next = next[1:] {
		if next[0] == to {
			return true
		}
		if seen[next[0]] {
			continue
		}
		seen[next[0]] = true
		for _, s := range c.doc.Subscriptions {
			if s.Topic == next[0] && s.DeadLetter.Topic != "" {
				next = append(next, s.DeadLetter.Topic)
			}
		}
	}
	return false
}

func keys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
