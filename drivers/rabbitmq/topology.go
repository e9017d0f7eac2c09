package rabbitmq

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Names on the broker. A name of a user's has no '/', so none of these meet.
//
//	orders            exchange of an event topic; queue of a queue topic
//	orders/billing    queue of a group
//	orders/billing/3  partition queue of a group; orders//3 of a queue topic
//	orders//x...      queue of a broadcast
//	QUEUE/dead        exchange for the queue's dead letters
//	QUEUE/delay/5s    messages that come back to the queue after 5 s; TOPIC//delay/5s to the exchange
const delayInfix = "/delay/"

func groupQueue(r *driver.SubscribeRequest) string {
	if r.Kind == driver.Queue {
		return r.Topic
	}
	return r.Topic + "/" + r.Group
}

func partitionQueue(r *driver.SubscribeRequest, n int) string {
	return r.Topic + "/" + r.Group + "/" + strconv.Itoa(n)
}

// queueNames are the queues of a subscription that is no broadcast.
func (l *layout) queueNames(r *driver.SubscribeRequest) []string {
	switch {
	case l.existing != "":
		return []string{l.existing}
	case l.partitions == 0:
		return []string{groupQueue(r)}
	}
	names := make([]string, l.partitions)
	for i := range names {
		names[i] = partitionQueue(r, i)
	}
	return names
}

// arguments are those of every queue that keeps messages. They depend on nothing that a
// user may change later, such as a dead-letter policy: arguments cannot change.
func (c *conn) arguments(name string, l *layout) amqp.Table {
	args := c.basics(l)
	args["x-overflow"] = "reject-publish" // where a policy limits the length: refused, not dropped
	args["x-dead-letter-exchange"] = name + "/dead"
	if l.queues == Quorum {
		args["x-dead-letter-strategy"] = "at-least-once"
	}
	return args
}

// basics are arguments that depend on what kind of queue it is alone.
func (c *conn) basics(l *layout) amqp.Table {
	args := amqp.Table{"x-queue-type": string(l.queues)}
	if l.queues == Quorum && c.version.major >= 4 {
		args["x-delivery-limit"] = int64(-1) // the default of 20 loses messages; before 4.0, -1 does
	}
	if l.partitions > 0 {
		args["x-single-active-consumer"] = true
	}
	return args
}

// A declarer makes or verifies on channels that an error may take down.
type declarer struct {
	conn     *conn
	ctx      context.Context //nolint:containedctx // of one call of the contract
	topology driver.Topology
	ch       *amqp.Channel // nil: none is open
}

func (d *declarer) do(what string, call func(*amqp.Channel) error) error {
	open := d.ch // the call has its own: when the context ends it goes on without us
	left, err := driver.Within(d.ctx, d.conn.calls, func() (*amqp.Channel, error) {
		ch := open
		if ch == nil {
			var err error
			if ch, err = d.conn.incoming.Channel(); err != nil {
				return nil, err
			}
		}
		if err := call(ch); err != nil {
			return nil, err // the server has closed the channel
		}
		return ch, nil
	}, func(ch *amqp.Channel) { _ = ch.Close() })
	d.ch = left
	return classify("rabbitmq: "+what, err)
}

func (d *declarer) end() {
	if ch := d.ch; ch != nil {
		d.conn.calls.Go(func() { _ = ch.Close() })
	}
}

// exchange makes an exchange, or verifies it.
func (d *declarer) exchange(name, kind string) error {
	what := "exchange " + strconv.Quote(name)
	if d.topology == driver.Verify || kind == "" {
		err := d.do(what, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(name, "fanout", true, false, false, false, nil)
		})
		if err = d.compared(err); err != nil || kind == "" {
			return err
		}
	}
	return d.compared(d.do(what, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(name, kind, true, false, false, false, nil)
	}))
}

// queue makes a queue, or verifies it. Verify compares by declaring what exists.
func (d *declarer) queue(name string, args amqp.Table) error {
	if d.topology == driver.Verify {
		if err := d.compared(d.find(name)); err != nil {
			return err
		}
	}
	declare := func() error {
		return d.compared(d.do("queue "+strconv.Quote(name), func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(name, true, false, false, false, args)
			return err
		}))
	}
	err := declare()
	var reply *amqp.Error
	if errors.As(err, &reply) && strings.Contains(reply.Reason, "'x-delivery-limit'") && args["x-delivery-limit"] != nil {
		// It was made before the server was RabbitMQ 4. What the default limit of such a queue
		// takes out waits for a dead letter and is not lost.
		delete(args, "x-delivery-limit")
		err = declare()
	}
	return err
}

// compared forgives that a verifying user may not declare, and from RabbitMQ 4.3 on not even
// look: what is wrong then shows in use.
func (d *declarer) compared(err error) error {
	if d.topology == driver.Verify && driver.CodeOf(err) == driver.CodePermissionDenied {
		return nil
	}
	return err
}

