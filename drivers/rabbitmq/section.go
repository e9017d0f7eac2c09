package rabbitmq

import (
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func init() {
	driver.RegisterSettings(driver.Settings{Topic: section}, "rabbitmq", "rabbitmqs")
}

// section makes a topic's settings of a configuration file's: exchange, exchange-kind,
// routing-key and binding-keys (with commas) are an Exchange; existing-queue,
// partitions and queues are ExistingQueue, Partitions and QueueType.
func section(p *driver.Params) []any {
	var exchange Exchange
	var bindings, queue, queues string
	partitions := -1
	p.String("exchange", &exchange.Name)
	p.Choice("exchange-kind", &exchange.Kind, "direct", "fanout", "topic", "headers")
	p.String("routing-key", &exchange.RoutingKey)
	p.String("binding-keys", &bindings)
	p.String("existing-queue", &queue)
	p.Int("partitions", &partitions)
	p.Choice("queues", &queues, string(Quorum), string(Classic))

	var settings []any
	if bindings != "" {
		exchange.BindingKeys = strings.Split(bindings, ",")
	}
	if exchange.Name+exchange.Kind+exchange.RoutingKey+bindings != "" {
		settings = append(settings, exchange)
	}
	if queue != "" {
		settings = append(settings, ExistingQueue(queue))
	}
	if partitions >= 0 {
		settings = append(settings, Partitions(partitions))
	}
	if queues != "" {
		settings = append(settings, QueueType(queues))
	}
	return settings
}
