package rabbitmq

import (
	"maps"
	"net"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A slot is shared by publishers and groups of every version: it must never change.
func TestSlotsAreFixed(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int{"": 5, "a": 44, "foobar": 0x68 % slots} {
		if got := slotOf(key); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
	seen := map[int]bool{}
	for i := range 1000 {
		seen[slotOf(time.Duration(i).String())] = true
	}
	if len(seen) != slots {
		t.Errorf("1000 keys reach %d slots of %d", len(seen), slots)
	}
}

// Delays are rounded up, by a fifth at most, to few values.
func TestDelaysAreFew(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]time.Duration{
		time.Nanosecond: time.Millisecond, 500 * time.Millisecond: 500 * time.Millisecond, 90 * time.Second: 90 * time.Second,
		15 * time.Minute: 15 * time.Minute, 24 * time.Hour: 24 * time.Hour, 61 * time.Second: 65 * time.Second, longestDelay: longestDelay,
	} {
		if got := roundDelay(d); got != want {
			t.Errorf("%v becomes %v, want %v", d, got, want)
		}
	}
	values := map[time.Duration]bool{}
	for d := time.Second; d < 5*time.Minute; d += 7 * time.Millisecond {
		got := roundDelay(d)
		if values[got] = true; got < d || got > d+d/5+time.Millisecond {
			t.Fatalf("%v becomes %v", d, got)
		}
	}
	if len(values) > 70 {
		t.Errorf("%d delays from a second to five minutes", len(values))
	}
}

// A table of headers for the milliseconds alone would cost more than the rest of a small message.
func TestPublishTimeNeedsNoTable(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_123)
	for key, want := range map[string]time.Time{"": now.Truncate(time.Second), "k": now} {
		p := amqp.Publishing{Headers: amqp.Table{"of the last": "message"}}
		publishing(&driver.Message{Key: key}, &p)
		date(&p, now)
		if (len(p.Headers) == 0) != (key == "") {
			t.Errorf("key %q: headers %v", key, p.Headers)
		}
		p.Timestamp = p.Timestamp.Truncate(time.Second) // as AMQP has it
		var d driver.Delivery
		describe(&amqp.Delivery{Headers: p.Headers, Timestamp: p.Timestamp}, &d)
		if !d.PublishTime.Equal(want) || d.Key != key {
			t.Errorf("key %q: got %q, published at %v, want %v", key, d.Key, d.PublishTime, want)
		}
	}
}

// What RabbitMQ tells of a death becomes the headers of a dead letter.
func TestDeaths(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	entry := func(queue, reason string, times int64) []any {
		return []any{amqp.Table{"queue": queue, "reason": reason, "count": times, "time": at}, amqp.Table{"queue": "earlier", "reason": "rejected"}}
	}
	for name, c := range map[string]struct {
		deaths               any
		topic, group, reason string // no topic: not a dead letter
	}{
		"group":         {entry("orders/billing", "rejected", 1), "orders", "billing", "rejected by its reader (RabbitMQ tells no more)"},
		"partition":     {entry("orders/billing/3", "maxlen", 1), "orders", "billing", "the queue was full (RabbitMQ tells no more)"},
		"queue":         {entry("images", "expired", 3), "images", "", "expired in the queue, 3 times (RabbitMQ tells no more)"},
		"queue in part": {entry("images//3", "delivery_limit", 1), "images", "", "returned more often than the queue's delivery limit (RabbitMQ tells no more)"},
		"new reason":    {entry("images", "boredom", 0), "images", "", "boredom (RabbitMQ tells no more)"},
		"delay":         {entry("orders/billing/delay/5s", "expired", 1), "", "", ""},
		"nothing":       {[]any{}, "", "", ""},
		"no table":      {[]any{"x"}, "", "", ""},
		"no list":       {"x", "", "", ""},
	} {
		var d driver.Delivery
		describe(&amqp.Delivery{Headers: amqp.Table{"x-death": c.deaths, "dead-letter-reason": "old", "dead-letter-attempts": "7", headerFailed: int64(2)}}, &d)
		want := map[string]string{"dead-letter-reason": "old", "dead-letter-attempts": "7"}
		attempt := 3
		if c.topic != "" {
			want = map[string]string{"dead-letter-topic": c.topic, "dead-letter-reason": c.reason, "dead-letter-time": "2026-11-30T12:00:00Z"}
			attempt = 1
		}
		if c.group != "" {
			want["dead-letter-group"] = c.group
		}
		if !maps.Equal(d.Headers, want) || d.Attempt != attempt {
			t.Errorf("%s: headers %v, attempt %d; want %v, %d", name, d.Headers, d.Attempt, want, attempt)
		}
	}
}

// A host that there is not is told from one that does not answer.
func TestHostThatThereIsNot(t *testing.T) {
	t.Parallel()
	for missing, want := range map[bool]driver.Code{true: driver.CodeNotFound, false: driver.CodeUnavailable} {
		err := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "as the test wants", Name: "nowhere", IsNotFound: missing}}
		if got := driver.CodeOf(dialFailure("nowhere:5672", false, err)); got != want {
			t.Errorf("missing: %t: code %s, want %s", missing, got, want)
		}
	}
}
