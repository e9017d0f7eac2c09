package config

import (
	"context"
	"errors"

	"github.com/waybill-go/waybill/pubsub"
)

// Plan tells what a file comes to on its brokers as they are now. It marshals to JSON,
// and String is for people. It has no secrets.
type Plan struct {
	// File is the file's path.
	File string `json:"file"`
	// Brokers are those that topics are on, in the order of the file.
	Brokers []BrokerPlan `json:"brokers"`

	faults faults
}

// BrokerPlan is the part of one broker.
type BrokerPlan struct {
	// Name is the broker's in the file.
	Name string `json:"name"`
	// URL is where it is, without user, password and parameters.
	URL string `json:"url"`
	// Broker is what answered there: its name and version.
	Broker string `json:"broker"`
	// Promises are all that users are promised, and how this broker keeps each.
	Promises []Promise `json:"promises"`
	// Topics and Subscriptions are in the order of the file.
	Topics []Item `json:"topics"`
	// Subscriptions are those of the broker's topics.
	Subscriptions []Item `json:"subscriptions"`
}

// Promise is a pubsub.Promise in words.
type Promise struct {
	// Name is the promise's.
	Name string `json:"name"`
	// Means is native, engine, both, or not offered.
	Means string `json:"means"`
	// Detail is its limit or precision; may be empty.
	Detail string `json:"detail,omitempty"`
}

// Item is a topic or a subscription.
type Item struct {
	// Name is its name in the file.
	Name string `json:"name"`
	// Topic is the topic's name on the broker.
	Topic string `json:"topic"`
	// Kind is event or queue.
	Kind string `json:"kind"`
	// Ordered says whether the topic keeps the order of a key.
	Ordered bool `json:"ordered"`
	// Group is a subscription's; empty for a queue and a broadcast.
	Group string `json:"group,omitempty"`
	// Broadcast is true for a subscription that gets a copy of everything.
	Broadcast bool `json:"broadcast,omitempty"`
	// DeadLetter is the dead-letter topic's name on its broker; empty: dropped and logged.
	DeadLetter string `json:"deadLetter,omitempty"`
	// Action is what opening it would do.
	Action Action `json:"action"`
	// Promises are those that it rests on.
	Promises []Promise `json:"promises"`
	// Problems are why opening it would fail.
	Problems []string `json:"problems,omitempty"`
}

// Action is what opening a topic or a subscription would do on the broker.
type Action string

const (
	// Declare: it is missing, all or in part, and would be made.
	Declare Action = "declare"
	// Keep: it is there as it should be.
	Keep Action = "keep"
	// Trust: topology assume does not look.
	Trust Action = "trust"
	// Fail: opening it would fail; Problems say why.
	Fail Action = "fail"
)

// Plan connects to the brokers and looks: it declares nothing. It fails where a broker
// cannot be reached; what else would fail is in the Plan, and in its Err.
func (c *Config) Plan(ctx context.Context) (*Plan, error) {
	brokers, err := c.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	client := &Client{config: c, brokers: brokers}
	p := &Plan{File: c.file, faults: faults{file: c.file, places: c.places}}
	for _, name := range c.used() {
		p.Brokers = append(p.Brokers, client.plan(ctx, name, &p.faults))
	}
	return p, client.Close(ctx)
}

