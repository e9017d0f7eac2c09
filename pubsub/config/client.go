package config

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// closeTimeout bounds Serve's close after the drain.
const closeTimeout = 30 * time.Second

// Client publishes and receives what a file names. Its methods may be called
// concurrently.
type Client struct {
	config  *Config
	brokers map[string]*pubsub.Client

	mu   sync.Mutex
	dead map[string]*pubsub.Topic // publishers of dead letters, by topic
}

// Client connects to the brokers that the file's topics are on, and fails if one of
// them cannot keep what is asked of it: nothing is declared then. The options are for
// each of the brokers' clients; what the file says takes precedence over defaults
// among them.
func (c *Config) Client(ctx context.Context, options ...pubsub.ClientOption) (*Client, error) {
	brokers, err := c.connect(ctx, options)
	if err != nil {
		return nil, err
	}
	f := faults{file: c.file, places: c.places}
	for _, name := range c.Topics() {
		t := c.doc.Topics[name]
		meetsTopic(under("topics", name), t, brokers[t.Broker].Capabilities(), &f)
	}
	for _, name := range c.Subscriptions() {
		s := c.doc.Subscriptions[name]
		t := c.doc.Topics[s.Topic]
		meetsSubscription(under("subscriptions", name), s, t, brokers[t.Broker].Capabilities(), &f)
	}
	client := &Client{config: c, brokers: brokers, dead: map[string]*pubsub.Topic{}}
	if err := f.err(); err != nil {
		return nil, errors.Join(err, client.Close(ctx))
	}
	return client, nil
}

// connect opens the brokers that topics are on.
func (c *Config) connect(ctx context.Context, options []pubsub.ClientOption) (map[string]*pubsub.Client, error) {
	// All addresses first: a secret that is missing is found before anything is dialled.
	addresses := map[string]address{}
	for _, name := range c.used() {
		a, err := c.address(name)
		if err != nil {
			return nil, err
		}
		addresses[name] = a
	}
	brokers := map[string]*pubsub.Client{}
	for _, name := range c.used() {
		a := addresses[name]
		own := slices.Clone(options)
		if c.said("brokers", name, "reconnect") {
			own = append(own, pubsub.ReconnectBackoff(c.doc.Brokers[name].Reconnect.policy()))
		}
		client, err := a.open(ctx, own)
		if err != nil {
			err = c.openError(name, err)
			for _, opened := range brokers {
				err = errors.Join(err, opened.Close(ctx))
			}
			return nil, err
		}
		brokers[name] = client
	}
	return brokers, nil
}

// used lists the brokers that topics are on, in the order of the file.
func (c *Config) used() []string {
	used := map[string]broker{}
	for _, t := range c.doc.Topics {
		used[t.Broker] = c.doc.Brokers[t.Broker]
	}
	return names(c, "brokers", used)
}

// openError says which broker of the file could not be opened.
func (c *Config) openError(name string, err error) error {
	key := under("brokers", name)
	if bad := new(driver.ParamError); errors.As(err, &bad) {
		for _, section := range []string{"params", "secrets"} {
			if c.said(key, section, bad.Name) {
				key = under(key, section, bad.Name)
			}
		}
	}
	if key == under("brokers", name) {
		key = under(key, "url")
	}
	return locate(c.file, c.places, key, err)
}

// opened says which part of the file could not be opened; nil stays nil.
func (c *Config) opened(section, name string, err error) error {
	if err == nil {
		return nil
	}
	return locate(c.file, c.places, under(section, name), err)
}

// Publisher opens a topic of the file for publishing. The middleware is inside of the
// client's PublisherDefaults.
func (c *Client) Publisher(ctx context.Context, name string, inner ...pubsub.PublishMiddleware) (*pubsub.Topic, error) {
	if err := c.config.CheckTopics(name); err != nil {
		return nil, err
	}
	options := make([]pubsub.PublisherOption, len(inner))
	for i, m := range inner {
		options[i] = m
	}
	return c.publisher(ctx, name, c.config.doc.Topics[name], options...)
}

