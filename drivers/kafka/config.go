package kafka

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Config is how to reach a cluster and how to behave on it. Brokers alone must be
// given; the zero value of every other field takes the default that is named. Each
// field has a URL parameter of the same meaning (see the package documentation).
type Config struct {
	// Brokers are some of the cluster's, as host:port; the port is 9092 unless given.
	Brokers []string
	// ClientID names this program in the brokers' logs and quotas; default "waybill".
	ClientID string
	// TLS, unless nil, encrypts connections.
	TLS *tls.Config
	// SASL, unless nil, says who we are.
	SASL *SASL
	// Dial opens connections in another way than net.Dialer, through a tunnel for example.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout bounds opening a connection and an administrative request; default 10 s.
	Timeout time.Duration
	// Rack is where this program runs: it reads from replicas of the same rack, where
	// the brokers choose replicas so.
	Rack string

	// Compression of what is published: none, gzip, snappy, lz4 or zstd; default none.
	Compression string
	// MessageBytes is the largest message; default 1 MiB less 4 KiB, which is what
	// brokers take by default.
	MessageBytes int

	// GroupPrefix goes before the name of each group, as access rules often want it.
	GroupPrefix string
	// Start is where a group that is new begins: "latest", the default, with what is
	// published after it was declared; "earliest" with the oldest message there is.
	Start string
	// OutOfRange is what to do when the offset that a group has committed is no
	// longer there: "error", the default; "oldest" goes on with the oldest message
	// there is; "newest" gives up all that is there now.
	OutOfRange string
	// Balance is how a group shares partitions: "cooperative", the default, moves as
	// few as possible and lets the others run; "sticky", "range" and "roundrobin" are
	// for groups that have members of that kind. All members must have the same.
	Balance string
	// Instance makes the members of this connection static: one that comes back within
	// the session timeout finds its partitions unmoved. Each member of a group needs
	// its own, so a connection with it has one subscription a group.
	Instance string
	// ReadCommitted hides messages of transactions that are open or were aborted.
	ReadCommitted bool
	// SessionTimeout is after how long without a heartbeat a member is taken for dead;
	// default 10 s.
	SessionTimeout time.Duration
	// Heartbeat is how often a member says that it lives, and so learns of a
	// rebalance; default a tenth of SessionTimeout.
	Heartbeat time.Duration
	// RebalanceTimeout is how long a group waits for its members in a rebalance;
	// default 30 s.
	RebalanceTimeout time.Duration
	// Grace is how long handlers of a partition that is taken away may go on; default 5 s,
	// and always less than RebalanceTimeout.
	Grace time.Duration
	// MaxWait is how long a broker waits for messages before it answers that there are
	// none; default 100 ms. A partition that comes to this member meanwhile waits as long.
	MaxWait time.Duration
	// FetchBytes is how much is fetched of a partition at a time; default 1 MiB.
	FetchBytes int
	// MetadataBytes is how much metadata the brokers keep with a commit
	// (offset.metadata.max.bytes); default 4096.
	MetadataBytes int

	// DelayFrom, unless zero, has retries with this delay or a longer one wait on the
	// brokers, in topics that each group gets for them, instead of here; at least a second.
	// It is for messages whose order does not matter: those with a key on an ordered topic
	// wait here, as do broadcasts and all that waits for less.
	DelayFrom time.Duration

	// Partitions and Replicas are of topics that are created, unless TopicSettings say
	// otherwise; default the brokers' own.
	Partitions, Replicas int

	// Logger is told what is odd and not an error; default slog.Default.
	Logger *slog.Logger
}

// TopicSettings are a topic's own: pass them as pubsub.Settings. A topic that is
// created gets them; one that exists and differs is refused with CodeConflict.
type TopicSettings struct {
	// Partitions and Replicas, unless zero.
	Partitions, Replicas int
	// Config is the topic's configuration, such as "retention.ms".
	Config map[string]string
}

var (
	compressions = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
	balances = map[string]func() sarama.BalanceStrategy{
		"cooperative": sarama.NewBalanceStrategyCooperativeSticky, "sticky": sarama.NewBalanceStrategySticky,
		"range": sarama.NewBalanceStrategyRange, "roundrobin": sarama.NewBalanceStrategyRoundRobin,
	}
	starts = []string{"latest", "earliest"}
	resets = []string{"error", "oldest", "newest"}
)

// withDefaults fills in defaults and refuses what makes no sense.
func (c Config) withDefaults() (Config, error) {
	c.Brokers = slices.Clone(c.Brokers)
	for i, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			c.Brokers[i] = net.JoinHostPort(strings.Trim(b, "[]"), "9092")
		}
	}
	orText := func(v *string, or string) {
		if *v == "" {
			*v = or
		}
	}
	orTime := func(v *time.Duration, or time.Duration) {
		if *v == 0 {
			*v = or
		}
	}
	orInt := func(v *int, or int) {
		if *v == 0 {
			*v = or
		}
	}
	orText(&c.ClientID, "waybill")
	orText(&c.Compression, "none")
	orText(&c.Start, starts[0])
	orText(&c.OutOfRange, resets[0])
	orText(&c.Balance, "cooperative")
	orTime(&c.Timeout, 10*time.Second)
	orTime(&c.SessionTimeout, 10*time.Second)
	orTime(&c.Heartbeat, c.SessionTimeout/10)
	orTime(&c.RebalanceTimeout, 30*time.Second)
	orTime(&c.Grace, min(5*time.Second, c.RebalanceTimeout/2))
	orTime(&c.MaxWait, 100*time.Millisecond)
	orInt(&c.MessageBytes, 1<<20-4<<10)
	orInt(&c.FetchBytes, 1<<20)
	orInt(&c.MetadataBytes, 4096)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, c.check()
}

