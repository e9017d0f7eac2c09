package gcppubsub

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// The labels that say what a topic was made as: Google itself does not know.
const (
	labelKind    = "waybill-kind"
	labelOrdered = "waybill-ordered"
)

// plan is a subscription as it should be, in full names.
type plan struct {
	request      driver.SubscribeRequest
	topic        string
	subscription string
	dead         string // topic; empty: none
	setting      Subscription
	lease        time.Duration
}

// plan names what a request is about.
func (c *conn) plan(r *driver.SubscribeRequest) (p plan, err error) {
	t, s, err := settings(r.Settings)
	if err != nil {
		return p, err
	}
	p.request, p.setting, p.lease = *r, s, r.Lease
	p.setting.ExactlyOnce = s.ExactlyOnce || c.config.ExactlyOnce
	if p.lease == 0 {
		p.lease = c.config.Lease
	}
	if p.lease%time.Second != 0 || p.lease < time.Second || p.lease > 600*time.Second {
		return p, driver.Errorf(driver.CodeInvalid, "gcppubsub: lease %v: want whole seconds, 1 to 600", p.lease)
	}
	topic := cmp.Or(t.Name, Name(r.Topic))
	name := topic
	switch {
	case r.Broadcast() && r.Member != "":
		name += ".member-" + strings.TrimPrefix(Name(r.Member), escaped)
	case r.Broadcast():
		name += ".member-" + strings.ToLower(rand.Text())
	case r.Kind == driver.Event:
		name += "." + strings.TrimPrefix(Name("_"+r.Group), escaped+"_")
	}
	if s.Name != "" && !r.Broadcast() {
		name = s.Name
	}
	if err := fits("topic", topic); err != nil {
		return p, err
	}
	if err := fits("subscription", name); err != nil {
		return p, err
	}
	p.topic, p.subscription = c.topicName(topic), c.subscriptionName(name)
	if d := r.DeadLetter; d != nil {
		if d.MaxAttempts != 0 && (d.MaxAttempts < 5 || d.MaxAttempts > 100) {
			return p, driver.Errorf(driver.CodeInvalid,
				"Google's dead letter takes 5 to 100 attempts, not %d; use middleware.DeadLetter for others", d.MaxAttempts)
		}
		p.dead = c.topicName(Name(d.Topic))
	}
	return p, nil
}

// prepare makes or verifies what a subscription needs.
func (c *conn) prepare(ctx context.Context, r *driver.SubscribeRequest) (p plan, err error) {
	if p, err = c.plan(r); err != nil {
		return p, err
	}
	topic := r.TopicRequest
	if r.Kind == driver.Queue && r.DeadLetter == nil {
		_, err = c.prepareTopic(ctx, &topic) // makes the subscription too
		return p, err
	}
	if err = c.declareTopic(ctx, p.topic, &topic); err != nil {
		return p, err
	}
	if r.DeadLetter != nil {
		dead := driver.TopicRequest{Topic: r.DeadLetter.Topic, Kind: driver.Queue, Topology: r.Topology}
		if _, err = c.prepareTopic(ctx, &dead); err != nil {
			return p, err
		}
	}
	if r.Broadcast() {
		return p, nil
	}
	return p, c.declareSubscription(ctx, &p)
}

// prepareTopic makes or verifies a topic, and a queue's subscription.
func (c *conn) prepareTopic(ctx context.Context, r *driver.TopicRequest) (string, error) {
	p, err := c.plan(&driver.SubscribeRequest{TopicRequest: *r})
	if err != nil {
		return "", err
	}
	if err := c.declareTopic(ctx, p.topic, r); err != nil {
		return "", err
	}
	if r.Kind == driver.Queue {
		err = c.declareSubscription(ctx, &p)
	}
	return p.topic, err
}

func (c *conn) declareTopic(ctx context.Context, name string, r *driver.TopicRequest) error {
	if r.Topology == driver.Assume {
		return nil
	}
	setting, _, _ := settings(r.Settings)
	want := &pubsubpb.Topic{Name: name, Labels: map[string]string{labelKind: r.Kind.String(), labelOrdered: strconv.FormatBool(r.Ordered)}}
	want.MessageRetentionDuration = period(setting.Retention)
	return declare(ctx, r.Topology, "topic", name,
		func(ctx context.Context) (*pubsubpb.Topic, error) {
			return c.client.Topics.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: name})
		},
		func(ctx context.Context) (*pubsubpb.Topic, error) { return c.client.Topics.CreateTopic(ctx, want) },
		func(got *pubsubpb.Topic) string {
			return differs(
				difference{"kind", got.Labels[labelKind], r.Kind.String(), got.Labels[labelKind] != ""},
				difference{"ordered", got.Labels[labelOrdered], strconv.FormatBool(r.Ordered), got.Labels[labelOrdered] != ""},
				difference{"retention", got.GetMessageRetentionDuration().AsDuration(), setting.Retention, setting.Retention != 0},
			)
		})
}

func (c *conn) declareSubscription(ctx context.Context, p *plan) error {
	if p.request.Topology == driver.Assume {
		return nil
	}
	want := p.subscriptionWanted()
	return declare(ctx, p.request.Topology, "subscription", p.subscription,
		func(ctx context.Context) (*pubsubpb.Subscription, error) {
			return c.client.Subscriptions.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: p.subscription})
		},
		func(ctx context.Context) (*pubsubpb.Subscription, error) {
			return c.client.Subscriptions.CreateSubscription(ctx, want)
		},
		func(got *pubsubpb.Subscription) string { return p.compare(got, want) })
}

