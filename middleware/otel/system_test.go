package otel

import (
	"testing"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func TestSystems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		broker string
		side   side
		kind   driver.Kind
		want   string
	}{
		{"memory", publishing, driver.Event, "memory"},
		{"Apache Kafka 4.3.1", consuming, driver.Event, "kafka"},
		{"RabbitMQ 4.3.6", publishing, driver.Queue, "rabbitmq"},
		{"Google Pub/Sub", consuming, driver.Event, "gcp_pubsub"},
		{"SNS/SQS", publishing, driver.Event, "aws.sns"},
		{"SNS/SQS", publishing, driver.Queue, "aws_sqs"},
		{"SNS/SQS", consuming, driver.Event, "aws_sqs"},
		{"Postbox 1.0", consuming, driver.Event, "postbox"},
		{"", consuming, driver.Event, "_OTHER"},
	} {
		if got := system(c.broker, c.side, c.kind).Value.AsString(); got != c.want {
			t.Errorf("%q: %s, want %s", c.broker, got, c.want)
		}
	}
}
