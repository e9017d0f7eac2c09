package snssqs

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// The tags of temporary queues: when their owners lived, and their subscriptions.
const (
	heartbeatTag    = "waybill-heartbeat" // seconds since 1970
	subscriptionTag = "waybill-subscription"

	heartbeatEvery = 5 * time.Minute
	abandonedAfter = 30 * time.Minute
)

// temporary is the queue of a broadcast subscription. It is deleted when that closes;
// after a crash its heartbeat ends, and the next to open one on the topic sweeps it away.
type temporary struct {
	conn         *conn
	queue        queue
	subscription string
	stop         context.CancelFunc
	beating      sync.WaitGroup
}

// broadcast makes a temporary queue that gets what is published from now on.
func (c *conn) broadcast(ctx context.Context, p *plan, r *driver.SubscribeRequest) (*temporary, error) {
	account, err := c.number(ctx)
	if err != nil {
		return nil, err
	}
	// Room for the random part, and for the suffix.
	stem := legalName(c.config.Prefix+strings.TrimSuffix(r.Topic, fifoSuffix)+"-broadcast", false, queueNameLimit-len(fifoSuffix)-13)
	c.sweep(ctx, account, p.topic, stem+"-")
	own := *p
	own.topology = driver.Create
	own.QueueName = stem + "-" + strings.ToLower(rand.Text()[:12])
	if p.fifo {
		own.QueueName += fifoSuffix
	}
	q, err := c.queue(account, "", &own)
	if err != nil {
		return nil, err
	}
	own.Tags = with(p.Tags, map[string]string{heartbeatTag: heartbeat()})
	t := &temporary{conn: c, queue: q}
	if err := c.declareQueue(ctx, &own, q, map[string]string{policyAttribute: policyFor(q.arn, p.topic)}); err != nil {
		return nil, err
	}
	if t.subscription, err = c.subscribe(ctx, &own, q); err != nil {
		return nil, errors.Join(err, t.drop(ctx))
	}
	beat, stop := context.WithCancel(c.Context())
	t.stop = stop
	t.tag(ctx)
	t.beating.Go(func() { t.beat(beat) })
	return t, nil
}

func heartbeat() string { return strconv.FormatInt(time.Now().Unix(), 10) }

// tag says that the owner lives. A tag that fails is set again in a while.
func (t *temporary) tag(ctx context.Context) {
	_, _ = t.conn.sqs.TagQueue(ctx, &sqs.TagQueueInput{
		QueueUrl: &t.queue.url, Tags: map[string]string{heartbeatTag: heartbeat(), subscriptionTag: t.subscription},
	})
}

func (t *temporary) beat(ctx context.Context) {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			t.tag(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (t *temporary) close(ctx context.Context) error {
	t.stop()
	t.beating.Wait()
	return t.drop(ctx)
}

// drop deletes the subscription, then the queue.
func (t *temporary) drop(ctx context.Context) error {
	if t.subscription != "" {
		_, err := t.conn.sns.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: &t.subscription})
		if err = t.conn.fail("sns:Unsubscribe", "subscription "+t.subscription, err); !lost(err) {
			return err
		}
	}
	_, err := t.conn.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &t.queue.url})
	if err = t.conn.fail("sqs:DeleteQueue", quoted("queue", t.queue.name), err); lost(err) {
		return nil
	}
	return err
}

// sweep deletes what crashed owners left. What it may not see or delete it leaves.
func (c *conn) sweep(ctx context.Context, account, topic, prefix string) {
	pages := sqs.NewListQueuesPaginator(c.sqs, &sqs.ListQueuesInput{QueueNamePrefix: &prefix, MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return
		}
		for _, url := range page.QueueUrls {
			tags, err := c.sqs.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url})
			if err != nil {
				continue
			}
			at, err := strconv.ParseInt(tags.Tags[heartbeatTag], 10, 64)
			if err != nil || time.Since(time.Unix(at, 0)) < abandonedAfter {
				continue
			}
			name := url[strings.LastIndex(url, "/")+1:]
			old := &temporary{conn: c, queue: queue{name, url, c.arn(account, "sqs", name)}, subscription: tags.Tags[subscriptionTag]}
			if old.subscription == "" { // its owner crashed before it was noted
				old.subscription, _ = c.subscription(ctx, topic, old.queue)
			}
			_ = old.drop(ctx)
		}
	}
}
