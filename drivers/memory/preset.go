package memory

import (
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// The presets turn capabilities down to what the real brokers can do through their
// drivers. They are for Config.Turn, and in URLs as like=.

// LikeKafka: no native delays, no dead letter, no leases; failed messages are held
// by their reader; attempts are at most what they were; nothing tells an ordered topic from another, and
// what a member returns may wait until it has left; settlements are committed, many at once.
func LikeKafka(c *driver.Capabilities) {
	c.Broker = "memory, like Kafka"
	c.DeadLetter, c.PublishDelay, c.RetryDelay, c.Lease = false, 0, 0, 0
	c.OrderedRetry, c.Attempts = driver.HoldsNone, driver.AtMost
	c.ShowsMismatch, c.Competing = false, false
	c.MessageBytes, c.SendNeverBlocks = 1<<20, false
	c.SendBatch = driver.Batch{Messages: 1000, Bytes: 1 << 20}
	c.SettleConfirmed, c.SettleCommits, c.SettleBatch = false, true, driver.Batch{Linger: 20 * time.Millisecond}
}

// LikeRabbitMQ: no leases, a delivery is held for at most half an hour; settlements
// are not confirmed; attempts are at least what they were.
func LikeRabbitMQ(c *driver.Capabilities) {
	c.Broker = "memory, like RabbitMQ"
	c.Lease, c.Hold, c.SettleConfirmed = 0, 30*time.Minute, false
	c.OrderedRetry, c.RetryDelay, c.PublishDelay = driver.HoldsNone, 0, 0
	c.Attempts, c.MessageBytes, c.KeyBytes = driver.AtLeast, 16<<20, 255
}

// LikeGCPPubSub: retries are delayed by at most 600 s, header values are text.
func LikeGCPPubSub(c *driver.Capabilities) {
	c.Broker = "memory, like Google Pub/Sub"
	c.PublishDelay, c.RetryDelay = 0, 600*time.Second
	c.Lease = min(c.Lease, 10*time.Minute)
	c.Attempts, c.SettleConfirmed, c.Backlog = driver.AtMost, false, false
	c.MessageBytes, c.KeyBytes, c.Headers, c.HeaderBytes, c.TextHeaders = 10<<20, 1024, 98, 256+1024, true
	c.SendBatch = driver.Batch{Messages: 1000, Bytes: 9 << 20}
	c.SettleBatch = driver.Batch{Messages: 1000}
	c.KeyPerSend, c.SendNeverBlocks = true, false
}

// LikeSQS: batches of ten; messages of at most 1 MiB; delays of 15 min when
// published and 12 h when retried; text headers; no order.
func LikeSQS(c *driver.Capabilities) {
	likeSQS(c)
	c.Broker, c.Ordered = "memory, like SQS", false
}

// LikeSQSFIFO: as LikeSQS, with order.
func LikeSQSFIFO(c *driver.Capabilities) {
	likeSQS(c)
	c.Broker, c.SendsPerKey, c.KeyBytes = "memory, like SQS FIFO", 1, 128
}

func likeSQS(c *driver.Capabilities) {
	c.PublishDelay, c.RetryDelay, c.Hold, c.RetryInHold = 15*time.Minute, 12*time.Hour, 12*time.Hour, true
	c.MessageBytes, c.TextHeaders = 1<<20, true
	c.SendBatch = driver.Batch{Messages: 10, Bytes: 1 << 20}
	c.SettleBatch = driver.Batch{Messages: 10}
	c.Attempts, c.SendNeverBlocks = driver.AtLeast, false
}