// Apply declares what is missing: it plans, and if nothing would fail it opens each
// topic and subscription as the file says, and closes them. The Plan is that of before.
func (c *Config) Apply(ctx context.Context) (*Plan, error) {
	p, err := c.Plan(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.Err(); err != nil {
		return p, err
	}
	client, err := c.Client(ctx)
	if err != nil {
		return p, err
	}
	return p, errors.Join(client.declare(ctx), client.Close(ctx))
}

func (c *Client) declare(ctx context.Context) error {
	for _, name := range c.config.Topics() {
		if _, err := c.Publisher(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range c.config.Subscriptions() {
		if _, err := c.Subscriber(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Err joins what would fail, as *Errors with their places; nil if nothing would.
func (p *Plan) Err() error { return p.faults.err() }

// plan looks at one broker.
func (c *Client) plan(ctx context.Context, name string, f *faults) BrokerPlan {
	b, caps := c.config.doc.Brokers[name], c.brokers[name].Capabilities()
	plan := BrokerPlan{
		Name: name, URL: b.place(), Broker: caps.String(), Promises: inWords(pubsub.Promises(caps)),
		Topics: []Item{}, Subscriptions: []Item{},
	}
	for _, name := range c.config.Topics() {
		if t := c.config.doc.Topics[name]; t.Broker == plan.Name {
			plan.Topics = append(plan.Topics, c.planTopic(ctx, name, t, caps, f))
		}
	}
	for _, name := range c.config.Subscriptions() {
		s := c.config.doc.Subscriptions[name]
		if t := c.config.doc.Topics[s.Topic]; t.Broker == plan.Name {
			plan.Subscriptions = append(plan.Subscriptions, c.planSubscription(ctx, name, s, t, caps, f))
		}
	}
	return plan
}

func (c *Client) planTopic(ctx context.Context, name string, t topic, caps pubsub.Capabilities, f *faults) Item {
	item := Item{Name: name, Topic: t.Name, Kind: string(t.Kind), Ordered: t.Ordered}
	key, before := under("topics", name), len(f.list)
	item.Promises = inWords(meetsTopic(key, t, caps, f))
	item.decide(f, key, t.Topology, before, func() error { return c.verifyTopic(ctx, t) })
	return item
}

func (c *Client) planSubscription(ctx context.Context, name string, s subscription, t topic, caps pubsub.Capabilities, f *faults) Item {
	item := Item{
		Name: name, Topic: t.Name, Kind: string(t.Kind), Ordered: t.Ordered, Group: s.Group, Broadcast: s.Broadcast,
		DeadLetter: c.config.doc.Topics[s.DeadLetter.Topic].Name,
	}
	key, before := under("subscriptions", name), len(f.list)
	item.Promises = inWords(meetsSubscription(key, s, t, caps, f))
	item.decide(f, key, t.Topology, before, func() error { return c.verifySubscription(ctx, s) })
	return item
}

// verifyTopic finds whether a topic is on its broker as the file says.
func (c *Client) verifyTopic(ctx context.Context, t topic) error {
	options, err := c.config.publisherOptions(t)
	if err != nil {
		return err
	}
	opened, err := c.brokers[t.Broker].Publisher(ctx, t.Name, append(options, pubsub.Topology(pubsub.Verify))...)
	if err != nil {
		return err
	}
	return opened.Close(ctx)
}

// verifySubscription does so for a subscription.
func (c *Client) verifySubscription(ctx context.Context, s subscription) error {
	options, err := c.config.subscriberOptions(s)
	if err != nil {
		return err
	}
	poison := []pubsub.SubscriberOption{pubsub.DropPermanent()} // as far as the broker knows
	if s.DeadLetter.By == "broker" {
		poison = c.config.poisonOption(s, nil)
	}
	options = append(options, append(poison, pubsub.Topology(pubsub.Verify))...)
	t := c.config.doc.Topics[s.Topic]
	opened, err := c.brokers[t.Broker].Subscriber(ctx, t.Name, options...)
	if err != nil {
		return err
	}
	return opened.Close(ctx)
}

// decide finds the action. look opens the item to verify it; it is not called where
// faults were found already, from the given one on, or nobody is to look.
func (i *Item) decide(f *faults, key string, t topology, from int, look func() error) {
	i.Action = Keep
	if t == "assume" {
		i.Action = Trust
	}
	if len(f.list) == from && i.Action == Keep {
		err := look()
		switch code := pubsub.CodeOf(err); {
		case err == nil:
		case code == pubsub.CodeNotFound && topologies[t] == pubsub.Create:
			i.Action = Declare
		default:
			f.at(key, err)
		}
	}
	for _, e := range f.list[from:] {
		i.Action = Fail
		i.Problems = append(i.Problems, e.Error())
	}
}

func inWords(list []pubsub.Promise) []Promise {
	words := make([]Promise, len(list))
	for i, p := range list {
		words[i] = Promise{p.Name, p.Means.String(), p.Detail}
	}
	return words
}
