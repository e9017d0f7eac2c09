package otel

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// side is on which side of the broker something happens.
type side uint8

const (
	publishing side = iota
	consuming
)

// system is the attribute messaging.system for a broker's name and version. SNS and SQS are
// two systems: an event topic is published to SNS, all else is SQS.
func system(broker string, s side, kind driver.Kind) attribute.KeyValue {
	name := strings.ToLower(broker)
	has := func(part string) bool { return strings.Contains(name, part) }
	switch {
	case has("kafka"):
		return semconv.MessagingSystemKafka
	case has("rabbitmq"):
		return semconv.MessagingSystemRabbitMQ
	case has("google"):
		return semconv.MessagingSystemGCPPubSub
	case has("sqs") && has("sns") && s == publishing && kind == driver.Event:
		return semconv.MessagingSystemAWSSNS
	case has("sqs"):
		return semconv.MessagingSystemAWSSQS
	}
	word, _, _ := strings.Cut(name, " ")
	if word == "" {
		word = "_OTHER"
	}
	return semconv.MessagingSystemKey.String(word)
}
