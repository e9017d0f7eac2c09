package config

// document is the file. The comments of its types are the schema's descriptions.
type document struct {
	// Broker is the broker of the topics that name none. It may be left out if there is one broker.
	Broker string `yaml:"broker"`
	// Brokers are what topics are on, by name.
	Brokers map[string]broker `yaml:"brokers"`
	// Defaults are what topics and subscriptions have that do not say otherwise.
	Defaults defaults `yaml:"defaults"`
	// Topics are what is published to, by the name that code uses.
	Topics map[string]topic `yaml:"topics"`
	// Subscriptions are what is received, by the name that code uses.
	Subscriptions map[string]subscription `yaml:"subscriptions"`
}

// broker is how a broker is reached.
type broker struct {
	// URL names the broker; its scheme chooses the driver.
	URL string `yaml:"url"`
	// User is the name to log in with, if the URL has none.
	User string `yaml:"user"`
	// Password is a reference to the password: file:PATH or env:NAME.
	Password reference `yaml:"password"`
	// Params are parameters of the URL, beside those that it has.
	Params map[string]string `yaml:"params"`
	// Secrets are parameters of the URL whose values are references: file:PATH or env:NAME.
	Secrets map[string]reference `yaml:"secrets"`
	// Reconnect is how long to wait between attempts to reach a broker that is away.
	Reconnect backoff `yaml:"reconnect"`
}

// backoff is how long to wait between attempts.
type backoff struct {
	// Min is the wait after the first attempt; default 200ms.
	Min span `yaml:"min"`
	// Max bounds every wait; default 30s.
	Max span `yaml:"max"`
	// Factor is what each wait is to the one before; default 2.
	Factor factor `yaml:"factor"`
	// Jitter is how much of a wait is left to chance, from 0 to 1; default 0.2.
	Jitter share `yaml:"jitter"`
}

// defaults are for topics and subscriptions that do not say otherwise.
type defaults struct {
	// Topic is for topics.
	Topic topicPolicy `yaml:"topic"`
	// Subscription is for subscriptions.
	Subscription policy `yaml:"subscription"`
}

// topic is what is published to.
type topic struct {
	// Name is its name on the broker; default: its name here.
	Name string `yaml:"name"`
	// Broker is the broker that it is on, instead of the file's.
	Broker string `yaml:"broker"`
	topicPolicy
	// Settings are drivers' own, by the driver's scheme. Those of the topic's broker are used.
	Settings map[string]map[string]string `yaml:"settings"`
}

// declaringNothing is the topic for who looks at what is there.
func (t topic) declaringNothing() topic {
	if t.Topology != "assume" {
		t.Topology = "verify"
	}
	return t
}

// topicPolicy is what topics may share.
type topicPolicy struct {
	// Kind is event, which any number of groups read, or queue, where each message is handled once; default event.
	Kind kind `yaml:"kind"`
	// Ordered keeps messages with the same key in order.
	Ordered bool `yaml:"ordered"`
	// Topology is what opening does about topics, groups and queues on the broker: create makes what is missing, verify only compares, assume does neither; default create.
	Topology topology `yaml:"topology"`
	// Publish is for publishers.
	Publish publish `yaml:"publish"`
}

// publish is for publishers.
type publish struct {
	// Limit bounds what was published and is not yet confirmed; default 10000 messages, 64MiB. Beyond it, publishing waits.
	Limit limit `yaml:"limit"`
	// Batch is how much is sent to the broker together; default: the driver's own.
	Batch batch `yaml:"batch"`
	// ContinueAfterFailure has messages of a key sent although an earlier one failed for good, which leaves a gap.
	ContinueAfterFailure bool `yaml:"continue-after-failure"`
}

// limit bounds messages and bytes at once.
type limit struct {
	// Messages is the largest number of messages.
	Messages count `yaml:"messages"`
	// Bytes is the largest number of bytes.
	Bytes size `yaml:"bytes"`
}

// batch is how much goes to the broker at once.
type batch struct {
	// Messages is the largest number of messages.
	Messages count `yaml:"messages"`
	// Bytes is the largest number of bytes.
	Bytes size `yaml:"bytes"`
	// Linger is how long a batch that is not full waits for company while earlier ones are under way.
	Linger pause `yaml:"linger"`
}

// subscription is what is received.
type subscription struct {
	// Topic is the topic's name in this file.
	Topic string `yaml:"topic"`
	// Group is the group's name. A topic of kind queue has none.
	Group string `yaml:"group"`
	// Broadcast, instead of a group, gets a copy of everything that is published while it receives.
	Broadcast bool `yaml:"broadcast"`
	policy
	// Settings are drivers' own, by the driver's scheme. Those of the topic's broker are used.
	Settings map[string]map[string]string `yaml:"settings"`
}

// policy is what subscriptions may share.
type policy struct {
	// Concurrency is how many handlers run at a time; default 16.
	Concurrency count `yaml:"concurrency"`
	// InFlight bounds what was received and is not yet done; default 1000 messages, 3000 on Kafka, and 64MiB.
	InFlight limit `yaml:"in-flight"`
	// Settle is how many acknowledgements are sent to the broker together; default: the driver's own.
	Settle batch `yaml:"settle"`
	// Retry is how long a message stays away after it failed.
	Retry backoff `yaml:"retry"`
	// RetryInPlace calls the handler again at once, for failures that pass in seconds.
	RetryInPlace inPlace `yaml:"retry-in-place"`
	// MaxAttempts is after how many failed attempts a message is given up. Without it, an ordinary error is tried again for ever.
	MaxAttempts count `yaml:"max-attempts"`
	// DeadLetter is where messages go that failed permanently or were given up.
	DeadLetter deadLetter `yaml:"dead-letter"`
	// DropPermanent drops them instead, and logs an error.
	DropPermanent bool `yaml:"drop-permanent"`
	// Timeout ends the context of a handler that runs longer.
	Timeout span `yaml:"timeout"`
	// MaxHandling is how long one message is kept leased at most, waiting for a retry included; default 1h.
	MaxHandling span `yaml:"max-handling"`
	// Lease is how long the broker waits for a sign of life before it gives a message to another member. It is extended while handlers run.
	Lease span `yaml:"lease"`
	// Drain is how long running handlers may go on after a shutdown began; default 30s.
	Drain span `yaml:"drain"`
}

// inPlace is how a handler is called again in place.
type inPlace struct {
	// Attempts is how often it is called at most, the first time included.
	Attempts count `yaml:"attempts"`
	backoff
}

// deadLetter is where messages go that failed for good.
type deadLetter struct {
	// Topic is a topic of this file of kind queue.
	Topic string `yaml:"topic"`
	// By is who moves them: middleware, which works on every broker, or broker; default middleware.
	By taker `yaml:"by"`
	// Timeout bounds the middleware's write; default 10s.
	Timeout span `yaml:"timeout"`
}
