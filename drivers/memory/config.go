package memory

import (
	"reflect"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Config is a broker's. Its zero value is a broker that can do everything.
type Config struct {
	// Lease is how long a delivery is leased; default 30 s, negative: no leases.
	Lease time.Duration
	// BacklogMessages and BacklogBytes are what a group keeps at most: beyond that
	// sends wait, without a fate. Defaults 1<<20 messages and 256 MiB. A message
	// larger than the limit is kept if it is alone.
	BacklogMessages, BacklogBytes int
	// Turn turns capabilities down, to see how a service fares on a broker that has
	// less: LikeKafka for example. It must not turn any up. Nil leaves them.
	Turn func(*driver.Capabilities)
}

func (c Config) withDefaults() Config {
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	if c.BacklogMessages == 0 {
		c.BacklogMessages = 1 << 20
	}
	if c.BacklogBytes == 0 {
		c.BacklogBytes = 256 << 20
	}
	return c
}

// capabilities are what the configured broker can do.
func (c Config) capabilities() (driver.Capabilities, error) {
	if c.BacklogMessages < 0 || c.BacklogBytes < 0 {
		return driver.Capabilities{}, driver.Errorf(driver.CodeInvalid,
			"memory: backlog of %d messages, %d bytes must not be negative", c.BacklogMessages, c.BacklogBytes)
	}
	caps := everything(max(c.Lease, 0))
	if c.Turn == nil {
		return caps, nil
	}
	full := caps
	c.Turn(&caps)
	if what := stronger(caps, full); what != "" {
		return caps, driver.Errorf(driver.CodeInvalid, "memory: capability %s can only be turned down", what)
	}
	return caps, nil
}

func everything(lease time.Duration) driver.Capabilities {
	return driver.Capabilities{
		Broker: "memory",
		Groups: true, Queues: true, Broadcast: true, Ordered: true, DeadLetter: true,
		ShowsMismatch: true, Competing: true,
		Attempts:     driver.Exact,
		PublishDelay: driver.Unlimited, RetryDelay: driver.Unlimited,
		OrderedRetry: driver.WithTail,
		Lease:        lease, Hold: driver.Unlimited,
		SendNeverBlocks: true, ResendUnknown: true,
		SettleConfirmed: true, Backlog: true,
	}
}

// settles is the outcome of a settlement that works.
func (b *Broker) settles() driver.Outcome {
	switch {
	case b.caps.SettleCommits:
		return driver.Accepted
	case b.caps.SettleConfirmed:
		return driver.Confirmed
	default:
		return driver.Sent
	}
}

// stronger names a capability that is claimed beyond what there is. Limits are not
// among them: any limit is less than none.
func stronger(c, full driver.Capabilities) string {
	a, b := reflect.ValueOf(c), reflect.ValueOf(full)
	for i := range a.NumField() {
		x, y := a.Field(i), b.Field(i)
		var more bool
		switch x.Kind() {
		case reflect.Bool:
			more = x.Bool() && !y.Bool()
		case reflect.Uint8:
			more = x.Uint() > y.Uint()
		case reflect.Int64:
			more = x.Int() > y.Int()
		}
		switch name := a.Type().Field(i).Name; {
		case name == "TextHeaders", name == "RetryInHold", name == "BroadcastHolds", name == "SettleCommits", name == "KeyPerSend":
		case more:
			return name
		}
	}
	return ""
}
