package gocloud

import (
	"context"
	"time"

	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A Broker opens the topics and subscriptions of one broker through gocloud.dev, and
// owns them. Its methods may be called concurrently. URLs makes one of URLs; write your
// own where URLs do not reach, or to declare what is missing.
type Broker interface {
	// Capabilities tells what gocloud.dev does not: Broker, Groups, Queues and Broadcast,
	// Competing, Hold, and the limits of messages. The other fields are the bridge's and
	// are overwritten.
	Capabilities() driver.Capabilities
	// Topic opens a topic, which it declares or verifies as r.Topology says; what it
	// cannot do so is an error. It may give the same one again.
	Topic(ctx context.Context, r driver.TopicRequest) (*cloud.Topic, error)
	// Subscription does the same for a subscription. The members of a group on one
	// connection share what it returns. For a broadcast it returns a new one each time.
	Subscription(ctx context.Context, r driver.SubscribeRequest) (*cloud.Subscription, error)
	// Done is closed when the connection is lost, and nothing that was opened works any
	// more. It is nil where connections come back by themselves.
	Done() <-chan struct{}
	// Close shuts down whatever was opened, which sends what waits to be acknowledged.
	Close(ctx context.Context) error
}

// Config is what a Driver needs to know.
type Config struct {
	// Connect connects to the broker, and is called again when the connection was lost.
	Connect func(ctx context.Context) (Broker, error)
	// KeyMetadata is the name of the metadata that carries a message's key, such as the
	// KeyName of gocloud's own drivers; default "waybill-key".
	KeyMetadata string
	// AtMostOnce takes subscriptions that cannot give a message back (gocloud's Nackable is
	// false), as on NATS: what is not handled when the process ends is lost, and what fails
	// is tried again in the process alone. Without it their first message is an error.
	AtMostOnce bool
}

// Driver carries Waybill over gocloud.dev/pubsub.
type Driver struct {
	config Config
	counts driver.Tally
}

// New makes a Driver. It does not connect.
func New(c Config) (*Driver, error) {
	if c.Connect == nil {
		return nil, driver.Errorf(driver.CodeInvalid, "gocloud: Config.Connect is nil: give URLs.Connect, or a function of yours")
	}
	if c.KeyMetadata == "" {
		c.KeyMetadata = metadataKey
	}
	return &Driver{config: c}, nil
}

// Open connects, as Config.Connect does.
func (d *Driver) Open(ctx context.Context) (driver.Conn, error) {
	b, err := d.config.Connect(ctx)
	if err != nil {
		return nil, fail("connect", err)
	}
	c := &conn{
		Life: driver.NewLife(nil), config: &d.config, counts: &d.counts, broker: b,
		topics: map[place]*cloud.Topic{}, readers: map[place]*reader{}, opening: make(chan struct{}, 1),
	}
	if lost := b.Done(); lost != nil {
		c.watching.Go(func() {
			select {
			case <-lost:
				c.End(driver.Errorf(driver.CodeUnavailable, "gocloud: the connection was lost"))
			case <-c.Done():
			}
		})
	}
	return c, nil
}

// capabilities are the broker's, with what the bridge does in place.
func (c *conn) Capabilities() driver.Capabilities {
	has := c.broker.Capabilities()
	return driver.Capabilities{
		Broker: has.Broker, Groups: has.Groups, Queues: has.Queues, Broadcast: has.Broadcast, Competing: has.Competing,
		Attempts: driver.AtMost, Hold: has.Hold,
		MessageBytes: has.MessageBytes, Headers: has.Headers, HeaderBytes: has.HeaderBytes, KeyBytes: has.KeyBytes,
		TextHeaders:   true, // gocloud.dev refuses others
		SendBatch:     driver.Batch{Messages: sendBatch, Linger: time.Millisecond},
		ResendUnknown: true,
	}
}
