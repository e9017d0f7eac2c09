package gcppubsub

import (
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Topic is a setting, for pubsub.Settings: what is particular to a topic here. What is
// zero is left to Google when a topic is made, and not compared where one exists.
type Topic struct {
	// Name is the topic's name on Google, as it is; default: Name of the topic's.
	Name string
	// Retention is how long the topic keeps messages for seeking, 10 min to 31 days.
	Retention time.Duration
}

// Subscription is a setting, for pubsub.Settings: what is particular to a subscription
// here. What is zero is left to Google when a subscription is made, and not compared
// where one exists. A queue's publisher takes it too, for it makes the subscription.
type Subscription struct {
	// Name is its name on Google, as it is; default: TOPIC.GROUP, or TOPIC for a queue.
	Name string
	// AckDeadline is that of readers which set none of their own, 10 s to 600 s. This
	// driver sets its own, the lease.
	AckDeadline time.Duration
	// Retention is how long it keeps messages, 10 min to 31 days; Google's default 7 days.
	Retention time.Duration
	// RetainAcked keeps acknowledged ones too, for seeking.
	RetainAcked bool
	// Expiry is after how long without a reader it is deleted, a day at least; Google's
	// default 31 days; negative: never.
	Expiry time.Duration
	// Filter lets only some messages in, in Google's syntax of attributes.
	Filter string
	// ExactlyOnce makes it with exactly-once delivery.
	ExactlyOnce bool
	// RetryMin and RetryMax are Google's backoff of returned messages, up to 600 s. With
	// one, what was not started and goes back is delayed as well.
	RetryMin, RetryMax time.Duration
}

func readTopic(p *driver.Params) []any {
	var t Topic
	p.String("name", &t.Name)
	p.Duration("retention", &t.Retention)
	return []any{t}
}

func readSubscription(p *driver.Params) []any {
	var s Subscription
	var never bool
	p.String("name", &s.Name)
	p.Duration("ack-deadline", &s.AckDeadline)
	p.Duration("retention", &s.Retention)
	p.Bool("retain-acked", &s.RetainAcked)
	p.Duration("expiry", &s.Expiry)
	p.Bool("never-expires", &never)
	p.String("filter", &s.Filter)
	p.Bool("exactly-once", &s.ExactlyOnce)
	p.Duration("retry-min", &s.RetryMin)
	p.Duration("retry-max", &s.RetryMax)
	if never {
		s.Expiry = -1
	}
	return []any{s}
}

// settings reads a request's.
func settings(list []any) (t Topic, s Subscription, err error) {
	for _, v := range list {
		switch v := v.(type) {
		case Topic:
			t = v
		case Subscription:
			s = v
		default:
			return t, s, driver.Errorf(driver.CodeInvalid, "gcppubsub: no setting of type %T; it has Topic and Subscription", v)
		}
	}
	if s.AckDeadline != 0 && (s.AckDeadline < 10*time.Second || s.AckDeadline > 600*time.Second || s.AckDeadline%time.Second != 0) {
		return t, s, driver.Errorf(driver.CodeInvalid, "gcppubsub: ack deadline %v: want whole seconds, 10 to 600", s.AckDeadline)
	}
	return t, s, nil
}