func (p *plan) subscriptionWanted() *pubsubpb.Subscription {
	s := &p.setting
	want := &pubsubpb.Subscription{
		Name: p.subscription, Topic: p.topic,
		EnableMessageOrdering: p.request.Ordered, EnableExactlyOnceDelivery: s.ExactlyOnce,
		AckDeadlineSeconds: seconds(max(s.AckDeadline, 10*time.Second)), Filter: s.Filter, RetainAckedMessages: s.RetainAcked,
		MessageRetentionDuration: period(s.Retention),
	}
	if s.Expiry != 0 {
		want.ExpirationPolicy = &pubsubpb.ExpirationPolicy{Ttl: period(max(s.Expiry, 0))}
	}
	if s.RetryMin+s.RetryMax > 0 {
		want.RetryPolicy = &pubsubpb.RetryPolicy{MinimumBackoff: period(s.RetryMin), MaximumBackoff: period(s.RetryMax)}
	}
	if d := p.request.DeadLetter; d != nil && d.MaxAttempts > 0 {
		want.DeadLetterPolicy = &pubsubpb.DeadLetterPolicy{DeadLetterTopic: p.dead, MaxDeliveryAttempts: int32(d.MaxAttempts)} //nolint:gosec // up to 100
	}
	return want
}

// compare names how a subscription differs from what was asked.
func (p *plan) compare(got, want *pubsubpb.Subscription) string {
	s := &p.setting
	switch {
	case got.Detached:
		return "it is detached from its topic: delete it"
	case got.GetPushConfig().GetPushEndpoint() != "":
		return "it pushes to an endpoint, and cannot be pulled: name another group, or remove its push configuration"
	case got.BigqueryConfig != nil || got.CloudStorageConfig != nil:
		return "it exports to BigQuery or Cloud Storage, and cannot be pulled: name another group"
	}
	return differs(
		difference{"topic", got.Topic, want.Topic, true},
		difference{"ordered", got.EnableMessageOrdering, want.EnableMessageOrdering, true},
		difference{"exactly-once", got.EnableExactlyOnceDelivery, true, s.ExactlyOnce},
		difference{"filter", got.Filter, s.Filter, s.Filter != ""},
		difference{"ack deadline", got.AckDeadlineSeconds, want.AckDeadlineSeconds, s.AckDeadline != 0},
		difference{"retention", got.GetMessageRetentionDuration().AsDuration(), s.Retention, s.Retention != 0},
		difference{"retain-acked", got.RetainAckedMessages, true, s.RetainAcked},
		difference{"expiry", got.GetExpirationPolicy().GetTtl().AsDuration(), max(s.Expiry, 0), s.Expiry != 0},
		difference{"least retry backoff", got.GetRetryPolicy().GetMinimumBackoff().AsDuration(), s.RetryMin, s.RetryMin != 0},
		difference{"longest retry backoff", got.GetRetryPolicy().GetMaximumBackoff().AsDuration(), s.RetryMax, s.RetryMax != 0},
		difference{"dead-letter topic", got.GetDeadLetterPolicy().GetDeadLetterTopic(), want.GetDeadLetterPolicy().GetDeadLetterTopic(), want.DeadLetterPolicy != nil},
		difference{"dead-letter attempts", got.GetDeadLetterPolicy().GetMaxDeliveryAttempts(), want.GetDeadLetterPolicy().GetMaxDeliveryAttempts(), want.DeadLetterPolicy != nil},
	)
}

type difference struct {
	what      string
	got, want any
	asked     bool
}

func differs(list ...difference) string {
	for _, d := range list {
		if d.asked && d.got != d.want {
			return fmt.Sprintf("%s is %v, not %v", d.what, d.got, d.want)
		}
	}
	return ""
}

// declare finds something, makes it where that is asked, and compares it.
func declare[T any](ctx context.Context, mode driver.Topology, what, name string,
	get, create func(context.Context) (T, error), compare func(T) string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	got, err := get(ctx)
	if codeOf(err) == codes.NotFound && mode == driver.Create {
		got, err = create(ctx)
		if codeOf(err) == codes.AlreadyExists { // somebody was quicker
			got, err = get(ctx)
		}
	}
	short := name[strings.LastIndexByte(name, '/')+1:]
	if err != nil {
		if ctx.Err() != nil {
			return driver.Wrap(driver.CodeUnavailable, what+" "+short, context.Cause(ctx))
		}
		return failure(fmt.Sprintf("%s %q", what, short), err)
	}
	if text := compare(got); text != "" {
		return driver.Errorf(driver.CodeConflict, "%s %q: %s", what, short, text)
	}
	return nil
}

// makeTemporary makes the subscription of a broadcast. It expires if it is left behind.
func (c *conn) makeTemporary(ctx context.Context, p *plan) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	want := p.subscriptionWanted()
	want.ExpirationPolicy = &pubsubpb.ExpirationPolicy{Ttl: durationpb.New(24 * time.Hour)}
	want.MessageRetentionDuration = durationpb.New(24 * time.Hour)
	want.Labels = map[string]string{labelKind: "broadcast"}
	_, err := c.client.Subscriptions.CreateSubscription(ctx, want)
	if codeOf(err) == codes.AlreadyExists {
		return nil // an earlier session of this member's
	}
	return failure("temporary subscription", err)
}

func (c *conn) deleteTemporary(ctx context.Context, name string) error {
	err := c.client.Subscriptions.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: name})
	if codeOf(err) == codes.NotFound {
		return nil
	}
	return failure("delete temporary subscription; it expires in a day", err)
}

func period(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// seconds are whole ones, upwards.
func seconds(d time.Duration) int32 {
	return int32(min((d+time.Second-1)/time.Second, 600)) //nolint:gosec // at most 600
}
