package snssqs

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// The attributes that are made or compared.
const (
	policyAttribute    = string(types.QueueAttributeNamePolicy)
	redriveAttribute   = string(types.QueueAttributeNameRedrivePolicy)
	retentionAttribute = string(types.QueueAttributeNameMessageRetentionPeriod)
	kmsAttribute       = string(types.QueueAttributeNameKmsMasterKeyId)
	contentAttribute   = string(types.QueueAttributeNameContentBasedDeduplication)
	sizeAttribute      = string(types.QueueAttributeNameMaximumMessageSize)
	rawAttribute       = "RawMessageDelivery"
)

// redriveSlack is how often a message may be received beyond its attempts before SQS
// itself gives it up: what is returned unstarted counts there too. The driver counts
// attempts, so this is for members that die of a message.
const redriveSlack = 10

func (c *conn) Declare(ctx context.Context, r driver.SubscribeRequest) error {
	p, err := c.plan(ctx, &r)
	if err != nil || p.topology == driver.Assume {
		return err
	}
	if p.topic != "" {
		if err := c.declareTopic(ctx, p); err != nil {
			return err
		}
	}
	if p.dead.name != "" {
		if err := c.declareQueue(ctx, p, p.dead, nil); err != nil {
			return err
		}
	}
	if p.queue.name == "" {
		return nil
	}
	if q := p.undelivered; q.name != "" {
		if err := c.declareQueue(ctx, p, q, map[string]string{policyAttribute: policyFor(q.arn, p.topic)}); err != nil {
			return err
		}
	}
	attributes := map[string]string{}
	if p.topic != "" {
		attributes[policyAttribute] = policyFor(p.queue.arn, p.topic)
	}
	if p.attempts > 0 && !p.fifo {
		attributes[redriveAttribute] = redrive(p.dead.arn, min(p.attempts+redriveSlack, 1000))
	}
	if err := c.declareQueue(ctx, p, p.queue, attributes); err != nil || p.topic == "" {
		return err
	}
	_, err = c.subscribe(ctx, p, p.queue)
	return err
}

// declareTopic makes or verifies an SNS topic.
func (c *conn) declareTopic(ctx context.Context, p *plan) error {
	name := p.topic[strings.LastIndex(p.topic, ":")+1:]
	there, err := c.sns.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &p.topic})
	err = c.fail("sns:GetTopicAttributes", quoted("topic", name), err)
	switch code := driver.CodeOf(err); {
	case err == nil && p.KMSKey != "" && there.Attributes[kmsAttribute] != p.KMSKey:
		return differs("topic", name, kmsAttribute, there.Attributes[kmsAttribute], p.KMSKey)
	case err == nil && p.fifo && p.ContentDeduplication && there.Attributes[contentAttribute] != "true":
		return differs("topic", name, contentAttribute, there.Attributes[contentAttribute], "true")
	case err == nil:
		if most, err := strconv.Atoi(there.Attributes[sizeAttribute]); err == nil {
			p.limit = min(p.limit, most)
		}
		return nil
	case code == driver.CodePermissionDenied && p.topology == driver.Create && p.TopicARN == "":
	case code != driver.CodeNotFound:
		return err
	default:
		if _, e := c.sns.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(other(p.topic))}); e == nil {
			return mismatch("topic", other(name), p.fifo)
		}
		if p.topology == driver.Verify || p.TopicARN != "" {
			return err
		}
	}
	attributes := map[string]string{sizeAttribute: strconv.Itoa(c.config.MessageBytes)}
	if p.KMSKey != "" {
		attributes[kmsAttribute] = p.KMSKey
	}
	if p.fifo {
		attributes["FifoTopic"] = "true"
		attributes[contentAttribute] = strconv.FormatBool(p.ContentDeduplication)
	}
	c.made("topic " + p.topic)
	_, err = c.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name, Attributes: attributes, Tags: topicTags(p.Tags)})
	return c.fail("sns:CreateTopic", quoted("topic", name), err)
}

func (c *conn) attributes(ctx context.Context, q queue) (map[string]string, error) {
	out, err := c.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return nil, c.fail("sqs:GetQueueAttributes", quoted("queue", q.name), err)
	}
	return out.Attributes, nil
}

