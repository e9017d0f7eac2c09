package pubsub_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

var errBoom = errors.New("boom")

// scripted is a broker that does what a test says.
type scripted struct {
	caps driver.Capabilities
	// send is the n-th Send, from 1; nil stores everything.
	send func(n int, batch []driver.Message, fate func(int, driver.Fate, error))
	// opens is asked before a "topic" or "session" is opened, or a "group" declared.
	opens func(what string) error
	// wraps is what becomes of a session; nil leaves it.
	wraps func(driver.Session) driver.Session

	mu       sync.Mutex
	refusal  error
	conn     *scriptedConn
	sends    int
	batches  [][]string // the bodies of each Send
	sessions chan *scriptedSession
	members  []string // of each Subscribe
}

func newScripted(caps driver.Capabilities) *scripted {
	caps.Broker, caps.Groups, caps.Queues, caps.Broadcast, caps.Ordered = "scripted", true, true, true, true
	return &scripted{caps: caps, sessions: make(chan *scriptedSession, 10)}
}

func (b *scripted) client(t *testing.T, options ...pubsub.ClientOption) *pubsub.Client {
	t.Helper()
	c, err := pubsub.New(t.Context(), b, append([]pubsub.ClientOption{pubsub.Logger(slog.New(slog.DiscardHandler))}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *scripted) Open(context.Context) (driver.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal != nil {
		return nil, b.refusal
	}
	b.conn = &scriptedConn{broker: b, mortal: newMortal()}
	return b.conn, nil
}

// refuse makes dialing fail.
func (b *scripted) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusal = err
}

// sent returns the bodies of all Sends.
func (b *scripted) sent() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.batches
}

// mortal is what can die.
type mortal struct {
	once sync.Once
	done chan struct{}
	err  error
}

func newMortal() *mortal { return &mortal{done: make(chan struct{})} }

func (m *mortal) Done() <-chan struct{} { return m.done }

func (m *mortal) Err() error {
	select {
	case <-m.done:
		return m.err
	default:
		return nil
	}
}

func (m *mortal) die(err error) {
	m.once.Do(func() {
		m.err = err
		close(m.done)
	})
}

type scriptedConn struct {
	broker *scripted
	*mortal
	topics []*scriptedTopic
}

func (c *scriptedConn) Capabilities() driver.Capabilities { return c.broker.caps }

func (c *scriptedConn) ask(what string) error {
	if c.broker.opens == nil {
		return nil
	}
	return c.broker.opens(what)
}

func (c *scriptedConn) Topic(context.Context, driver.TopicRequest) (driver.Topic, error) {
	if err := c.ask("topic"); err != nil {
		return nil, err
	}
	t := &scriptedTopic{broker: c.broker, mortal: newMortal()}
	c.topics = append(c.topics, t)
	return t, nil
}

func (c *scriptedConn) Declare(context.Context, driver.SubscribeRequest) error {
	return c.ask("group")
}

func (c *scriptedConn) Subscribe(_ context.Context, r driver.SubscribeRequest) (driver.Session, error) {
	if err := c.ask("session"); err != nil {
		return nil, err
	}
	c.broker.mu.Lock()
	c.broker.members = append(c.broker.members, r.Member)
	c.broker.mu.Unlock()
	s := &scriptedSession{carried: make(chan driver.Intake), landing: make(chan struct{}), mortal: newMortal(), intake: make(chan driver.Intake, 100), errs: make(chan error, 10), quiesced: make(chan struct{})}
	c.broker.sessions <- s
	if c.broker.wraps != nil {
		return c.broker.wraps(s), nil
	}
	return s, nil
}

func (c *scriptedConn) Close(context.Context) error {
	c.die(errBoom)
	return nil
}

type scriptedTopic struct {
	broker *scripted
	*mortal
}

func (t *scriptedTopic) Send(_ context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
	if t.Err() != nil {
		for i := range batch {
			fate(i, driver.Aborted, t.Err())
		}
		return
	}
	b := t.broker
	b.mu.Lock()
	b.sends++
	n := b.sends
	var bodies []string
	for i := range batch {
		bodies = append(bodies, string(batch[i].Body))
	}
	b.batches = append(b.batches, bodies)
	b.mu.Unlock()
	if b.send != nil {
		b.send(n, batch, fate)
		return
	}
	all(driver.Stored, nil)(n, batch, fate)
}

