package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// A need is a promise that something in the file rests on, and the key that asks for it.
type need struct{ promise, key string }

// topicNeeds are what a topic asks of its broker.
func topicNeeds(key string, t topic) []need {
	var list []need
	if t.Kind == "queue" {
		list = append(list, need{"queues", under(key, "kind")})
	}
	if t.Ordered {
		list = append(list, need{"order by key", under(key, "ordered")})
	}
	return list
}

// subscriptionNeeds are what a subscription asks of its topic's broker.
func subscriptionNeeds(key string, s subscription, t topic) []need {
	var list []need
	switch {
	case t.Kind == "queue":
		list = append(list, need{"queues", under(key, "topic")})
	case s.Broadcast:
		list = append(list, need{"broadcast", under(key, "broadcast")})
	default:
		list = append(list, need{"groups", under(key, "group")})
	}
	retry := "delayed retry"
	if t.Ordered {
		list = append(list, need{"order by key", under(key, "topic")}, need{"keys in parallel", under(key, "topic")})
		retry = "delayed retry on a key"
	}
	list = append(list, need{retry, under(key, "retry")})
	if s.MaxAttempts > 0 {
		list = append(list, need{"attempts counted", under(key, "max-attempts")})
	}
	switch {
	case s.DropPermanent:
	case s.DeadLetter.By == "broker":
		list = append(list, need{"dead letter by the broker", under(key, "dead-letter", "by")})
	default:
		list = append(list, need{"dead letter by middleware", under(key, "dead-letter")})
	}
	return append(list, need{"lease", under(key, "lease")}, need{"longest handling", under(key, "max-handling")})
}

// met finds how a broker keeps what is needed, and the needs that it does not meet.
func met(needs []need, caps pubsub.Capabilities, f *faults) []pubsub.Promise {
	promises := pubsub.Promises(caps)
	list := make([]pubsub.Promise, 0, len(needs))
	for _, n := range needs {
		i := slices.IndexFunc(promises, func(p pubsub.Promise) bool { return p.Name == n.promise })
		if i < 0 {
			f.at(n.key, driver.Errorf(driver.CodeInternal, "pubsub.Promises does not know %q", n.promise))
			continue
		}
		list = append(list, promises[i])
		// Where order is missing, that says enough of retries on a key.
		if promises[i].Means == pubsub.Missing && n.promise != "delayed retry on a key" {
			f.at(n.key, unsupported(fmt.Sprintf("needs %q, which %s does not offer", n.promise, &caps)))
		}
	}
	return list
}

// meetsTopic adds what a topic asks and the broker does not offer.
func meetsTopic(key string, t topic, caps pubsub.Capabilities, f *faults) []pubsub.Promise {
	checkBatch(f, under(key, "publish", "batch"), t.Publish.Batch, caps, caps.SendBatch)
	return met(topicNeeds(key, t), caps, f)
}

// meetsSubscription is the same of a subscription.
func meetsSubscription(key string, s subscription, t topic, caps pubsub.Capabilities, f *faults) []pubsub.Promise {
	checkBatch(f, under(key, "settle"), s.Settle, caps, caps.SettleBatch)
	if s.Lease > 0 && caps.Lease == 0 {
		f.at(under(key, "lease"), unsupported(fmt.Sprintf("asks for %v, and %s does not lease messages", time.Duration(s.Lease), &caps)))
	}
	if s.Broadcast && caps.BroadcastHolds {
		caps.RetryDelay = 0
	}
	return met(subscriptionNeeds(key, s, t), caps, f)
}

func checkBatch(f *faults, key string, b batch, caps pubsub.Capabilities, most driver.Batch) {
	if most.Messages > 0 && int(b.Messages) > most.Messages {
		f.at(under(key, "messages"), driver.Errorf(driver.CodeInvalid, "is %d; %s takes at most %d at a time", b.Messages, &caps, most.Messages))
	}
	if most.Bytes > 0 && int(b.Bytes) > most.Bytes {
		f.at(under(key, "bytes"), driver.Errorf(driver.CodeInvalid, "is %d; %s takes at most %d at a time", b.Bytes, &caps, most.Bytes))
	}
}

func unsupported(text string) error {
	return driver.Errorf(driver.CodeUnsupported, "%s; leave it out, or choose another broker", text)
}
