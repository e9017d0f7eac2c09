package rabbitmq

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A sender is a driver.Topic: a channel in confirm mode. Send writes; a goroutine awaits
// the confirms, in order, and tells fates. The client's own confirmations are awaited one
// after the other: its listeners cost more.
type sender struct {
	driver.Life
	conn   *conn
	layout *layout
	topic  string // prefix of its delay queues
	ch     *amqp.Channel

	returns chan amqp.Return // never full: it holds as many as can be unconfirmed
	closed  chan *amqp.Error
	confirm driver.Wake   // to the confirmer
	ended   chan struct{} // closed when it has ended
	alone   driver.Wake   // a token for the one message on its way, until one was confirmed
	proven  atomic.Bool   // one was
	taken   atomic.Int64  // messages without a fate
	refused atomic.Bool   // a message got a nack

	serial  uint64     // of the last message; Send's
	headers amqp.Table // of one message after the other; Send's

	mu      sync.Mutex
	written []parcel // to be confirmed
	over    bool     // the confirmer takes no more
}

// A parcel is a message on its way.
type parcel struct {
	message *driver.Message
	copy    *amqp.Publishing // instead of message: a retry
	to      string           // routing key
	index   int
	fate    func(int, driver.Fate, error)
	confirm *amqp.DeferredConfirmation
	serial  uint64
}

// Topic opens a topic for sending.
func (c *conn) Topic(ctx context.Context, r driver.TopicRequest) (driver.Topic, error) {
	l, err := c.layout(&r)
	if err != nil {
		return nil, err
	}
	d := &declarer{conn: c, ctx: ctx, topology: r.Topology}
	defer d.end()
	if err := d.topic(&r, l); err != nil {
		return nil, err
	}
	return c.sender(ctx, r.Topic, l)
}

func (c *conn) sender(ctx context.Context, topic string, l *layout) (*sender, error) {
	s := &sender{
		Life: driver.NewLife(&c.Life), conn: c, layout: l, topic: topic, headers: amqp.Table{},
		returns: make(chan amqp.Return, c.config.Unconfirmed), closed: make(chan *amqp.Error, 1),
		confirm: driver.NewWake(), ended: make(chan struct{}), alone: driver.NewWake(),
	}
	var err error
	s.ch, err = c.channel(ctx, c.outgoing, func(ch *amqp.Channel) error {
		ch.NotifyReturn(s.returns)
		ch.NotifyClose(s.closed)
		return ch.Confirm(false)
	})
	if err != nil {
		s.End(errClosed)
		return nil, classify("rabbitmq: open topic", err)
	}
	s.alone.Poke()
	c.calls.Go(s.confirmer)
	return s, nil
}

// chunk is how many messages are written in one go.
const chunk = 128

// Send writes messages.
func (s *sender) Send(ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
	var list [chunk]parcel
	for i := 0; i < len(batch); {
		n, err := s.turn(ctx)
		if err != nil {
			for ; i < len(batch); i++ {
				fate(i, driver.Aborted, err)
			}
			return
		}
		n = min(n, len(batch)-i)
		for at := range n {
			list[at] = parcel{message: &batch[i+at], index: i + at, fate: fate}
		}
		s.publish(ctx, list[:n])
		i += n
	}
}

// turn waits until the broker takes messages, and says how many may be written in one go.
// Until one was confirmed it is one at a time: what closes the channel is about that one.
func (s *sender) turn(ctx context.Context) (int, error) {
	if err := s.await(ctx, *s.conn.clear.Load()); err != nil || s.proven.Load() {
		return chunk, err
	}
	return 1, s.await(ctx, s.alone)
}

func (s *sender) await(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return s.Err()
	case <-s.Done():
		return s.Err()
	case <-ctx.Done():
		return driver.Wrap(driver.CodeCanceled, "rabbitmq: not sent", context.Cause(ctx))
	}
}

// publish writes some messages in one go. A write knows no contexts: the end of ctx breaks
// the connection beneath it.
func (s *sender) publish(ctx context.Context, list []parcel) {
	s.taken.Add(int64(len(list)))
	list = s.each(list, func(p *parcel) bool { return s.route(ctx, p) })
	stop := context.AfterFunc(ctx, s.conn.outgoing.cut)
	defer stop()
	now := time.Now()
	s.conn.outgoing.socket.hold()
	list = s.each(list, func(p *parcel) bool { return s.encode(p, now) })
	s.mu.Lock()
	over := s.over
	if !over {
		s.written = append(s.written, list...)
	}
	s.mu.Unlock()
	s.conn.outgoing.socket.release()
	if over {
		for i := range list {
			s.finish(&list[i], driver.Unknown, s.Err())
		}
	}
	s.confirm.Poke()
}

// each keeps the parcels that a step lets pass; the others have their fates.
func (s *sender) each(list []parcel, step func(*parcel) bool) []parcel {
	n := 0
	for i := range list {
		if step(&list[i]) {
			list[n] = list[i]
			n++
		}
	}
	return list[:n]
}

// route finds where a message goes.
func (s *sender) route(ctx context.Context, p *parcel) bool {
	s.serial++
	p.serial = s.serial
	m := p.message
	if m == nil {
		return true // a copy knows
	}
	if err := refuses(m); err != nil {
		s.finish(p, driver.Refused, err)
		return false
	}
	p.to = s.layout.key
	if s.layout.partitions > 0 {
		if p.to = slotKeys[p.serial%slots]; m.Key != "" {
			p.to = slotKeys[slotOf(m.Key)]
		}
	}
	if m.Delay > 0 {
		var err error
		if p.to, err = s.delay(ctx, m.Delay, p.to); err != nil {
			s.finish(p, driver.Aborted, err)
			return false
		}
	}
	return true
}

