package pubsub

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Topic publishes to one topic. Its methods may be called concurrently.
//
// Published means stored: a nil outcome says that the broker confirmed the
// message. Messages with the same key that one goroutine publishes are stored in
// that order, across Publish and PublishAsync. While the broker is away, messages
// wait, within their contexts and PublishLimit, and are sent when it is back;
// one whose confirmation was lost is sent again, and so perhaps stored twice.
type Topic struct {
	name    string
	client  *Client
	config  publisherConfig
	caps    driver.Capabilities
	batcher *batcher
	chain   PublishFunc // nil without middleware
}

// Publisher opens a topic for publishing. It makes or verifies the topic on the
// broker as Topology says, and fails where the broker lacks what is asked. A broker that
// is busy, or away meanwhile, is asked again a few times, with the client's backoff.
func (c *Client) Publisher(ctx context.Context, topic string, options ...PublisherOption) (*Topic, error) {
	t, err := c.publisher(ctx, topic, options)
	if err != nil {
		return nil, fail("open publisher", topic, err)
	}
	return t, nil
}

func (c *Client) publisher(ctx context.Context, name string, options []PublisherOption) (*Topic, error) {
	t := &Topic{name: name, client: c}
	t.config.Topic = name
	if name == "" {
		return nil, invalid("topic is empty")
	}
	for _, list := range [][]PublisherOption{c.config.publisher, options} {
		for _, o := range list {
			if o == nil {
				return nil, invalid("publisher option is nil")
			}
			if err := o.applyPublisher(&t.config); err != nil {
				return nil, err
			}
		}
	}
	var batch driver.Batch
	var opened driver.Topic
	err := c.connection.open(ctx, func(conn driver.Conn) (err error) {
		t.caps = conn.Capabilities()
		if err := t.config.suits(&t.caps); err != nil {
			return err
		}
		if batch, err = t.config.batch.over(t.caps.SendBatch, "publish batch"); err != nil {
			return err
		}
		opened, err = conn.Topic(ctx, t.config.TopicRequest)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.batcher = newBatcher(t, opened, batch)
	for i := len(t.config.middleware) - 1; i >= 0; i-- {
		if middleware := t.config.middleware[i](t); middleware != nil {
			if t.chain == nil {
				t.chain = t.sendAsync
			}
			t.chain = middleware(t.chain)
		}
	}
	if !c.adopt(t) {
		_ = t.batcher.close(ctx)
		return nil, errClientClosed
	}
	return t, nil
}

// suits compares what a topic is with what the broker can do.
func (c *topicConfig) suits(caps *driver.Capabilities) error {
	switch {
	case c.Ordered && !caps.Ordered:
		return unsupported(*caps, "keep the order of a key; leave Ordered out, or choose another broker")
	case c.Kind == driver.Queue && !caps.Queues:
		return unsupported(*caps, "carry a queue; leave Queue out and name a Group")
	}
	return nil
}

// Name returns the topic's name.
func (t *Topic) Name() string { return t.name }

// Kind returns what the topic is for: driver.Event or driver.Queue.
func (t *Topic) Kind() driver.Kind { return t.config.Kind }

// Publish sends messages in order and waits until the broker has confirmed each
// of them. Of several, some may fail while others are stored: the error then is
// an Error around a PublishError that names them.
//
// When ctx ends first, the error says of each message whether it was never sent
// (CodeCanceled) or is perhaps stored (ErrUnconfirmed).
func (t *Topic) Publish(ctx context.Context, messages ...*Message) error {
	switch {
	case len(messages) == 0:
		return nil
	case t.chain != nil:
		return t.publishChained(ctx, messages)
	case len(messages) == 1:
		return fail("publish", t.name, t.publishOne(ctx, messages[0]))
	default:
		return t.publishMany(ctx, messages)
	}
}

func (t *Topic) publishOne(ctx context.Context, m *Message) error {
	if err := check(m, &t.caps, t.config.Ordered); err != nil {
		return err
	}
	call := t.batcher.takeCall()
	o := &call.one
	o.message[0] = driver.Message(*m)
	call.expect(1)
	if err := t.batcher.submit(ctx, o); err != nil {
		t.batcher.recycle(call)
		return err
	}
	if call.await(ctx) {
		err := o.err
		if err == nil {
			t.batcher.recycle(call) // what failed is perhaps in the queue still
		}
		return err
	}
	// What is still under way keeps the call; it is not used again.
	return t.batcher.abandon(ctx, o)
}

func (t *Topic) publishMany(ctx context.Context, messages []*Message) error {
	call := newCall()
	items := make([]outgoing, len(messages))
	call.expect(len(messages))
	for i, m := range messages {
		o := &items[i]
		o.call = call
		err := check(m, &t.caps, t.config.Ordered)
		switch {
		case err == nil:
			o.message[0] = driver.Message(*m)
			o.together = call
			err = t.batcher.submit(ctx, o)
		case m != nil:
			t.batcher.spoil(call, m.Key)
		}
		if err != nil {
			o.reject(err)
		}
	}
	return t.collect(ctx, call, items)
}

// publishChained publishes through the middleware, which completes in callbacks.
func (t *Topic) publishChained(ctx context.Context, messages []*Message) error {
	call := newCall()
	items := make([]outgoing, len(messages))
	call.expect(len(messages))
	if len(messages) > 1 && t.config.Ordered {
		ctx = context.WithValue(ctx, togetherKey{}, together{t.batcher, call})
	}
	for i, m := range messages {
		o := &items[i]
		o.call, o.batcher = call, t.batcher
		if m == nil {
			o.reject(invalid("message is nil"))
			continue
		}
		o.place = sent
		key := m.Key
		t.chain(ctx, m.clone(), func(err error) { t.batcher.complete(o, key, err) })
	}
	return t.collect(ctx, call, items)
}

// collect waits for a call and makes Publish's error of its outcomes.
func (t *Topic) collect(ctx context.Context, call *call, items []outgoing) error {
	done := call.await(ctx)
	if !done && t.chain != nil {
		t.batcher.lapse()
	}
	var failed []FailedMessage
	for i := range items {
		var err error
		if done {
			err = items[i].err
		} else {
			err = t.batcher.abandon(ctx, &items[i])
		}
		if err != nil {
			failed = append(failed, FailedMessage{Index: i, Err: err})
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(items) == 1:
		return fail("publish", t.name, failed[0].Err)
	default:
		return fail("publish", t.name, &PublishError{Failed: failed, Sent: len(items)})
	}
}

// PublishAsync sends a message and calls done once with its outcome, from
// another goroutine or before it returns. It returns when the message is on its
// way, in the order of the calls; it blocks only at PublishLimit, and no longer
// than ctx lasts. done must not block, nor close the topic, for Close waits until
// each done has returned; it may call PublishAsync where the limit is not near. A
// nil done is for those who do not care for the outcome.
//
// ctx bounds how long the message waits to be sent, not how long its
// confirmation takes.
func (t *Topic) PublishAsync(ctx context.Context, m *Message, done func(error)) {
	if t.chain == nil || m == nil {
		if err := t.enter(ctx, m, done, true); err != nil && done != nil {
			done(fail("publish", t.name, err))
		}
		return
	}
	var told atomic.Bool // of a middleware that is wrong, the first outcome counts
	t.chain(ctx, m.clone(), func(err error) {
		if !told.Swap(true) && done != nil {
			done(fail("publish", t.name, err))
		}
	})
}

// sendAsync is the innermost PublishFunc.
func (t *Topic) sendAsync(ctx context.Context, m *Message, done func(error)) {
	if err := t.enter(ctx, m, done, false); err != nil {
		done(err)
	}
}

// enter takes in a message that nobody waits for. Its outcome goes to done, as an Error that
// names the topic if outer says so; what is not taken in has the error that is returned.
func (t *Topic) enter(ctx context.Context, m *Message, done func(error), outer bool) error {
	if err := check(m, &t.caps, t.config.Ordered); err != nil {
		return err
	}
	o := newOutgoing()
	o.message[0], o.done, o.outer = driver.Message(*m), done, outer
	if t.config.Ordered && t.chain != nil {
		if several, _ := ctx.Value(togetherKey{}).(together); several.batcher == t.batcher {
			o.together = several.call
		}
	}
	return t.batcher.submit(ctx, o)
}

// Close sends what was taken, waits within ctx until each outcome is there and was
// told, and closes the topic. What has none when ctx ends fails. Publishing fails with ErrClosed from
// then on. A second Close waits within its ctx for the first.
func (t *Topic) Close(ctx context.Context) error {
	defer t.client.release(t) // not before: a client that closes meanwhile waits for it
	return fail("close publisher", t.name, t.batcher.close(ctx))
}

// observe tells the hooks an outcome.
func (t *Topic) observe(o *outgoing) {
	info := PublishInfo{Topic: t.name, Kind: t.config.Kind, Key: o.message[0].Key, Bytes: o.size, Took: time.Since(o.started), Err: o.err}
	for _, h := range t.client.config.hooks.publish {
		h.OnPublish(info)
	}
}

// String names the topic for logs.
func (t *Topic) String() string { return fmt.Sprintf("topic %q", t.name) }
