package gcppubsub

import (
	"fmt"
	"maps"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// What Google tells of a death becomes the headers of a dead letter, in place of older ones.
func TestDeaths(t *testing.T) {
	t.Parallel()
	for subscription, c := range map[string]struct{ topic, group string }{
		"orders.billing":                 {"orders", "billing"},
		Name("a b") + "." + "b" + "%20c": {"a b", "b c"},
		Name("ab") + ".g":                {"ab", "g"},
		"shop.orders.billing":            {}, // of shop, or of shop.orders
		"images":                         {}, // a queue, or a name of the user's
		"orders" + ".broken%":            {"orders", "broken%"},
	} {
		headers := map[string]string{
			"a": "b", deathSubscription: subscription, deathCount: "6", deathPrefix + "TopicPublishTime": "2026-11-30T12:00:00Z",
			driver.HeaderDeadTime: "old", driver.HeaderDeadReason: "old",
		}
		died(headers)
		want := map[string]string{
			"a": "b", driver.HeaderDeadAttempts: "6",
			driver.HeaderDeadReason: "not handled in 6 deliveries of subscription " + subscription + " (Google tells no more)",
		}
		if c.topic != "" {
			want[driver.HeaderDeadTopic], want[driver.HeaderDeadGroup] = c.topic, c.group
		}
		if !maps.Equal(headers, want) {
			t.Errorf("%s: %v, want %v", subscription, headers, want)
		}
	}
	plain := map[string]string{driver.HeaderDeadReason: "of a middleware"}
	if died(plain); len(plain) != 1 {
		t.Errorf("what is no dead letter of Google's has %v", plain)
	}
}

// A message that is full of headers dies without those of a dead letter.
func TestMarkWithoutRoom(t *testing.T) {
	t.Parallel()
	m := &pubsubpb.PubsubMessage{Attributes: map[string]string{}}
	for i := range 98 {
		m.Attributes[fmt.Sprint("h", i)] = "v"
	}
	if mark(m, "orders", "billing", 1, nil); len(m.Attributes) != 98 {
		t.Errorf("it has %d attributes", len(m.Attributes))
	}
	delete(m.Attributes, "h0")
	delete(m.Attributes, "h1")
	delete(m.Attributes, "h2")
	if mark(m, "orders", "billing", 1, nil); len(m.Attributes) != 100 || m.Attributes[driver.HeaderDeadGroup] != "billing" {
		t.Errorf("it has %d attributes", len(m.Attributes))
	}
}
