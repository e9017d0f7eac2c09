package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// CheckTopics fails with CodeInvalid where a name is none of the file's topics, and names
// the nearest.
func (c *Config) CheckTopics(names ...string) error {
	return each(names, func(name string) error {
		if _, ok := c.doc.Topics[name]; ok {
			return nil
		}
		return c.unknown("topic", name, c.Topics())
	})
}

// CheckSubscriptions does so for subscriptions.
func (c *Config) CheckSubscriptions(names ...string) error {
	return each(names, func(name string) error {
		if _, ok := c.doc.Subscriptions[name]; ok {
			return nil
		}
		return c.unknown("subscription", name, c.Subscriptions())
	})
}

// CheckDeadLetters does so for topics that dead letters are read from: those of kind queue.
func (c *Config) CheckDeadLetters(names ...string) error {
	return each(names, func(name string) error {
		t, ok := c.doc.Topics[name]
		switch {
		case !ok:
			return c.unknown("dead-letter topic", name, c.DeadLetters())
		case t.Kind != "queue":
			return invalid("topic %q is no dead-letter topic: it is not of kind queue; the file's dead-letter topics: %s", name, orNone(c.DeadLetters()))
		default:
			return nil
		}
	})
}

// CheckOrigin fails with CodeInvalid where no subscription of the file is of a topic, by its
// name on the broker, or of a group, and names the nearest. Dead letters of other files' may
// be in the same topic all the same. An empty name is not looked at.
func (c *Config) CheckOrigin(source, group string) error {
	sources, groups := map[string]bool{}, map[string]bool{}
	for _, s := range c.doc.Subscriptions {
		sources[c.doc.Topics[s.Topic].Name] = true
		if s.Group != "" {
			groups[s.Group] = true
		}
	}
	var errs []error
	for _, o := range []struct {
		what, name string
		known      map[string]bool
	}{{"topic", source, sources}, {"group", group, groups}} {
		if o.name != "" && !o.known[o.name] {
			errs = append(errs, invalid("no subscription of %s is of %s %q%s", c.file, o.what, o.name, nearest(o.name, keys(o.known))))
		}
	}
	return errors.Join(errs...)
}

// each joins what a check finds of names.
func each(names []string, check func(string) error) error {
	errs := make([]error, len(names))
	for i, name := range names {
		errs[i] = check(name)
	}
	return errors.Join(errs...)
}

// unknown says that a name is not in the file, and which is meant: the nearest of its kind,
// else what the file calls so, else any of its kind.
func (c *Config) unknown(what, name string, known []string) error {
	text := fmt.Sprintf("%s has no %s %q", c.file, what, name)
	_, isTopic := c.doc.Topics[name]
	s, isSubscription := c.doc.Subscriptions[name]
	switch near := nearest(name, known); {
	case isTopic && what == "subscription":
		text += fmt.Sprintf(", it is a topic; its subscriptions: %s", orNone(c.readers(name)))
	case isSubscription && what == "topic":
		text += fmt.Sprintf(", it is a subscription; its topic: %s", s.Topic)
	case isSubscription && what == "dead-letter topic":
		text += fmt.Sprintf(", it is a subscription; its dead letters go to: %s", cmp.Or(s.DeadLetter.Topic, "nowhere, it drops them"))
	case near != "":
		text += near
	default:
		text += "; it has: " + orNone(known)
	}
	return driver.Errorf(driver.CodeInvalid, "%s", text)
}

// readers lists the subscriptions of a topic.
func (c *Config) readers(topic string) []string {
	return slices.DeleteFunc(c.Subscriptions(), func(name string) bool { return c.doc.Subscriptions[name].Topic != topic })
}

func orNone(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }
