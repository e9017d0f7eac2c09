package main

import (
	"strings"
	"testing"

	"github.com/waybill-go/waybill/testing/brokers"
)

// TestPlanOfTheShop: what examples/shop promises its readers of the plan, on every broker.
func TestPlanOfTheShop(t *testing.T) {
	const folder = "../../examples/shop/"
	t.Setenv("ENVIRONMENT", "plan") // plan declares nothing, so the names stay free
	for _, broker := range []struct {
		name, retry string
		give        func(testing.TB, ...brokers.Option) *brokers.Broker
	}{
		{"memory", "native: any delay", nil},
		{"kafka", "engine: held here", brokers.Kafka},
		{"rabbitmq", "both: 40 days, then held here", brokers.RabbitMQ},
		{"gcppubsub", "both: 10m, then held here", brokers.GCPPubSub},
		{"snssqs", "native: up to 11h59m", brokers.SNSSQS},
	} {
		t.Run(broker.name, func(t *testing.T) {
			if broker.give != nil {
				t.Setenv("WAYBILL_"+strings.ToUpper(broker.name)+"_URL", broker.give(t).URL)
			}
			code, out, errs := command(t, "", "plan", "-f", folder+broker.name+".yaml")
			if code != 0 {
				t.Fatalf("exit %d: %s%s", code, out, errs)
			}
			for _, want := range []string{
				"declare  topic orders: event, ordered", "declare  subscription billing: group billing of plan-orders, dead letters to plan-dead",
				"order by key               native", "dead letter by middleware  engine: confirmed before the source is settled",
				"delayed retry              " + broker.retry,
			} {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
		})
	}
	t.Run("impossible", func(t *testing.T) {
		t.Setenv("WAYBILL_KAFKA_URL", brokers.Kafka(t).URL)
		code, out, errs := command(t, "", "plan", "-f", folder+"impossible.yaml")
		if want := `needs "dead letter by the broker", which Kafka does not offer`; code != 3 || strings.Count(out+errs, want) != 1 {
			t.Errorf("exit %d: %s%s; want %q, once", code, out, errs, want)
		}
	})
}