// find fails unless a queue exists.
func (d *declarer) find(name string) error {
	return d.do("queue "+strconv.Quote(name), func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
}

// absent fails if something exists.
func (d *declarer) absent(err error, text string) error {
	switch {
	case err == nil:
		return driver.Errorf(driver.CodeConflict, "rabbitmq: %s", text)
	case driver.CodeOf(err) == driver.CodeNotFound || driver.CodeOf(err) == driver.CodePermissionDenied:
		return nil
	default:
		return err
	}
}

func (d *declarer) bind(queue, key, exchange string) error {
	if d.topology != driver.Create {
		return nil // AMQP cannot look at bindings
	}
	return d.do("bind queue "+strconv.Quote(queue)+" to exchange "+strconv.Quote(exchange), func(ch *amqp.Channel) error {
		return ch.QueueBind(queue, key, exchange, false, nil)
	})
}

// topic makes or verifies what a publisher needs.
func (d *declarer) topic(r *driver.TopicRequest, l *layout) error {
	if d.topology == driver.Assume {
		return nil
	}
	ours := l.kind != "" && l.existing == "" && l.exchange == r.Topic || l.exchange == "" && l.existing == ""
	if ours {
		if err := d.kind(r); err != nil {
			return err
		}
	}
	if l.exchange != "" {
		if err := d.exchange(l.exchange, l.kind); err != nil {
			return err
		}
	}
	if r.Kind == driver.Queue {
		return d.queues(&driver.SubscribeRequest{TopicRequest: *r}, l)
	}
	return nil
}

// kind looks whether the topic exists as something else.
func (d *declarer) kind(r *driver.TopicRequest) error {
	if r.Kind == driver.Queue && !r.Ordered {
		return d.absent(d.do("topic "+strconv.Quote(r.Topic), func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(r.Topic, "fanout", true, false, false, false, nil)
		}), "topic "+strconv.Quote(r.Topic)+" has an exchange: it was made as an event topic or an ordered one, not as a queue")
	}
	if err := d.absent(d.find(r.Topic), "topic "+strconv.Quote(r.Topic)+" has a queue: it was made as a queue that is not ordered"); err != nil {
		return err
	}
	if r.Ordered {
		queue := driver.SubscribeRequest{TopicRequest: *r}
		if r.Kind == driver.Event {
			return d.absent(d.find(partitionQueue(&queue, 0)), "topic "+strconv.Quote(r.Topic)+" has partition queues of its own: it was made as an ordered queue")
		}
	}
	return nil
}

// queues makes or verifies the queues of a subscription and their bindings.
func (d *declarer) queues(r *driver.SubscribeRequest, l *layout) error {
	if l.existing != "" {
		return d.find(l.existing)
	}
	names := l.queueNames(r)
	if l.partitions > 0 {
		if err := d.partitions(r, l); err != nil {
			return err
		}
	}
	// From the last to the first: where the first exists, all do.
	for i := len(names) - 1; i >= 0; i-- {
		if err := d.queue(names[i], d.conn.arguments(names[i], l)); err != nil {
			return err
		}
	}
	return d.bindAll(names, l)
}

// bindAll binds a subscription's queues, each to its share of the keys.
func (d *declarer) bindAll(names []string, l *layout) error {
	for i, key := range l.bindings {
		if err := d.bind(names[i%len(names)], key, l.exchange); err != nil {
			return err
		}
	}
	return nil
}

// partitions fails if the queues exist in another number: a slot would lead to two of them.
func (d *declarer) partitions(r *driver.SubscribeRequest, l *layout) error {
	text := "the group has another number of partition queues than " + strconv.Itoa(l.partitions) + "; say the right one with Partitions, or make the group anew"
	if err := d.absent(d.find(partitionQueue(r, l.partitions)), text); err != nil {
		return err
	}
	if d.find(partitionQueue(r, 0)) == nil {
		if err := d.find(partitionQueue(r, l.partitions-1)); driver.CodeOf(err) == driver.CodeNotFound && err != nil {
			return driver.Errorf(driver.CodeConflict, "rabbitmq: %s", text)
		}
	}
	return nil
}

// deadLetter makes or verifies the way of a subscription's dead letters.
func (d *declarer) deadLetter(r *driver.SubscribeRequest, l *layout) error {
	dead := driver.TopicRequest{Topic: r.DeadLetter.Topic, Kind: driver.Queue, Topology: r.Topology}
	to, err := d.conn.layout(&dead)
	if err != nil {
		return err
	}
	if err := d.topic(&dead, to); err != nil {
		return err
	}
	for _, name := range l.queueNames(r) {
		if err := d.exchange(name+"/dead", "fanout"); err != nil {
			return err
		}
		if err := d.bind(dead.Topic, "", name+"/dead"); err != nil {
			return err
		}
	}
	return nil
}

