package snssqs

import (
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// source is the name of the queue out of which SQS's own redrive policy took a message; none
// for what was sent to its queue.
func source(m *types.Message) string {
	arn := m.Attributes[string(types.MessageSystemAttributeNameDeadLetterQueueSourceArn)]
	return arn[strings.LastIndex(arn, ":")+1:]
}

// died gives what SQS moved the headers of a dead letter, as far as SQS tells: the queue. Which
// topic's it is, and which group's, its name does not tell surely.
func died(m *types.Message, d *driver.Delivery) {
	if name := source(m); name != "" {
		maps.DeleteFunc(d.Headers, func(header, _ string) bool { return driver.TellsOfDeath(header) })
		if d.Headers == nil {
			d.Headers = map[string]string{}
		}
		d.Headers[driver.HeaderDeadReason] = "received too often from queue " + name + ", and not deleted (Amazon tells no more)"
	}
}

// before is how often a dead letter of SQS's own had been received when it was first seen
// here: its receive count goes on where it died. Else it would be given up unread by a
// reader that counts.
func (c *conn) before(m *types.Message, id string, count int) int {
	if source(m) == "" {
		return 0
	}
	if c.deaths.Of(id) == 0 {
		c.deaths.Set(id, count-1)
	}
	return c.deaths.Of(id)
}
