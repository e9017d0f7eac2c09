package pubsub

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// BrowsePolicy is how much Browse looks at. Its zero value is useful.
type BrowsePolicy struct {
	// Messages and Bytes are how much it holds at most, and so sees; default 1,000
	// messages and 64 MiB.
	Messages, Bytes int
	// Quiet is how long nothing more must come until what came counts as all; default
	// 5 s. The first message may take three times as long, for some brokers take a while to
	// let a reader in.
	Quiet time.Duration
}

// The defaults of BrowsePolicy.
const (
	browsedMessages = 1_000
	browsedBytes    = 64 << 20
	browseQuiet     = 5 * time.Second
	quietAtFirst    = 3 // times Quiet
)

func (p BrowsePolicy) withDefaults() (BrowsePolicy, error) {
	if p.Messages < 0 || p.Bytes < 0 || p.Quiet < 0 {
		return p, invalid("browse policy %+v must not be negative", p)
	}
	if p.Messages == 0 {
		p.Messages = browsedMessages
	}
	if p.Bytes == 0 {
		p.Bytes = browsedBytes
	}
	if p.Quiet == 0 {
		p.Quiet = browseQuiet
	}
	return p, nil
}

// Browse shows what waits for a group of a topic, or in a queue, whose group is empty,
// and settles nothing: it reads as one more member, calls look for each delivery until
// that returns false, and gives all of it back in order. What other members have
// is not seen, and while it looks, they do not get what it has. Where a broker counts
// what was returned as an attempt, it does so here. It declares nothing: what is missing is
// CodeNotFound.
//
// A broker that holds back what follows an unsettled message of its key shows the first
// of a key alone, or the first few.
func (c *Client) Browse(ctx context.Context, topic, group string, policy BrowsePolicy, look func(*Delivery) bool, options ...TopicOption) error {
	config, err := groupConfig(topic, group, options)
	if err == nil {
		err = c.browse(ctx, &config, policy, look)
	}
	return fail("browse", config.target(), err)
}

// groupConfig is of a group, or of a queue.
func groupConfig(topic, group string, options []TopicOption) (subscriberConfig, error) {
	config := subscriberConfig{group: group}
	config.Topic = topic
	for _, o := range options {
		if o == nil {
			return config, invalid("topic option is nil")
		}
		if err := o.applySubscriber(&config); err != nil {
			return config, err
		}
	}
	if topic == "" || (group == "") != (config.Kind == driver.Queue) {
		return config, invalid("a topic must be named, and a group unless it is a queue")
	}
	return config, nil
}

func (c *Client) browse(ctx context.Context, config *subscriberConfig, policy BrowsePolicy, look func(*Delivery) bool) (err error) {
	policy, err = policy.withDefaults()
	if err != nil {
		return err
	}
	if look == nil {
		return invalid("nobody looks: look is nil")
	}
	conn, err := c.connection.get(ctx)
	if err != nil {
		return err
	}
	r := config.request()
	if r.Topology == driver.Create {
		r.Topology = driver.Verify
	}
	if err := conn.Declare(ctx, r); err != nil {
		return err
	}
	s, err := conn.Subscribe(ctx, r)
	if err != nil {
		return err
	}
	b := &browser{client: c, session: s, caps: conn.Capabilities(), policy: policy, topic: config.Topic, group: config.group}
	defer func() { err = errors.Join(err, b.giveBack(context.WithoutCancel(ctx))) }() // also when look panics
	return b.look(ctx, look)
}

// browser is one Browse. It holds what it saw, with its leases, until it gives it back.
type browser struct {
	client       *Client
	session      driver.Session
	caps         driver.Capabilities
	policy       BrowsePolicy
	topic, group string

	held  []driver.Receipt
	bytes int
}

