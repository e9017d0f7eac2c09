package snssqs

import (
	"context"
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// queue is an SQS queue by its names. It may not exist.
type queue struct{ name, url, arn string }

// plan is what a request comes to on Amazon.
type plan struct {
	Settings
	fifo        bool
	topic       string // ARN; empty for a queue topic
	queue       queue  // none for a broadcast and for a publisher of events
	dead        queue
	undelivered queue // what SNS cannot deliver; none unless asked for
	topology    driver.Topology
	attempts    int // after which a message is dead; zero: no such limit
	limit       int // bytes of a message, and of a batch
}

// planTopic is for publishers.
func (c *conn) planTopic(ctx context.Context, r *driver.TopicRequest) (*plan, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	settings, err := c.config.settings(r)
	if err != nil {
		return nil, err
	}
	p := &plan{Settings: settings, fifo: r.Ordered, topology: r.Topology, limit: c.config.MessageBytes}
	if strings.HasSuffix(r.Topic, fifoSuffix) && !r.Ordered {
		return nil, invalid("topic %q: a name that ends in %s is of an ordered topic: open it as one", r.Topic, fifoSuffix)
	}
	account, err := c.number(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Kind == driver.Queue:
		p.queue, err = c.queue(account, c.config.Prefix+r.Topic, p)
		return p, err
	case p.TopicARN == "":
		p.topic = c.arn(account, "sns", legalName(c.config.Prefix+r.Topic, p.fifo, topicNameLimit))
	case strings.Split(p.TopicARN, ":")[3] != c.region:
		return nil, invalid("topic %s is of another region: SNS takes requests in its own, and this client is in %s", p.TopicARN, c.region)
	case strings.HasSuffix(p.TopicARN, fifoSuffix) != p.fifo:
		return nil, mismatch("topic", p.TopicARN, p.fifo)
	default:
		p.topic = p.TopicARN
	}
	return p, nil
}

// plan is for subscribers.
func (c *conn) plan(ctx context.Context, r *driver.SubscribeRequest) (*plan, error) {
	p, err := c.planTopic(ctx, &r.TopicRequest)
	if err != nil {
		return nil, err
	}
	account, err := c.number(ctx)
	if err != nil {
		return nil, err
	}
	if r.Group != "" {
		name := strings.TrimSuffix(r.Topic, fifoSuffix) + "-" + r.Group
		if p.queue, err = c.queue(account, c.config.Prefix+name, p); err != nil {
			return nil, err
		}
	}
	switch {
	case p.UndeliveredQueue == "":
	case r.Group == "":
		return nil, invalid("undelivered queue %q: only a group of an event topic has one", p.UndeliveredQueue)
	default:
		if p.undelivered, err = c.queue(account, "", &plan{Settings: Settings{QueueName: p.UndeliveredQueue}, fifo: p.fifo}); err != nil {
			return nil, err
		}
	}
	if r.DeadLetter != nil {
		p.attempts = r.DeadLetter.MaxAttempts
		// SQS moves from FIFO to FIFO alone; what dies here is moved by the driver, so that
		// a dead letter is read alike on every broker.
		p.dead, err = c.queue(account, c.config.Prefix+r.DeadLetter.Topic, &plan{})
	}
	return p, err
}

// queue names a queue: as the settings say, or by its topic and group.
func (c *conn) queue(account, name string, p *plan) (queue, error) {
	q := queue{name: p.QueueName}
	switch {
	case q.name == "":
		q.name = legalName(name, p.fifo, queueNameLimit)
	case strings.HasSuffix(q.name, fifoSuffix) != p.fifo:
		return q, mismatch("queue", q.name, p.fifo)
	case legalName(q.name, p.fifo, queueNameLimit) != q.name:
		return q, invalid("queue name %q: want letters, digits, - and _, at most %d", q.name, queueNameLimit)
	}
	q.url, q.arn = c.url(account, q.name), c.arn(account, "sqs", q.name)
	return q, nil
}

// mismatch says that something is FIFO and should not be, or the other way round.
func mismatch(what, name string, fifo bool) error {
	is, asked := "FIFO", "without order"
	if fifo {
		is, asked = "standard", "as ordered"
	}
	return driver.Errorf(driver.CodeConflict, "snssqs: %s %q is %s, and is opened %s", what, name, is, asked)
}

// other is the name of the same thing of the other kind.
func other(name string) string {
	if stem, fifo := strings.CutSuffix(name, fifoSuffix); fifo {
		return stem
	}
	return name + fifoSuffix
}
