package pubsub_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

func ExamplePromises() {
	queue := pubsub.Capabilities{Queues: true, RetryDelay: 12 * time.Hour, MessageBytes: 1 << 20}
	for _, p := range pubsub.Promises(queue) {
		switch p.Name {
		case "queues", "order by key", "delayed retry", "message size":
			fmt.Printf("%s: %s\n", p.Name, p)
		}
	}
	// Output:
	// queues: native
	// order by key: not offered
	// delayed retry: both: 12h, then held here
	// message size: native: up to 1 MiB
}

// The names and their order are one for all brokers: the matrix stands on that.
func TestPromisesHaveOneOrder(t *testing.T) {
	t.Parallel()
	weakest := pubsub.Promises(pubsub.Capabilities{})
	strongest := pubsub.Promises(pubsub.Capabilities{
		Groups: true, Queues: true, Broadcast: true, Ordered: true, DeadLetter: true, Attempts: driver.Exact,
		PublishDelay: driver.Unlimited, RetryDelay: driver.Unlimited, OrderedRetry: driver.WithTail,
		Lease: time.Minute, Hold: driver.Unlimited, MessageBytes: 10_000_000, Headers: 10, HeaderBytes: 1024,
		TextHeaders: true, SettleConfirmed: true, Backlog: true,
	})
	for i := range weakest {
		if weakest[i].Name != strongest[i].Name {
			t.Errorf("promise %d is %q on one broker and %q on another", i, weakest[i].Name, strongest[i].Name)
		}
		if p := strongest[i]; p.Means == pubsub.Missing {
			t.Errorf("%s is missing on a broker that has everything", p.Name)
		}
	}
	if len(weakest) != len(strongest) {
		t.Errorf("%d promises on one broker, %d on another", len(weakest), len(strongest))
	}
}
