package kafka

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// TestConformanceOnFake runs the kit on a broker in the process, for those who have no Kafka.
func TestConformanceOnFake(t *testing.T) {
	pubsubtest.Run(t, onFake(t, func(*Config) {}))
}

func onFake(t *testing.T, change func(*Config)) pubsubtest.Harness {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	must(t, err)
	t.Cleanup(cluster.Close)
	return pubsubtest.Harness{
		Driver: func(t testing.TB) driver.Driver {
			c := fast(cluster.ListenAddrs())
			change(&c)
			return wired(t, c)
		},
		Disconnect: func(_ testing.TB, d driver.Driver) { d.(*lines).cut() },
		Quiet:      300 * time.Millisecond,
		Mends:      true,
		Parallel:   true,
	}
}

// fast is a config for the fake.
func fast(addresses []string) Config {
	return Config{
		Brokers:   addresses,
		Heartbeat: 100 * time.Millisecond, SessionTimeout: 6 * time.Second, MaxWait: 20 * time.Millisecond, Grace: time.Second,
		// When a member leaves that waits in SyncGroup, the fake counts one too few of those that
		// join (kfake's removeMember), and answers them at the end of the rebalance's timeout.
		RebalanceTimeout: 1500 * time.Millisecond, Timeout: 5 * time.Second,
		Partitions: 1, GroupPrefix: rand.Text() + "-",
	}
}