// look reads until there is nothing more, or enough was seen.
func (b *browser) look(ctx context.Context, look func(*Delivery) bool) error {
	b.session.Credit(b.policy.Messages, b.policy.Bytes)
	quiet := quietAtFirst * b.policy.Quiet
	interruptions, troubled := 0, time.Time{} // since the first of those in a row
	extended := time.Now()
	for len(b.held) < b.policy.Messages && b.bytes < b.policy.Bytes {
		var in driver.Intake
		waiting, stop := context.WithTimeout(ctx, b.untilExtension(quiet, extended))
		began := time.Now()
		err := b.session.Receive(waiting, &in)
		stop()
		b.drop(in.Revocations)
		for i := range in.Deliveries {
			from := &in.Deliveries[i]
			b.held = append(b.held, from.Receipt)
			b.bytes += from.Size()
		}
		for i := range in.Deliveries {
			if !look(b.delivery(&in.Deliveries[i])) {
				return nil
			}
		}
		if b.caps.Lease > 0 && time.Since(extended) >= b.caps.Lease/3 {
			b.extend(ctx)
			extended = time.Now()
		}
		var interrupted *driver.Interrupted
		switch {
		case len(in.Deliveries) > 0:
			quiet, interruptions = b.policy.Quiet, 0
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &interrupted):
			if interruptions++; interruptions == 1 {
				troubled = began
			}
			if !CodeOf(err).Heals() || time.Since(troubled) > quietAtFirst*b.policy.Quiet {
				return interrupted.Err
			}
			if err := wait(ctx, b.client.config.backoff.Delay(interruptions), nil); err != nil {
				return err
			}
		case err != nil && waiting.Err() == nil:
			return err
		default:
			interruptions = 0
			if quiet -= time.Since(began); quiet <= 0 {
				return nil
			}
		}
	}
	return nil
}

// untilExtension is how long a Receive may wait: as long as the quiet lasts, but leases
// must be extended in between.
func (b *browser) untilExtension(quiet time.Duration, extended time.Time) time.Duration {
	if b.caps.Lease == 0 || len(b.held) == 0 {
		return quiet
	}
	return min(quiet, max(b.caps.Lease/3-time.Since(extended), 0))
}

// extend extends the leases of what is held. What is lost is with somebody else.
func (b *browser) extend(ctx context.Context) {
	batch := make([]*driver.Receipt, 0, len(b.held))
	for i := range b.held {
		if !b.held[i].Deadline.IsZero() {
			batch = append(batch, &b.held[i])
		}
	}
	b.session.Extend(ctx, batch, b.caps.Lease)
}

// drop forgets what the broker took back.
func (b *browser) drop(list []driver.Revocation) {
	for _, v := range list {
		b.held = slices.DeleteFunc(b.held, func(r driver.Receipt) bool {
			return r.Claim == v.Claim && (v.Tags == nil || slices.Contains(v.Tags, r.Tag))
		})
		if v.Release != nil {
			v.Release()
		}
	}
}

func (b *browser) delivery(from *driver.Delivery) *Delivery {
	return &Delivery{
		Message: Message(from.Message), Topic: b.topic, Group: b.group,
		Attempt: max(from.Attempt, 1), PublishTime: from.PublishTime, raw: from.Raw,
	}
}

// giveBack returns everything, oldest first, and closes the session.
func (b *browser) giveBack(ctx context.Context) error {
	b.returnHeld(ctx)
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	return b.session.Close(ctx)
}

// returnHeld returns what it can.
func (b *browser) returnHeld(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastGrace+flushTimeout)
	defer cancel()
	if b.session.Quiesce(ctx) == nil {
		b.rest(ctx)
		size := max(b.caps.SettleBatch.Messages, 1)
		if b.caps.SettleBatch.Messages == 0 {
			size = max(len(b.held), 1)
		}
		for part := range slices.Chunk(b.held, size) {
			settlements := make([]driver.Settlement, len(part))
			for i := range part {
				settlements[i] = driver.Settlement{Receipt: &part[i], Verb: driver.Return}
			}
			b.session.Settle(ctx, settlements) // Close returns what this could not
		}
	}
}

// rest takes what was on its way when intake ended.
func (b *browser) rest(ctx context.Context) {
	for {
		var in driver.Intake
		err := b.session.Receive(ctx, &in)
		b.drop(in.Revocations)
		for i := range in.Deliveries {
			b.held = append(b.held, in.Deliveries[i].Receipt)
		}
		if err != nil {
			return
		}
	}
}
