package kafka

import (
	"strconv"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// section makes TopicSettings of a configuration file's: partitions, replicas, and
// retention, which is a duration and the topic's retention.ms.
func section(p *driver.Params) []any {
	var s TopicSettings
	var retention time.Duration
	p.Int("partitions", &s.Partitions)
	p.Int("replicas", &s.Replicas)
	p.Duration("retention", &retention)
	if retention != 0 {
		s.Config = map[string]string{"retention.ms": strconv.FormatInt(retention.Milliseconds(), 10)}
	}
	return []any{s}
}