func (c *Config) check() error {
	invalid := func(format string, args ...any) error {
		return driver.Errorf(driver.CodeInvalid, "kafka: "+format, args...)
	}
	for name, d := range map[string]time.Duration{
		"Timeout": c.Timeout, "SessionTimeout": c.SessionTimeout, "Heartbeat": c.Heartbeat,
		"RebalanceTimeout": c.RebalanceTimeout, "Grace": c.Grace, "MaxWait": c.MaxWait,
	} {
		if d < time.Millisecond {
			return invalid("%s is %v; want a millisecond or more", name, d)
		}
	}
	switch {
	case len(c.Brokers) == 0:
		return invalid("no broker is named: want kafka://host:9092, or several with commas")
	case slices.ContainsFunc(c.Brokers, func(b string) bool { return strings.HasPrefix(b, ":") }):
		return invalid("a broker has no host: want host:port")
	case compressions[c.Compression] == 0 && c.Compression != "none":
		return invalid("compression %q is unknown; want none, gzip, snappy, lz4 or zstd", c.Compression)
	case balances[c.Balance] == nil:
		return invalid("balance %q is unknown; want cooperative, sticky, range or roundrobin", c.Balance)
	case !slices.Contains(starts, c.Start):
		return invalid("start %q is unknown; want latest or earliest", c.Start)
	case !slices.Contains(resets, c.OutOfRange):
		return invalid("out-of-range %q is unknown; want error, oldest or newest", c.OutOfRange)
	case c.MessageBytes < 0 || c.FetchBytes < 0 || c.Partitions < 0 || c.Replicas < 0:
		return invalid("sizes and counts must not be negative")
	case c.Partitions > 1<<20 || c.Replicas > 1<<10 || c.FetchBytes > 1<<30 || c.MessageBytes > 1<<30:
		return invalid("a size or count is beyond all measure: %d partitions, %d replicas, messages of %d, fetches of %d bytes",
			c.Partitions, c.Replicas, c.MessageBytes, c.FetchBytes)
	case c.MetadataBytes < 256:
		return invalid("metadata of %d bytes is too little to note finished messages in; want 256 or more", c.MetadataBytes)
	case c.Grace >= c.RebalanceTimeout:
		return invalid("grace %v must be less than the rebalance timeout %v, or the group goes on without this member", c.Grace, c.RebalanceTimeout)
	case c.DelayFrom != 0 && c.DelayFrom < delayLeast:
		return invalid("delay-from %v is less than %v, which is what delays on the brokers are exact to; leave it out to wait for all retries here", c.DelayFrom, delayLeast)
	case c.Heartbeat >= c.SessionTimeout:
		return invalid("heartbeat %v must be less than the session timeout %v; a third or less is usual", c.Heartbeat, c.SessionTimeout)
	}
	return c.SASL.check()
}

// isolation is how messages and offsets are read.
func (c *Config) isolation() sarama.IsolationLevel {
	if c.ReadCommitted {
		return sarama.ReadCommitted
	}
	return sarama.ReadUncommitted
}

// sarama makes the settings of the client library.
func (c *Config) sarama() *sarama.Config {
	s := sarama.NewConfig()
	s.Version = sarama.V3_0_0_0
	s.ClientID = c.ClientID
	s.RackID = c.Rack
	s.MetricRegistry = silence{}
	s.Net.DialTimeout = c.Timeout
	s.Net.ReadTimeout = c.RebalanceTimeout + c.Timeout // a join waits for the other members
	s.Net.WriteTimeout = c.Timeout
	s.Net.TLS.Enable, s.Net.TLS.Config = c.TLS != nil, c.TLS
	if c.Dial != nil {
		s.Net.Proxy.Enable, s.Net.Proxy.Dialer = true, dialer{c}
	}
	c.SASL.apply(s)
	s.Admin.Timeout = c.Timeout
	s.Admin.Retry.Max = 1
	s.Metadata.AllowAutoTopicCreation = false
	s.Metadata.Retry.Max = 1
	s.Metadata.Retry.Backoff = 100 * time.Millisecond
	s.Metadata.RefreshFrequency = time.Minute
	return s
}

// forGroup are the settings of a member's own client.
func (c *Config) forGroup() *sarama.Config {
	s := c.sarama()
	s.Metadata.Full = false
	// Heartbeats look for a coordinator that moves as often as this.
	s.Metadata.Retry.Max = 20
	s.Metadata.Retry.Backoff = 250 * time.Millisecond
	s.Consumer.Return.Errors = true
	s.Consumer.Retry.Backoff = 250 * time.Millisecond
	s.Consumer.Offsets.AutoCommit.Enable = false
	// A group's offsets were pinned when it was declared. What has none is a partition
	// that was added later.
	s.Consumer.Offsets.Initial = sarama.OffsetOldest
	s.Consumer.Group.ResetInvalidOffsets = false
	s.Consumer.Group.InstanceId = c.Instance
	s.Consumer.Group.Session.Timeout = c.SessionTimeout
	s.Consumer.Group.Heartbeat.Interval = c.Heartbeat
	s.Consumer.Group.Rebalance.Timeout = c.RebalanceTimeout
	s.Consumer.Group.Rebalance.Retry.Backoff = 250 * time.Millisecond
	s.Consumer.Group.Rebalance.Retry.Max = 20
	s.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{balances[c.Balance]()}
	return s
}

// dialer lets Config.Dial stand in for sarama's own.
type dialer struct{ *Config }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.Timeout)
	defer cancel()
	return d.Config.Dial(ctx, network, address)
}
