package pubsubtest_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// The cases mostly wait, so more of them run at a time than there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// harness is for memory brokers of a config.
func harness(config memory.Config) pubsubtest.Harness {
	return pubsubtest.Harness{
		Driver: func(t testing.TB) driver.Driver {
			b, err := memory.New(config)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		Disconnect: func(_ testing.TB, d driver.Driver) { d.(*memory.Broker).Disconnect(nil) },
		Quiet:      30 * time.Millisecond,
		Lease:      3 * time.Second, // processors are shared, with the race detector too
		Parallel:   true,
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, harness(memory.Config{}))
}

// TestMemoryTurnedDown proves the engine's emulations, and that every claim is kept
// when it is turned down.
func TestMemoryTurnedDown(t *testing.T) {
	t.Parallel()
	for name, turn := range map[string]func(*driver.Capabilities){
		"kafka": memory.LikeKafka, "rabbitmq": memory.LikeRabbitMQ, "gcppubsub": memory.LikeGCPPubSub,
		"sqs": memory.LikeSQS, "sqs-fifo": memory.LikeSQSFIFO,
		"without-groups":    func(c *driver.Capabilities) { c.Groups = false },
		"without-queues":    func(c *driver.Capabilities) { c.Queues = false },
		"without-broadcast": func(c *driver.Capabilities) { c.Broadcast = false },
		"without-attempts":  func(c *driver.Capabilities) { c.Attempts = driver.None },
		"without-delay":     func(c *driver.Capabilities) { c.PublishDelay, c.RetryDelay = 0, 0 },
		"without-tail":      func(c *driver.Capabilities) { c.OrderedRetry = driver.HoldsNone },
		"sends-by-key":      func(c *driver.Capabilities) { c.KeyPerSend, c.SendNeverBlocks = true, false },
		"sends-one-by-one":  func(c *driver.Capabilities) { c.SendsPerKey, c.SendNeverBlocks = 1, false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pubsubtest.Run(t, harness(memory.Config{Turn: turn}))
		})
	}
}
