package rabbitmq

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Config is how to reach a broker and how to use it. Its zero value is useful.
type Config struct {
	// Addresses are the cluster's nodes, host:port; default localhost:5672. One is
	// tried a time; after a failure the next.
	Addresses []string
	// Username and Password; default guest and guest.
	Username, Password string
	// VHost is the virtual host; default "/".
	VHost string
	// TLS encrypts the connections; nil does not.
	TLS *tls.Config
	// External authenticates by the TLS certificate instead of a password.
	External bool
	// Name is how the broker lists the connections; default "waybill".
	Name string
	// Heartbeat is how often both sides show life, in whole seconds; default 10 s.
	Heartbeat time.Duration
	// Timeout bounds dialing and logging in; default 10 s.
	Timeout time.Duration

	// Queues is the type of queues that are made; default Quorum.
	Queues QueueType
	// Partitions is how many queues a group of an ordered topic has, from 1 to 64;
	// default 8. It cannot change while the group exists.
	Partitions int
	// Unconfirmed is how many messages of a publisher are on their way at most;
	// default 2000.
	Unconfirmed int
	// SendsPerKey is how many messages of one key may be without their fates at a
	// time on an ordered topic; default: no limit. Make it 1 where a policy limits
	// the length of its queues: a full queue may refuse one message and take the next.
	SendsPerKey int
	// MessageBytes is the server's max_message_size; default 16 MiB from RabbitMQ
	// 4.0 on, 128 MiB before.
	MessageBytes int
	// ConsumerTimeout is the server's consumer_timeout; default 30 min.
	ConsumerTimeout time.Duration
	// BroadcastExpiry is how long a broadcast's queue outlives its connection; default 5 min.
	BroadcastExpiry time.Duration
	// DelayExpiry is how long a delay's queue outlives its last use; default 24 h.
	DelayExpiry time.Duration
}

// QueueType is what kind of queue is made. It is a setting of a topic too.
type QueueType string

// The types of queues.
const (
	// Quorum queues are replicated, and count deliveries.
	Quorum QueueType = "quorum"
	// Classic queues are on one node. They are faster; attempts are counted only as first
	// and later ones, and dead-lettering is at most once.
	Classic QueueType = "classic"
)

const slots = 64 // routing keys of an ordered topic; fixed, since publishers and groups share it

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) fill() error {
	if len(c.Addresses) == 0 {
		c.Addresses = []string{"localhost:5672"}
	}
	orDefault(&c.Username, "guest")
	orDefault(&c.Password, "guest")
	orDefault(&c.VHost, "/")
	orDefault(&c.Name, "waybill")
	orDefault(&c.Heartbeat, 10*time.Second)
	orDefault(&c.Timeout, 10*time.Second)
	orDefault(&c.Queues, Quorum)
	orDefault(&c.Partitions, 8)
	orDefault(&c.Unconfirmed, 2000)
	orDefault(&c.ConsumerTimeout, 30*time.Minute)
	orDefault(&c.BroadcastExpiry, 5*time.Minute)
	orDefault(&c.DelayExpiry, 24*time.Hour)
	for _, a := range c.Addresses {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return invalid("rabbitmq: address %q: want host:port", a)
		}
	}
	switch {
	case c.Queues != Quorum && c.Queues != Classic:
		return invalid("rabbitmq: queue type %q: want quorum or classic", c.Queues)
	case c.Partitions < 1 || c.Partitions > slots:
		return invalid("rabbitmq: %d partitions: want 1 to %d", c.Partitions, slots)
	case c.Unconfirmed < 1 || c.SendsPerKey < 0 || c.MessageBytes < 0:
		return invalid("rabbitmq: Unconfirmed must be positive, SendsPerKey and MessageBytes not negative")
	case c.Heartbeat < time.Second || c.Heartbeat > 65535*time.Second || c.Heartbeat%time.Second != 0:
		return invalid("rabbitmq: heartbeat %v: want whole seconds, at least one", c.Heartbeat)
	case c.Timeout < 0 || c.ConsumerTimeout < 0 || c.BroadcastExpiry < time.Second || c.DelayExpiry < time.Second || c.DelayExpiry > longestExpiry || c.BroadcastExpiry > longestExpiry:
		return invalid("rabbitmq: timeouts must be positive, expiries at least a second and at most %v", longestExpiry)
	case c.External && c.TLS == nil:
		return invalid("rabbitmq: external authentication needs TLS: use rabbitmqs, or set Config.TLS")
	case len(c.VHost) > 255 || len(c.Name) > 200:
		return invalid("rabbitmq: vhost or connection name is too long")
	}
	return nil
}

// Driver makes connections to one RabbitMQ server or cluster. It is a driver.Driver.
type Driver struct {
	config Config
	next   atomic.Uint32 // the address to try
	opened func(*conn)   // for tests; nil otherwise
}

// New makes a Driver. It does not connect. It fails with CodeInvalid on a Config that
// makes no sense.
func New(c Config) (*Driver, error) {
	c.Addresses = append([]string(nil), c.Addresses...)
	if err := c.fill(); err != nil {
		return nil, err
	}
	return &Driver{config: c}, nil
}

// version is a server's, such as 4.3.6.
type version struct {
	text         string
	major, minor int
}

func parseVersion(text string) version {
	v := version{text: text}
	_, _ = fmt.Sscanf(text, "%d.%d", &v.major, &v.minor) // an odd one counts as 0.0, the oldest
	return v
}

func (c *Config) capabilities(v version) driver.Capabilities {
	largest := c.MessageBytes
	if largest == 0 {
		if largest = 128 << 20; v.major >= 4 {
			largest = 16 << 20
		}
	}
	return driver.Capabilities{
		Broker: strings.TrimSpace("RabbitMQ " + v.text),
		Groups: true, Queues: true, Broadcast: true, Ordered: true, DeadLetter: true,
		ShowsMismatch: true, Competing: true,
		Attempts:     driver.AtLeast,
		PublishDelay: longestDelay, RetryDelay: longestDelay, RetryLeast: time.Second,
		Hold:         c.ConsumerTimeout - c.ConsumerTimeout/30,
		MessageBytes: largest,
		SendBatch:    driver.Batch{Messages: 256}, SendWindow: c.Unconfirmed,
		SettleBatch: driver.Batch{Linger: 5 * time.Millisecond},
		SendsPerKey: c.SendsPerKey, ResendUnknown: true,
		Backlog: true,
	}
}