// Declare makes or verifies what a subscription needs.
func (c *conn) Declare(ctx context.Context, r driver.SubscribeRequest) error {
	l, err := c.layout(&r.TopicRequest)
	if err != nil {
		return err
	}
	if l.existing != "" && r.DeadLetter != nil {
		return driver.Errorf(driver.CodeUnsupported, "rabbitmq: the dead letters of an ExistingQueue are its own; leave out NativeDeadLetter")
	}
	if err := checkName("group", r.Group); err != nil {
		return err
	}
	if n := len(groupQueue(&r)); n > maxName-40 {
		return invalid("rabbitmq: topic and group have %d bytes; the broker takes %d, with what the driver puts behind them", n, maxName-40)
	}
	d := &declarer{conn: c, ctx: ctx, topology: r.Topology}
	defer d.end()
	if r.Topology == driver.Assume {
		return c.Err()
	}
	if err := d.topic(&r.TopicRequest, l); err != nil || r.Broadcast() {
		return err
	}
	if r.Kind == driver.Event {
		if err := d.queues(&r, l); err != nil {
			return err
		}
	}
	if r.DeadLetter != nil {
		return d.deadLetter(&r, l)
	}
	return nil
}

// broadcast makes the queue of a broadcast subscription.
func (c *conn) broadcast(ctx context.Context, name string, l *layout) error {
	d := &declarer{conn: c, ctx: ctx}
	defer d.end()
	args := c.basics(l)
	args["x-expires"] = c.config.BroadcastExpiry.Milliseconds()
	if err := d.queue(name, args); err != nil {
		return err
	}
	return d.bindAll([]string{name}, l)
}

// Backlog counts what waits in a subscription's queues.
func (c *conn) Backlog(ctx context.Context, r driver.SubscribeRequest) (driver.Backlog, error) {
	l, err := c.layout(&r.TopicRequest)
	if err != nil {
		return driver.Backlog{}, err
	}
	d := &declarer{conn: c, ctx: ctx}
	defer d.end()
	b := driver.Backlog{Unsettled: -1}
	for _, name := range l.queueNames(&r) {
		err := d.do("queue "+strconv.Quote(name), func(ch *amqp.Channel) error {
			q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			b.Ready += int64(q.Messages)
			return err
		})
		if err != nil {
			return driver.Backlog{}, err
		}
	}
	return b, nil
}

// The broker counts milliseconds in 32 bits, and a delay's queue outlives the delay.
const (
	longestDelay  = 40 * 24 * time.Hour
	longestExpiry = 9 * 24 * time.Hour
)

// delaySteps keep the number of delay queues small: a delay is rounded up to a multiple of
// the largest step that is a fifth of it at most.
var delaySteps = []time.Duration{
	12 * time.Hour, 3 * time.Hour, time.Hour, 15 * time.Minute, 5 * time.Minute, time.Minute, 15 * time.Second, 5 * time.Second, time.Second,
	500 * time.Millisecond, 200 * time.Millisecond, 100 * time.Millisecond, 50 * time.Millisecond, 20 * time.Millisecond,
	10 * time.Millisecond, 5 * time.Millisecond, 2 * time.Millisecond, time.Millisecond,
}

func roundDelay(d time.Duration) time.Duration {
	for _, step := range delaySteps {
		if step <= d/5 {
			return (d + step - 1) / step * step
		}
	}
	return (d + time.Millisecond - 1) / time.Millisecond * time.Millisecond
}

// delayQueue returns the name of the queue that keeps messages for d and then sends them
// on, and makes it unless it was lately. It outlives all that is sent to it.
func (c *conn) delayQueue(ctx context.Context, prefix, exchange, key string, d time.Duration) (string, error) {
	d = roundDelay(d)
	name := prefix + delayInfix + d.String()
	c.mu.Lock()
	fresh := time.Since(c.delays[name]) < c.config.DelayExpiry/2
	c.mu.Unlock()
	if fresh {
		return name, nil
	}
	args := c.basics(&layout{queues: Quorum})
	maps.Copy(args, amqp.Table{
		"x-message-ttl": d.Milliseconds(), "x-expires": (d + c.config.DelayExpiry).Milliseconds(),
		"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key,
		"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
	})
	now := time.Now()
	declarer := &declarer{conn: c, ctx: ctx}
	defer declarer.end()
	if err := declarer.queue(name, args); err != nil {
		return "", err
	}
	c.mu.Lock()
	c.delays[name] = now
	c.mu.Unlock()
	return name, nil
}

// forgetDelay has a delay queue that was not there declared again.
func (c *conn) forgetDelay(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.delays, name)
}