func (t *scriptedTopic) Close(context.Context) error {
	t.die(errBoom)
	return nil
}

// all gives every message of a Send the same fate.
func all(f driver.Fate, err error) func(int, []driver.Message, func(int, driver.Fate, error)) {
	return func(_ int, batch []driver.Message, fate func(int, driver.Fate, error)) {
		for i := range batch {
			fate(i, f, err)
		}
	}
}

// scriptedSession gives what a test puts into it, and notes what it is told.
type scriptedSession struct {
	*mortal
	intake   chan driver.Intake
	errs     chan error // that Receive returns once each
	carried  chan driver.Intake
	landing  chan struct{}
	quiesced chan struct{}
	blunt    bool // says ErrQuiesced each time

	saidQuiesced bool // Receive's

	settles func(*driver.Settlement) // sets the outcome; nil confirms
	extends func(*driver.Receipt, time.Duration)
	commits func(n int) error // the n-th Commit, from 1; nil takes it

	mu       sync.Mutex
	settled  []settled
	messages int // credit
	commit   int // how many Commits there were
	closed   bool
}

type settled struct {
	tag   uint64
	verb  driver.Verb
	delay time.Duration
	call  int
	at    time.Time
}

// give delivers messages, the first with that tag.
func (s *scriptedSession) give(tag uint64, messages ...driver.Message) {
	var in driver.Intake
	for i, m := range messages {
		in.Deliveries = append(in.Deliveries, driver.Delivery{Message: m, Attempt: 1, Receipt: driver.Receipt{Tag: tag + uint64(i)}})
	}
	s.intake <- in
}

// carry is give, but the Receive that took it returns when it lands, or its context ends.
func (s *scriptedSession) carry(tag uint64, m driver.Message) {
	s.carried <- driver.Intake{Deliveries: []driver.Delivery{{Message: m, Attempt: 1, Receipt: driver.Receipt{Tag: tag}}}}
}

// land has it return, unless it did.
func (s *scriptedSession) land() {
	select {
	case s.landing <- struct{}{}:
	default:
	}
}

func (s *scriptedSession) Credit(messages, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages += messages
}

func (s *scriptedSession) Receive(ctx context.Context, in *driver.Intake) error {
	select {
	case i := <-s.intake:
		in.Deliveries = append(in.Deliveries, i.Deliveries...)
		in.Revocations = append(in.Revocations, i.Revocations...)
		return nil
	case i := <-s.carried:
		select {
		case <-s.landing:
		case <-ctx.Done():
		}
		in.Deliveries = append(in.Deliveries, i.Deliveries...)
		return nil
	case err := <-s.errs:
		return err
	case <-s.done:
		return s.err
	case <-s.quiesced:
		if s.blunt || !s.saidQuiesced {
			s.saidQuiesced = true
			return driver.ErrQuiesced
		}
		return s.rest(ctx, in)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// rest is a Receive after ErrQuiesced.
func (s *scriptedSession) rest(ctx context.Context, in *driver.Intake) error {
	select {
	case i := <-s.intake:
		in.Revocations = append(in.Revocations, i.Revocations...)
		return nil
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *scriptedSession) Settle(_ context.Context, batch []driver.Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := 0
	if n := len(s.settled); n > 0 {
		call = s.settled[n-1].call + 1
	}
	for i := range batch {
		v := &batch[i]
		if v.Outcome = driver.Confirmed; s.commits != nil {
			v.Outcome = driver.Accepted
		}
		if s.settles != nil {
			s.settles(v)
		}
		s.settled = append(s.settled, settled{v.Tag, v.Verb, v.Delay, call, time.Now()})
	}
}

func (s *scriptedSession) Commit(context.Context) error {
	s.mu.Lock()
	s.commit++
	n := s.commit
	s.mu.Unlock()
	if s.commits == nil {
		return nil
	}
	return s.commits(n)
}

// log returns what was settled so far.
func (s *scriptedSession) log() []settled {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled
}

func (s *scriptedSession) Extend(_ context.Context, batch []*driver.Receipt, d time.Duration) {
	for _, r := range batch {
		if s.extends != nil {
			s.extends(r, d)
		} else {
			r.Deadline = time.Now().Add(d)
		}
	}
}

func (s *scriptedSession) Quiesce(context.Context) error {
	close(s.quiesced)
	return nil
}

func (s *scriptedSession) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
