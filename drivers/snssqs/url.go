package snssqs

import (
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func init() {
	driver.Register("snssqs", open)
	driver.RegisterSettings(driver.Settings{Topic: readTopic, Subscription: readSubscription}, "snssqs")
}

// readTopic makes a topic's Settings of a file's words. The queue's name is of a topic that
// is a queue.
func readTopic(p *driver.Params) []any {
	var s Settings
	p.String("topic-arn", &s.TopicARN)
	p.String("queue-name", &s.QueueName)
	s.read(p)
	return []any{s}
}

func readSubscription(p *driver.Params) []any {
	var s Settings
	p.String("queue-name", &s.QueueName)
	p.String("undelivered-queue", &s.UndeliveredQueue)
	return []any{s}
}

// read reads what the URL has too.
func (s *Settings) read(p *driver.Params) {
	p.Duration("retention", &s.Retention)
	p.String("kms-key", &s.KMSKey)
	p.Bool("fair-queues", &s.FairQueues)
	p.Bool("content-deduplication", &s.ContentDeduplication)
}

func open(u *url.URL) (driver.Driver, error) {
	if u.User != nil || u.Port() != "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return nil, invalid("URL: want snssqs://REGION, with parameters after a ?, and nothing else")
	}
	c := Config{Region: u.Host}
	var key, secret, token string
	p := driver.ParseParams(u)
	p.String("endpoint", &c.Endpoint)
	p.String("profile", &c.Profile)
	p.String("access-key", &key)
	p.String("secret-key", &secret)
	p.String("session-token", &token)
	p.String("account", &c.Account)
	p.String("prefix", &c.Prefix)
	p.Duration("wait", &c.Wait)
	p.Duration("poll-grace", &c.PollGrace)
	p.Int("parallel", &c.Parallel)
	p.Int("message-bytes", &c.MessageBytes)
	c.read(p)
	if err := p.End(); err != nil {
		return nil, err
	}
	switch {
	case (key == "") != (secret == "") || token != "" && key == "":
		return nil, invalid("URL: access-key and secret-key go together")
	case key != "":
		c.Credentials = credentials.NewStaticCredentialsProvider(key, secret, token)
	}
	return New(c)
}
