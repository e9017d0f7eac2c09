package pubsubtest

import (
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Harness is a broker under test. Driver alone must be set.
type Harness struct {
	// Driver returns a driver for the broker. It is called once a case, perhaps
	// concurrently; cases share the broker and keep apart by the names of their
	// topics. What it starts for a case it ends in t.Cleanup.
	Driver func(t testing.TB) driver.Driver
	// Disconnect cuts all connections of a driver that Driver returned, as a network
	// failure would, and returns when that has happened; new ones work. Nil skips the
	// cases of connection loss, which leaves much unproved.
	Disconnect func(t testing.TB, d driver.Driver)
	// Mends says that the driver's connections come back by themselves, because nothing
	// that was handed out dies by their loss: the cases of what dies with them are skipped.
	Mends bool
	// TopicOptions go with every topic, such as a driver's settings for tests.
	TopicOptions []pubsub.TopicOption
	// Patience is how long a case waits for what must happen; default 30 s. It costs nothing
	// where that happens, and machines are busy now and then.
	Patience time.Duration
	// Quiet is how long a case watches for what must not happen; default 100 ms. Make
	// it longer than the broker takes to deliver.
	Quiet time.Duration
	// Lease is a short lease that the broker takes, at which cases of leases are
	// patient; default 2 s: a processor that is busy may keep the engine from
	// extending a shorter one.
	Lease time.Duration
	// Excuse says of a goroutine that is left after Close, given its stack, that the
	// client beneath the driver leaves it and the driver cannot end it. Nil excuses none.
	Excuse func(stack string) bool
	// Parallel lets cases run side by side.
	Parallel bool
}

func (h Harness) withDefaults() Harness {
	if h.Patience == 0 {
		h.Patience = 30 * time.Second
	}
	if h.Quiet == 0 {
		h.Quiet = 100 * time.Millisecond
	}
	if h.Lease == 0 {
		h.Lease = 2 * time.Second
	}
	if h.Excuse == nil {
		h.Excuse = func(string) bool { return false }
	}
	return h
}

// A Case is one thing that the kit proves.
type Case struct {
	// Name is the name of the subtest: subject and case.
	Name string
	// Why says what it proves and why users care.
	Why string

	needs func(*driver.Capabilities) string // why it must be skipped, or ""
	run   func(*kit)
}

// Cases lists what the kit proves, in the order of running.
func Cases() []Case {
	var all []Case
	for _, subject := range [][]Case{
		publishCases, settleCases, attemptCases, receiptCases, orderCases, groupCases,
		leaseCases, drainCases, limitCases, openCases, connectionCases, claimCases,
	} {
		all = append(all, subject...)
	}
	return all
}

// Run proves a driver: each case is a subtest.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Driver == nil {
		t.Fatal("pubsubtest: Harness.Driver is nil")
	}
	h = h.withDefaults()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if h.Parallel {
				t.Parallel()
			}
			runCase(t, h, c)
		})
	}
}

// runCase runs one case, with its reason if it fails.
func runCase(t testing.TB, h Harness, c Case) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what this proves: %s", c.Why)
		}
	})
	k := newKit(t, h)
	if c.needs != nil {
		if reason := c.needs(&k.caps); reason != "" {
			t.Skip(k.caps.String() + " " + reason)
		}
	}
	c.run(k)
}

// needs makes a condition of a capability.
func needs(reason string, has func(*driver.Capabilities) bool) func(*driver.Capabilities) string {
	return func(c *driver.Capabilities) string {
		if has(c) {
			return ""
		}
		return reason
	}
}

// The conditions of most cases.
var (
	needsGroups     = needs("has no groups", func(c *driver.Capabilities) bool { return c.Groups })
	needsQueues     = needs("has no queues", func(c *driver.Capabilities) bool { return c.Queues })
	needsBroadcast  = needs("has no broadcast", func(c *driver.Capabilities) bool { return c.Broadcast })
	needsOrder      = needs("keeps no order", func(c *driver.Capabilities) bool { return c.Ordered && c.Groups })
	needsExact      = needs("does not count attempts exactly", func(c *driver.Capabilities) bool { return c.Attempts == driver.Exact && c.Groups })
	needsDeadLetter = needs("does not dead-letter", func(c *driver.Capabilities) bool { return c.DeadLetter && c.Groups && c.Queues })
	needsLease      = needs("has no leases", func(c *driver.Capabilities) bool { return c.Lease > 0 && c.Groups })
)
