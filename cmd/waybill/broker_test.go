package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/testing/brokers"
)

// TestRealBrokers is a life on what is not memory: what is planned is declared, is
// there afterwards, and what differs is found.
func TestRealBrokers(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...brokers.Option) *brokers.Broker{
		"gcppubsub": brokers.GCPPubSub, "kafka": brokers.Kafka, "rabbitmq": brokers.RabbitMQ, "snssqs": brokers.SNSSQS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t, brokers.Private()).URL
			file := func(topic string) string {
				text := fmt.Sprintf(`
brokers: {main: {url: %q}}
topics: {orders: {%s}, dead: {kind: queue}}
subscriptions:
  billing: {topic: orders, group: billing, max-attempts: 5, dead-letter: {topic: dead}}
`, url, topic)
				path := filepath.Join(t.TempDir(), "shop.yaml")
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			shop, other := file("ordered: true"), file("kind: event")
			var lines strings.Builder
			for i := range 500 {
				fmt.Fprintf(&lines, "%d\n", i)
			}
			for _, step := range []struct {
				in, args string
				code     int
				want     string
			}{
				{"", "plan", 0, "declare  subscription billing"},
				{"", "plan", 0, "declare  topic orders"},
				{"", "apply", 0, "declare  topic orders"},
				{"", "plan", 0, "keep     subscription billing"},
				{"", "plan", 0, "keep     topic dead"},
				{lines.String(), "pub orders --key ada", 0, "500 published, 0 failed\n"},
				{"", "lag", 0, "billing       500"},
				{"", "sub billing --count 500", 0, lines.String()},
				// What waits now is not compared: where settlements are not confirmed, some may
				// come again.
				{"", "lag", 0, "billing"},
			} {
				if name == "gcppubsub" && step.args == "lag" {
					step.code, step.want = 3, "billing       -" // it does not tell
				}
				code, out, errs := command(t, step.in, append(strings.Fields(step.args), "-f", shop)...)
				// A broker that is busy may count late.
				for deadline := time.Now().Add(time.Minute); step.args == "lag" && !strings.Contains(out, step.want) && time.Now().Before(deadline); {
					code, out, errs = command(t, "", "lag", "-f", shop)
				}
				if code != step.code || !strings.Contains(out, step.want) {
					t.Errorf("%s: exit %d, got %s%s; want %q", step.args, code, out, errs, step.want)
				}
			}
			if name == "kafka" {
				return // a topic is the same there, ordered or not
			}
			if code, out, errs := command(t, "", "plan", "-f", other); code != 3 || !strings.Contains(out, "fail     topic orders") {
				t.Errorf("a topic that differs: exit %d, %s%s", code, out, errs)
			}
		})
	}
}
