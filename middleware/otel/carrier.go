package otel

import (
	"go.opentelemetry.io/otel/propagation"

	"github.com/waybill-go/waybill/pubsub"
)

// carrier reads and writes a message's headers.
type carrier struct{ message *pubsub.Message }

var _ propagation.TextMapCarrier = carrier{}

func (c carrier) Get(key string) string { return c.message.Headers[key] }

func (c carrier) Set(key, value string) { c.message.SetHeader(key, value) }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c.message.Headers))
	for k := range c.message.Headers {
		keys = append(keys, k)
	}
	return keys
}
