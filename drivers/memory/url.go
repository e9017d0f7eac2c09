package memory

import (
	"context"
	"maps"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func init() { driver.Register("memory", open) }

// named is a broker by name: which one is found when it is opened, since the
// name means another one in every synctest bubble.
type named struct {
	name   string
	query  string // in a fixed order
	config Config
}

// presets are the values of like=.
var presets = map[string]func(*driver.Capabilities){
	"kafka": LikeKafka, "rabbitmq": LikeRabbitMQ, "gcppubsub": LikeGCPPubSub, "sqs": LikeSQS, "sqs-fifo": LikeSQSFIFO,
}

// features are the values of without=.
var features = map[string]func(*driver.Capabilities){
	"groups":        func(c *driver.Capabilities) { c.Groups = false },
	"queues":        func(c *driver.Capabilities) { c.Queues = false },
	"broadcast":     func(c *driver.Capabilities) { c.Broadcast = false },
	"ordered":       func(c *driver.Capabilities) { c.Ordered = false },
	"dead-letter":   func(c *driver.Capabilities) { c.DeadLetter = false },
	"attempts":      func(c *driver.Capabilities) { c.Attempts = driver.None },
	"publish-delay": func(c *driver.Capabilities) { c.PublishDelay = 0 },
	"retry-delay":   func(c *driver.Capabilities) { c.RetryDelay = 0 },
	"retry-tail":    func(c *driver.Capabilities) { c.OrderedRetry = driver.HoldsNone },
	"confirm":       func(c *driver.Capabilities) { c.SettleConfirmed = false },
	"backlog":       func(c *driver.Capabilities) { c.Backlog = false },
}

func open(u *url.URL) (driver.Driver, error) {
	if u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.Port() != "" || u.Fragment != "" {
		return nil, driver.Errorf(driver.CodeInvalid, "memory URL: want memory://name, with parameters after a ?, and nothing else")
	}
	lease := 30 * time.Second
	var c Config
	var like, without string
	p := driver.ParseParams(u)
	p.Duration("lease", &lease)
	p.Int("backlog-messages", &c.BacklogMessages)
	p.Int("backlog-bytes", &c.BacklogBytes)
	p.Choice("like", &like, "kafka", "rabbitmq", "gcppubsub", "sqs", "sqs-fifo")
	p.String("without", &without)
	if err := p.End(); err != nil {
		return nil, err
	}
	if c.Lease = lease; lease == 0 {
		c.Lease = -1
	}
	var turns []func(*driver.Capabilities)
	if like != "" {
		turns = append(turns, presets[like])
	}
	for name := range strings.SplitSeq(without, ",") {
		turn := features[name]
		if turn == nil && without != "" {
			known := slices.Sorted(maps.Keys(features))
			return nil, driver.Errorf(driver.CodeInvalid, `memory URL: parameter "without" has %q; want some of %s`, name, strings.Join(known, ", "))
		}
		if turn != nil {
			turns = append(turns, turn)
		}
	}
	if len(turns) > 0 {
		c.Turn = func(caps *driver.Capabilities) {
			for _, turn := range turns {
				turn(caps)
			}
		}
	}
	return &named{name: u.Host, query: u.Query().Encode(), config: c}, nil
}

// registry holds the named brokers that are open.
var registry = struct {
	sync.Mutex
	brokers map[string]*registered
}{brokers: map[string]*registered{}}

type registered struct {
	*Broker
	query string
	conns int
}

// Open opens a connection to the broker of that name, which begins to exist if it
// does not.
func (n *named) Open(ctx context.Context) (driver.Conn, error) {
	key := registryKey(n.name)
	registry.Lock()
	defer registry.Unlock()
	r := registry.brokers[key]
	if r == nil {
		b, err := New(n.config)
		if err != nil {
			return nil, err
		}
		r = &registered{Broker: b, query: n.query}
	}
	if r.query != n.query {
		return nil, driver.Errorf(driver.CodeConflict,
			"memory://%s is open already, with the parameters %q; open it with the same, or choose another name", n.name, r.query)
	}
	opened, err := r.Open(ctx)
	if err != nil {
		return nil, err
	}
	registry.brokers[key] = r
	r.conns++
	opened.(*conn).closed = func() {
		registry.Lock()
		defer registry.Unlock()
		if r.conns--; r.conns == 0 {
			delete(registry.brokers, key)
		}
	}
	return opened, nil
}

// Named returns the broker that memory://name stands for while it is open, for
// Disconnect and Refuse.
func Named(name string) (*Broker, bool) {
	registry.Lock()
	defer registry.Unlock()
	r := registry.brokers[registryKey(name)]
	if r == nil {
		return nil, false
	}
	return r.Broker, true
}

// registryKey is a name within the synctest bubble of the caller, if it is in one.
func registryKey(name string) string {
	// The first line reads "goroutine 9 [running, synctest bubble 1]:" in a bubble.
	buf := make([]byte, 128)
	line, _, _ := strings.Cut(string(buf[:runtime.Stack(buf, false)]), "\n")
	if _, bubble, found := strings.Cut(line, "synctest bubble "); found {
		return name + " " + strings.TrimSuffix(bubble, "]:")
	}
	return name
}
