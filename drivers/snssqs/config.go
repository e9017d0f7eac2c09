package snssqs

import (
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Config is how to reach Amazon, and what topics and queues are like. The zero value
// takes region and credentials from where Amazon's tools take them.
type Config struct {
	// Region, Endpoint and Profile, unless empty, come before what the environment says.
	Region, Endpoint, Profile string
	// Credentials come before what the environment says.
	Credentials aws.CredentialsProvider
	// AWS is a configuration that was loaded elsewhere, whose Logger is told what the SDK
	// logs: else nobody is. Profile is of no use beside it.
	AWS *aws.Config
	// Account is the account's number. Else the credentials tell it, or STS does when
	// it is first needed; behind an Endpoint it is 000000000000, as with emulators.
	Account string
	// Prefix begins the names of all topics and queues.
	Prefix string
	// Wait is how long a poll waits for messages; default and at most 20 s.
	Wait time.Duration
	// PollGrace is how long the polls that run when a subscription closes may go on before
	// they are cut; default 2 s. What SQS hands to one that was cut comes again a lease
	// later: with a PollGrace above Wait none is cut, and closing takes as long as Wait.
	PollGrace time.Duration
	// Parallel is how many requests of a kind a topic or subscription makes at a
	// time; default 32. A subscription's polls and deletions count together, while
	// there is a backlog; else there is one poll.
	Parallel int
	// MessageBytes is the largest message, with its headers; default and at most 1 MiB.
	MessageBytes int
	// Settings are for every topic and subscription. They name no queue or topic.
	Settings
}

// Settings are what one topic or subscription is like, for pubsub.Settings. A zero
// field leaves it to Config.
type Settings struct {
	// QueueName is the group's or queue's SQS queue; default: the topic's name, with
	// the group's behind it.
	QueueName string
	// TopicARN is the event topic, which may be of another account.
	TopicARN string
	// UndeliveredQueue is the SQS queue of what SNS cannot deliver to the group's queue, such as for
	// want of the right to use its key. Else SNS drops that after a while. It ends in .fifo
	// where the topic is ordered.
	UndeliveredQueue string
	// Retention is how long a queue that is created keeps messages; default 4 days, and
	// for dead letters 14.
	Retention time.Duration
	// KMSKey encrypts a topic or queue that is created. Its policy must let SNS use it.
	KMSKey string
	// FairQueues gives messages on standard topics their keys as message groups, so
	// that SQS serves keys fairly.
	FairQueues bool
	// ContentDeduplication lets FIFO drop messages with the body of one that was sent
	// within five minutes, whatever their IDs. Else equal IDs are dropped.
	ContentDeduplication bool
	// Tags are given to what is created.
	Tags map[string]string
}

// The limits of SQS.
const (
	longestWait     = 20 * time.Second
	longestHidden   = 12 * time.Hour              // from its receipt
	longestHold     = longestHidden - time.Minute // for what passes before the engine counts
	longestDelay    = 15 * time.Minute
	largestMessage  = 1 << 20
	batchMessages   = 10
	attributeLimit  = 10
	defaultParallel = 32
	defaultLease    = 30 * time.Second
	deadRetention   = 14 * 24 * time.Hour // the longest: what SQS moves is as old as it was
)

// Driver opens connections. New makes one.
type Driver struct{ config Config }

// New checks a configuration. It does not connect.
func New(c Config) (*Driver, error) {
	c.Wait = or(c.Wait, longestWait)
	c.PollGrace = or(c.PollGrace, 2*shortWait) // only a long poll is cut
	c.Parallel = or(c.Parallel, defaultParallel)
	c.MessageBytes = or(c.MessageBytes, largestMessage)
	switch {
	case c.Wait < time.Second || c.Wait > longestWait || c.Wait%time.Second != 0:
		return nil, invalid("wait %v: want whole seconds, from 1s to 20s", c.Wait)
	case c.PollGrace < 0:
		return nil, invalid("PollGrace %v is negative", c.PollGrace)
	case c.Parallel < 1:
		return nil, invalid("parallel %d: want 1 or more", c.Parallel)
	case c.MessageBytes < 1024 || c.MessageBytes > largestMessage:
		return nil, invalid("message-bytes %d: want 1024 to %d", c.MessageBytes, largestMessage)
	case c.Account != "" && !accountNumber(c.Account):
		return nil, invalid("account: want a number of twelve digits")
	case c.Endpoint != "" && !strings.HasPrefix(c.Endpoint, "http://") && !strings.HasPrefix(c.Endpoint, "https://"):
		return nil, invalid("endpoint: want a URL such as http://localhost:4566")
	case c.QueueName != "" || c.TopicARN != "" || c.UndeliveredQueue != "":
		return nil, invalid("QueueName, TopicARN and UndeliveredQueue belong to one topic: give them with pubsub.Settings")
	case c.AWS != nil && c.Profile != "":
		return nil, invalid("Profile and AWS are both given: the profile is of no use beside a loaded configuration")
	}
	return &Driver{config: c}, c.Settings.validate()
}

func (s *Settings) validate() error {
	if s.Retention != 0 && (s.Retention < time.Minute || s.Retention > 14*24*time.Hour || s.Retention%time.Second != 0) {
		return invalid("retention %v: want whole seconds, from a minute to 14 days", s.Retention)
	}
	if part := strings.Split(s.TopicARN, ":"); s.TopicARN != "" && (len(part) != 6 || part[0] != "arn" || part[2] != "sns" || !accountNumber(part[4]) || part[5] == "") {
		return invalid("topic ARN %q: want one such as arn:aws:sns:eu-west-1:123456789012:orders", s.TopicARN)
	}
	return nil
}

// settings lays a request's settings over the configuration's.
func (c *Config) settings(r *driver.TopicRequest) (Settings, error) {
	s := c.Settings
	for _, setting := range r.Settings {
		own, ok := setting.(Settings)
		if !ok {
			return s, invalid("settings of type %T are not this driver's: want snssqs.Settings", setting)
		}
		if err := own.validate(); err != nil {
			return s, err
		}
		s.QueueName = or(own.QueueName, s.QueueName)
		s.TopicARN = or(own.TopicARN, s.TopicARN)
		s.UndeliveredQueue = or(own.UndeliveredQueue, s.UndeliveredQueue)
		s.Retention = or(own.Retention, s.Retention)
		s.KMSKey = or(own.KMSKey, s.KMSKey)
		s.FairQueues = own.FairQueues || s.FairQueues
		s.ContentDeduplication = own.ContentDeduplication || s.ContentDeduplication
		if len(own.Tags) > 0 {
			s.Tags = with(s.Tags, own.Tags)
		}
	}
	return s, nil
}

// with is a copy of a map with what another has beside it, or instead.
func with(m, more map[string]string) map[string]string {
	both := make(map[string]string, len(m)+len(more))
	maps.Copy(both, m)
	maps.Copy(both, more)
	return both
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func accountNumber(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

func invalid(format string, args ...any) error {
	return driver.Errorf(driver.CodeInvalid, "snssqs: "+format, args...)
}

func (c *Config) capabilities(region string) driver.Capabilities {
	return driver.Capabilities{
		Broker: "Amazon SNS/SQS (" + region + ")",
		Groups: true, Queues: true, Broadcast: true, Ordered: true, DeadLetter: true,
		ShowsMismatch: true, Competing: true,
		Attempts:     driver.AtLeast,
		PublishDelay: longestDelay, RetryDelay: longestHold, RetryInHold: true, OrderedRetry: driver.WithTail,
		Lease: defaultLease, Hold: longestHold,
		MessageBytes: c.MessageBytes, TextHeaders: true,
		SendBatch: driver.Batch{Messages: batchMessages, Bytes: c.MessageBytes, Linger: 10 * time.Millisecond},
		// Several requests go out at once for one batch of settlements.
		SettleBatch:   driver.Batch{Messages: batchMessages * c.Parallel, Linger: 100 * time.Millisecond},
		SettleRequest: batchMessages,
		SendsPerKey:   1, ResendUnknown: true, SettleConfirmed: true, Backlog: true,
	}
}
