package rabbitmq

import (
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A death is what the broker tells of a message that it dead-lettered: from which queue, why,
// when, and how often.
type death struct {
	queue, reason string
	at            time.Time
	times         int64
}

// buried finds the last death of a message that the broker dead-lettered. One that only waited
// in a queue for delays was not, and what is published or copied has no death before that.
func buried(headers amqp.Table) (d death, ok bool) {
	list, _ := headers["x-death"].([]any)
	if len(list) == 0 {
		return d, false
	}
	last, _ := list[0].(amqp.Table)
	d.queue, _ = last["queue"].(string)
	d.reason, _ = last["reason"].(string)
	d.at, _ = last["time"].(time.Time)
	d.times, _ = whole(last["count"])
	return d, d.queue != "" && !strings.Contains(d.queue, delayInfix)
}

// since is how many attempts have failed since then, at least: what was counted before was
// counted where it died. own is what the broker counts.
func (d *death) since(raw *amqp.Delivery, own int) int {
	_, goesAlong := raw.Headers["x-acquired-count"] // from 4.3 on, also of the return that buried it
	switch {
	case !raw.Redelivered:
		return 0
	case goesAlong && d.reason != "expired" && d.reason != "maxlen":
		return max(own-1, 0)
	default:
		return max(own, 1)
	}
}

// reasons are RabbitMQ's words for people.
var reasons = map[string]string{
	"rejected":       "rejected by its reader",
	"expired":        "expired in the queue",
	"maxlen":         "the queue was full",
	"delivery_limit": "returned more often than the queue's delivery limit",
}

// headers are those that every dead letter has, as far as the broker tells. How many
// attempts had failed it does not: those that were made in a process are not on it.
func (d *death) headers() map[string]string {
	why, known := reasons[d.reason]
	if !known {
		why = d.reason
	}
	if d.times > 1 {
		why += fmt.Sprintf(", %d times", d.times)
	}
	topic, rest, _ := strings.Cut(d.queue, "/")
	group, _, _ := strings.Cut(rest, "/")
	h := map[string]string{driver.HeaderDeadTopic: topic, driver.HeaderDeadReason: why + " (RabbitMQ tells no more)"}
	if group != "" {
		h[driver.HeaderDeadGroup] = group
	}
	if !d.at.IsZero() {
		h[driver.HeaderDeadTime] = d.at.UTC().Format(time.RFC3339)
	}
	return h
}