// declareQueue makes or verifies a queue with these attributes and the plan's.
func (c *conn) declareQueue(ctx context.Context, p *plan, q queue, attributes map[string]string) error {
	fifo := strings.HasSuffix(q.name, fifoSuffix)
	want := with(attributes, nil)
	fed := want[policyAttribute] != "" // by a topic
	if fed && closedToSNS(p.KMSKey) {
		return closed(driver.CodeInvalid, q.name)
	}
	if p.Retention > 0 {
		want[retentionAttribute] = strconv.Itoa(int(p.Retention / time.Second))
	}
	if p.KMSKey != "" {
		want[kmsAttribute] = p.KMSKey
	}
	if fifo && p.ContentDeduplication {
		want[contentAttribute] = "true"
	}
	there, err := c.attributes(ctx, q)
	switch {
	case err == nil && fed && closedToSNS(there[kmsAttribute]):
		return closed(driver.CodeConflict, q.name)
	case err == nil && fed && tooSmall(there[sizeAttribute], p.limit):
		return driver.Errorf(driver.CodeConflict, "snssqs: queue %q takes messages of at most %s bytes, and its topic of %d: SNS would lose the larger ones: "+
			"raise the queue's MaximumMessageSize, or lower message-bytes", q.name, there[sizeAttribute], p.limit)
	case err == nil:
		return c.compare(ctx, p, q, there, want)
	case driver.CodeOf(err) != driver.CodeNotFound:
		return err
	}
	sibling := queue{name: other(q.name), url: other(q.url)}
	if _, e := c.attributes(ctx, sibling); e == nil {
		return mismatch("queue", sibling.name, fifo)
	}
	if p.topology != driver.Create {
		return err
	}
	if fifo {
		want[string(types.QueueAttributeNameFifoQueue)] = "true"
	}
	if q == p.dead && p.Retention == 0 {
		want[retentionAttribute] = strconv.Itoa(int(deadRetention / time.Second))
	}
	c.made(quoted("queue", q.name))
	_, err = c.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q.name, Attributes: want, Tags: p.Tags})
	err = c.fail("sqs:CreateQueue", quoted("queue", q.name), err)
	if driver.CodeOf(err) != driver.CodeConflict {
		return err
	}
	// Another made it in the meantime.
	if there, err = c.attributes(ctx, q); err != nil {
		return err
	}
	delete(want, string(types.QueueAttributeNameFifoQueue))
	return c.compare(ctx, p, q, there, want)
}

// compare names what differs at a queue that is there. A policy that is missing is added.
func (c *conn) compare(ctx context.Context, p *plan, q queue, there, want map[string]string) error {
	missing := map[string]string{}
	for name, value := range want {
		got := there[name]
		switch {
		case got == "" && (name == policyAttribute || name == redriveAttribute) && p.topology == driver.Create:
			missing[name] = value
		case name == policyAttribute:
			if !lets(got, q.arn, p.topic) {
				return driver.Errorf(driver.CodeConflict,
					"snssqs: the policy of queue %q does not let %s in, which would lose its messages: allow sns.amazonaws.com "+
						"sqs:SendMessage where aws:SourceArn is the topic", q.name, p.topic)
			}
		case name == redriveAttribute:
			if err := redrives(got, q.name, p); err != nil {
				return err
			}
		case got != value:
			return differs("queue", q.name, name, got, value)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err := c.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &q.url, Attributes: missing})
	return c.fail("sqs:SetQueueAttributes", quoted("queue", q.name), err)
}

// closedToSNS says whether a key is Amazon's own for SQS, whose policy nobody can change.
func closedToSNS(key string) bool { return strings.HasSuffix(key, "alias/aws/sqs") }

func closed(code driver.Code, queue string) error {
	return driver.Errorf(code, "snssqs: queue %q: SNS may not use the key alias/aws/sqs, and would lose the topic's messages: "+
		"use a key whose policy lets sns.amazonaws.com use it", queue)
}

// tooSmall says whether a queue refuses what its topic takes.
func tooSmall(size string, limit int) bool {
	most, err := strconv.Atoi(size)
	return err == nil && most < limit
}

func differs(what, name, attribute, got, want string) error {
	return driver.Errorf(driver.CodeConflict, "snssqs: %s %q has %s %q, asked for is %q", what, name, attribute, got, want)
}

