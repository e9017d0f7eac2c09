package rabbitmq

import (
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// The settings of a topic, for pubsub.Settings. Publishers and subscribers give the same.

// Exchange is an exchange of the user's own that a topic of kind event uses. It must
// exist unless Kind says how to make it.
type Exchange struct {
	// Name is the exchange's.
	Name string
	// Kind makes it, durable: direct, fanout, topic or headers. Empty: it is there.
	Kind string
	// RoutingKey is what messages are published with.
	RoutingKey string
	// BindingKeys are what groups are bound with; default: RoutingKey alone.
	BindingKeys []string
}

// ExistingQueue is the name of a queue of the user's own: what subscribers read from, and
// where publishers of a topic of kind queue send to. It is used as it is.
type ExistingQueue string

// Partitions is how many queues each group of an ordered topic has.
type Partitions int

// layout is where a topic is on the broker.
type layout struct {
	exchange   string
	kind       string // "": it is the user's
	key        string
	bindings   []string
	existing   string // queue of the user's; "" if it is ours
	partitions int    // 0: not ordered
	queues     QueueType
	mandatory  bool
}

const maxName = 255 // bytes of an exchange's or a queue's name, and of a routing key

func checkName(what, name string) error {
	switch {
	case strings.Contains(name, "/"):
		return invalid("rabbitmq: %s %q: '/' is taken for parts of names; choose another, or use an ExistingQueue or Exchange", what, name)
	case strings.HasPrefix(name, "amq."):
		return invalid("rabbitmq: %s %q: names that begin with \"amq.\" are the broker's own", what, name)
	case len(name) > maxName-40: // room for what is put behind it
		return invalid("rabbitmq: %s %.40q... has %d bytes; the broker takes %d, with what the driver puts behind it", what, name, len(name), maxName)
	}
	return nil
}

// layout works out where a topic is.
func (c *conn) layout(r *driver.TopicRequest) (*layout, error) {
	if err := checkName("topic", r.Topic); err != nil {
		return nil, err
	}
	l := &layout{queues: c.config.Queues, mandatory: r.Kind == driver.Queue}
	switch {
	case r.Ordered:
		l.exchange, l.kind, l.bindings, l.partitions = r.Topic, "direct", slotKeys, c.config.Partitions
	case r.Kind == driver.Event:
		l.exchange, l.kind, l.bindings = r.Topic, "fanout", []string{""}
	default:
		l.key = r.Topic
	}
	for _, s := range r.Settings {
		if err := l.apply(r, s); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *layout) apply(r *driver.TopicRequest, setting any) error {
	switch s := setting.(type) {
	case Exchange:
		if r.Ordered || r.Kind == driver.Queue || s.Name == "" || len(s.Name) > maxName || len(s.RoutingKey) > maxName {
			return invalid("rabbitmq: setting Exchange needs a name, and a topic of kind event that is not ordered; names and keys have at most %d bytes", maxName)
		}
		l.exchange, l.kind, l.key, l.bindings = s.Name, s.Kind, s.RoutingKey, s.BindingKeys
		if len(l.bindings) == 0 {
			l.bindings = []string{s.RoutingKey}
		}
	case ExistingQueue:
		if r.Ordered || s == "" || len(s) > maxName {
			return invalid("rabbitmq: setting ExistingQueue needs a name of at most %d bytes, and a topic that is not ordered", maxName)
		}
		l.existing = string(s)
		if r.Kind == driver.Queue {
			l.key = l.existing
		}
	case Partitions:
		if !r.Ordered || s < 1 || s > slots {
			return invalid("rabbitmq: setting Partitions needs an ordered topic, and a number from 1 to %d", slots)
		}
		l.partitions = int(s)
	case QueueType:
		if s != Quorum && s != Classic {
			return invalid("rabbitmq: queue type %q: want quorum or classic", s)
		}
		l.queues = s
	default:
		return invalid("rabbitmq: a setting of type %T is not of this driver; it knows Exchange, ExistingQueue, Partitions and QueueType", setting)
	}
	return nil
}