// publisher opens a topic as t says.
func (c *Client) publisher(ctx context.Context, name string, t topic, more ...pubsub.PublisherOption) (*pubsub.Topic, error) {
	options, err := c.config.publisherOptions(t)
	if err != nil {
		return nil, err
	}
	options = append(options, more...)
	opened, err := c.brokers[t.Broker].Publisher(ctx, t.Name, options...)
	return opened, c.config.opened("topics", name, err)
}

// Subscriber opens a subscription of the file. The middleware is next to the handler,
// inside of the file's: see the package's documentation for the whole order.
func (c *Client) Subscriber(ctx context.Context, name string, inner ...pubsub.Middleware) (*pubsub.Subscription, error) {
	if err := c.config.CheckSubscriptions(name); err != nil {
		return nil, err
	}
	s := c.config.doc.Subscriptions[name]
	options, err := c.config.subscriberOptions(s)
	if err != nil {
		return nil, err
	}
	var dead pubsub.Publisher
	if !s.DropPermanent && s.DeadLetter.By != "broker" {
		if dead, err = c.letters(ctx, s.DeadLetter.Topic); err != nil {
			return nil, err
		}
	}
	options = append(options, c.config.poisonOption(s, dead)...)
	options = append(options, pubsub.Use(s.inner()...), pubsub.Use(inner...))
	t := c.config.doc.Topics[s.Topic]
	opened, err := c.brokers[t.Broker].Subscriber(ctx, t.Name, options...)
	return opened, c.config.opened("subscriptions", name, err)
}

// letters opens a topic for dead letters, once for all subscriptions.
func (c *Client) letters(ctx context.Context, topic string) (*pubsub.Topic, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.dead[topic]; ok {
		return t, nil
	}
	t, err := c.Publisher(ctx, topic)
	if err == nil {
		c.dead[topic] = t
	}
	return t, err
}

// Backlog tells how much waits for a subscription. It fails with CodeUnsupported where
// the broker does not tell, and for a broadcast.
func (c *Client) Backlog(ctx context.Context, subscription string) (pubsub.Backlog, error) {
	if err := c.config.CheckSubscriptions(subscription); err != nil {
		return pubsub.Backlog{}, err
	}
	s := c.config.doc.Subscriptions[subscription]
	if s.Broadcast {
		return pubsub.Backlog{}, driver.Errorf(driver.CodeUnsupported, "subscription %q is a broadcast: nothing waits for it on the broker", subscription)
	}
	t := c.config.doc.Topics[s.Topic]
	option, err := c.config.topicOption(t)
	if err != nil {
		return pubsub.Backlog{}, err
	}
	if option, err = c.config.withSettings(option, t, s); err != nil {
		return pubsub.Backlog{}, err
	}
	return c.brokers[t.Broker].Backlog(ctx, t.Name, s.Group, option)
}

// Broker returns the client of a broker of the file, for what the file does not say;
// false if no topic is on it. Whoever opens more on it leaves its closing to Close.
func (c *Client) Broker(name string) (*pubsub.Client, bool) {
	b, ok := c.brokers[name]
	return b, ok
}

// Serve is a whole service's life: it receives until ctx ends or a route fails, drains,
// and closes the client. See pubsub.Client.Serve.
func (c *Client) Serve(ctx context.Context, routes ...pubsub.Route) error {
	err := pubsub.Serve(ctx, routes...)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(err, c.Close(closing))
}

// Close closes the subscriptions of all brokers, whose handlers may publish to any of
// them, then what they publish to, then the connections. See pubsub.Client.Close. A
// second Close waits for the first.
func (c *Client) Close(ctx context.Context) error {
	brokers := slices.Collect(maps.Values(c.brokers))
	var subscriptions []*pubsub.Subscription
	for _, b := range brokers {
		subscriptions = append(subscriptions, b.Subscriptions()...)
	}
	errs := together(subscriptions, func(s *pubsub.Subscription) error { return s.Close(ctx) })
	return errors.Join(append(errs, together(brokers, func(b *pubsub.Client) error { return b.Close(ctx) })...)...)
}

// together calls a function with each of a list at once, and waits for all.
func together[T any](list []T, f func(T) error) []error {
	errs := make([]error, len(list))
	var wait sync.WaitGroup
	for i, x := range list {
		wait.Go(func() { errs[i] = f(x) })
	}
	wait.Wait()
	return errs
}