// A redrivePolicy says when SQS gives a message up by itself.
type redrivePolicy struct {
	Target string      `json:"deadLetterTargetArn"`
	Count  json.Number `json:"maxReceiveCount,omitempty"` // SNS has none
}

func redrive(target string, count int) string {
	r := redrivePolicy{Target: target}
	if count > 0 {
		r.Count = json.Number(strconv.Itoa(count))
	}
	text, _ := json.Marshal(r) //nolint:errchkjson // strings
	return string(text)
}

// redrives says what is wrong with a redrive policy.
func redrives(text, name string, p *plan) error {
	var r redrivePolicy
	if err := json.Unmarshal([]byte(text), &r); err != nil && text != "" {
		return driver.Wrap(driver.CodeConflict, "snssqs: the redrive policy of "+quoted("queue", name), err)
	}
	count, _ := strconv.Atoi(string(r.Count))
	switch {
	case r.Target != p.dead.arn:
		return differs("queue", name, redriveAttribute+" to", r.Target, p.dead.arn)
	case count < p.attempts:
		return driver.Errorf(driver.CodeConflict,
			"snssqs: queue %q gives a message up after %d receipts, before its %d attempts: raise maxReceiveCount, better "+
				"to %d, for messages returned unstarted count too", name, count, p.attempts, p.attempts+redriveSlack)
	}
	return nil
}

// subscribe makes or verifies a queue's subscription, and returns its ARN.
func (c *conn) subscribe(ctx context.Context, p *plan, q queue) (string, error) {
	find := c.attach
	if p.topology == driver.Verify {
		find = c.subscription
	}
	arn, err := find(ctx, p.topic, q)
	if err != nil {
		return "", err
	}
	out, err := c.sns.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &arn})
	switch err = c.fail("sns:GetSubscriptionAttributes", "subscription "+arn, err); {
	case driver.CodeOf(err) == driver.CodePermissionDenied:
		return arn, nil // nothing can be seen; without raw delivery it is read all the same
	case err != nil:
		return "", err
	case out.Attributes[rawAttribute] != "true":
		return "", differs("subscription of queue", q.name, rawAttribute, out.Attributes[rawAttribute], "true")
	}
	return arn, c.undelivered(ctx, p, q, arn, out.Attributes[redriveAttribute])
}

// undelivered sets or verifies where SNS puts what it cannot deliver.
func (c *conn) undelivered(ctx context.Context, p *plan, q queue, subscription, there string) error {
	var r redrivePolicy
	switch _ = json.Unmarshal([]byte(there), &r); {
	case p.undelivered.name == "" || r.Target == p.undelivered.arn:
		return nil
	case there != "" || p.topology == driver.Verify:
		return differs("subscription of queue", q.name, redriveAttribute+" to", r.Target, p.undelivered.arn)
	}
	_, err := c.sns.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: &subscription, AttributeName: aws.String(redriveAttribute), AttributeValue: aws.String(redrive(p.undelivered.arn, 0)),
	})
	return c.fail("sns:SetSubscriptionAttributes", "subscription "+subscription, err)
}

// attach makes a queue's subscription, or finds it.
func (c *conn) attach(ctx context.Context, topic string, q queue) (string, error) {
	out, err := c.sns.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &q.arn,
		Attributes: map[string]string{rawAttribute: "true"}, ReturnSubscriptionArn: true,
	})
	if err != nil {
		return "", c.fail("sns:Subscribe", "queue "+q.name+" to topic "+topic, err)
	}
	return aws.ToString(out.SubscriptionArn), nil
}

// subscription looks for a queue's subscription.
func (c *conn) subscription(ctx context.Context, topic string, q queue) (string, error) {
	pages := sns.NewListSubscriptionsByTopicPaginator(c.sns, &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", c.fail("sns:ListSubscriptionsByTopic", "topic "+topic, err)
		}
		for _, s := range page.Subscriptions {
			if aws.ToString(s.Endpoint) == q.arn {
				return aws.ToString(s.SubscriptionArn), nil
			}
		}
	}
	return "", driver.Errorf(driver.CodeNotFound, "snssqs: queue %q is not subscribed to %s", q.name, topic)
}

// lost says whether a request failed because what it wants to be gone is gone.
func lost(err error) bool {
	return err == nil || driver.CodeOf(err) == driver.CodeNotFound || errors.Is(err, errClosed)
}