// delay finds the queue for a delayed message.
func (s *sender) delay(ctx context.Context, d time.Duration, key string) (string, error) {
	prefix := key // a queue
	if s.layout.exchange != "" {
		if prefix = s.topic + "/"; s.layout.partitions > 0 {
			key = slotKeys[0] // a delay's queue knows one
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.conn.config.Timeout)
	defer cancel()
	return s.conn.delayQueue(ctx, prefix, s.layout.exchange, key, d)
}

// encode gives a message to the client.
func (s *sender) encode(p *parcel, now time.Time) bool {
	out := amqp.Publishing{Headers: s.headers}
	exchange, mandatory := s.layout.exchange, s.layout.mandatory
	if p.delayed() {
		exchange, mandatory = "", true
	}
	if p.message == nil {
		out = *p.copy
	} else {
		publishing(p.message, &out)
	}
	if mandatory {
		out.Headers[headerSerial] = int64(p.serial) //nolint:gosec // counts from one
	}
	if p.message != nil {
		date(&out, now)
	}
	var err error
	if p.confirm, err = s.ch.PublishWithDeferredConfirm(exchange, p.to, mandatory, false, out); err == nil {
		return true
	}
	fate := driver.Unknown
	if err == amqp.ErrClosed { //nolint:errorlint // exactly that: nothing was written
		fate = driver.Aborted
	}
	s.finish(p, fate, classify("rabbitmq: publish", err))
	return false
}

// delayed says whether a parcel goes to a delay's queue.
func (p *parcel) delayed() bool { return p.message == nil || p.message.Delay > 0 }

// confirmer awaits confirms and tells fates, until the sender is dead.
func (s *sender) confirmer() {
	defer close(s.ended)
	returned := map[uint64]amqp.Return{}
	var hand []parcel
	for over := false; !over; {
		select {
		case <-s.confirm:
		case e := <-s.closed:
			s.End(s.reason(e))
		case <-s.Done():
		}
		over = s.Err() != nil
		s.mu.Lock()
		hand, s.written = s.written, hand[:0]
		s.over = over
		s.mu.Unlock()
		for i := range hand {
			f, err := s.conclude(&hand[i], returned)
			s.finish(&hand[i], f, err)
		}
		clear(hand)
	}
}

// reason is why the channel closed; it may be that the connection did.
func (s *sender) reason(e *amqp.Error) error {
	if e == nil {
		return driver.Errorf(driver.CodeUnavailable, "rabbitmq: channel lost")
	}
	return classify("rabbitmq: publish to topic "+fmt.Sprintf("%q", s.topic), e)
}

var errNack error = driver.Errorf(driver.CodeExhausted, "rabbitmq: the broker did not keep the message (basic.nack): a queue is full or cannot be reached")

// conclude waits for one confirm. A return comes before its confirm.
func (s *sender) conclude(p *parcel, returned map[uint64]amqp.Return) (driver.Fate, error) {
	if !p.confirm.Acked() {
		select {
		case <-p.confirm.Done():
		case <-s.Done():
		}
	}
	s.collect(returned)
	r, back := returned[p.serial]
	delete(returned, p.serial)
	switch {
	case back && p.delayed():
		s.conn.forgetDelay(r.RoutingKey)
		return driver.Aborted, driver.Errorf(driver.CodeUnavailable, "rabbitmq: the delay's queue %q is gone", r.RoutingKey)
	case back:
		return driver.Refused, driver.Errorf(driver.CodeNotFound,
			"rabbitmq: no queue took the message: %s (exchange %q, routing key %q)", r.ReplyText, r.Exchange, r.RoutingKey)
	case p.confirm.Acked():
		s.proven.Store(true)
		return driver.Stored, nil
	case s.ch.IsClosed() || s.Err() != nil: // the client turns open confirms into nacks
		return s.lost()
	default:
		s.refused.Store(true)
		return driver.Aborted, errNack
	}
}

// collect notes the messages that came back, by their serials.
func (s *sender) collect(returned map[uint64]amqp.Return) {
	for {
		select {
		case r, ok := <-s.returns:
			if !ok {
				return
			}
			n, _ := whole(r.Headers[headerSerial])
			r.Body, r.Headers = nil, nil
			returned[uint64(n)] = r //nolint:gosec // ours
		default:
			return
		}
	}
}

// lost is the fate of a message whose channel closed. If it was the only one ever
// written, the broker's reason is about it.
func (s *sender) lost() (driver.Fate, error) {
	select {
	case e := <-s.closed:
		s.End(s.reason(e))
	case <-s.Done():
	}
	err := s.Err()
	if !s.proven.Load() && !driver.CodeOf(err).Heals() {
		return driver.Refused, err
	}
	return driver.Unknown, err
}

// finish tells a fate. After a nack the channel ends with the last that is under way:
// RabbitMQ 3.10 goes on refusing on a channel that met a queue without a leader.
func (s *sender) finish(p *parcel, f driver.Fate, err error) {
	if s.taken.Add(-1) == 0 && s.refused.Load() {
		s.End(errNack)
	}
	s.alone.Poke()
	p.fate(p.index, f, err)
}

// Close ends the channel. What has no fate yet is Unknown.
func (s *sender) Close(ctx context.Context) error {
	s.End(errClosed)
	select {
	case <-s.ended:
	case <-ctx.Done(): // a callback does not return
	}
	_ = s.conn.call(ctx, s.ch.Close)
	return nil
}
