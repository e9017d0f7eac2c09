package pubsub

import (
	"fmt"
	"strings"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Means is how a promise is kept on a broker.
type Means uint8

const (
	// Native: the broker keeps it.
	Native Means = iota
	// Engine: this library keeps it, in the process.
	Engine
	// Shared: the broker and the engine keep it together.
	Shared
	// Missing: it is not offered, and asking for it is an error.
	Missing
)

// String returns the means in words.
func (m Means) String() string {
	switch m {
	case Native:
		return "native"
	case Engine:
		return "engine"
	case Shared:
		return "both"
	default:
		return "not offered"
	}
}

// A Promise is one thing that users are promised, and how a broker keeps it.
type Promise struct {
	// Name is the same for every broker.
	Name string
	// Means says who keeps it.
	Means Means
	// Detail is its limit or precision; may be empty.
	Detail string
}

// String returns the means with the detail.
func (p Promise) String() string {
	if p.Detail == "" {
		return p.Means.String()
	}
	return p.Means.String() + ": " + p.Detail
}

// Promises tells how a broker with these capabilities keeps each promise: what it
// does itself, what the engine does for it, and what is refused. The order and the
// names are the same for every broker. docs/semantics.md shows them side by side.
func Promises(c Capabilities) []Promise {
	p := promises{&c}
	return []Promise{
		offered("groups", c.Groups),
		offered("queues", c.Queues),
		offered("broadcast", c.Broadcast),
		offered("order by key", c.Ordered),
		{"keys in parallel", Engine, ""},
		p.attempts(),
		p.delayedRetry(),
		p.keyedRetry(),
		p.delay(),
		offered("dead letter by the broker", c.DeadLetter),
		{"dead letter by middleware", Engine, "confirmed before the source is settled"},
		p.lease(),
		p.hold(),
		p.settled(),
		offered("backlog", c.Backlog),
		p.size(),
		p.headers(),
	}
}

func offered(name string, has bool) Promise {
	if has {
		return Promise{name, Native, ""}
	}
	return Promise{name, Missing, ""}
}

// promises makes those that need more than a word.
type promises struct{ *driver.Capabilities }

func (c promises) attempts() Promise {
	if c.Attempts == driver.None {
		return Promise{"attempts counted", Missing, ""}
	}
	return Promise{"attempts counted", Native, c.Attempts.String()}
}

// delayedRetry is of a message without a key.
func (c promises) delayedRetry() Promise {
	p := Promise{"delayed retry", Shared, span(c.RetryDelay) + ", then held here"}
	switch {
	case c.RetryDelay == 0:
		p.Means, p.Detail = Engine, "held here"
	case c.RetryDelay == driver.Unlimited:
		p.Means, p.Detail = Native, "any delay"
	case c.RetryInHold:
		p.Means, p.Detail = Native, "up to "+span(c.RetryDelay)+" after its delivery"
	}
	return p
}

// keyedRetry counts what the broker can do without breaking a key's order.
func (c promises) keyedRetry() Promise {
	const name = "delayed retry on a key"
	switch {
	case !c.Ordered:
		return Promise{name, Missing, ""}
	case c.OrderedRetry == driver.WithTail && c.RetryDelay > 0:
		return Promise{name, Shared, "held here, then " + span(c.RetryDelay) + " with its tail"}
	default:
		return Promise{name, Engine, "held here"}
	}
}

func (c promises) delay() Promise {
	const name = "delayed message"
	switch c.PublishDelay {
	case 0:
		return Promise{name, Missing, ""}
	case driver.Unlimited:
		return Promise{name, Native, "any delay"}
	default:
		return Promise{name, Native, "up to " + span(c.PublishDelay)}
	}
}

func (c promises) lease() Promise {
	if c.Lease == 0 && c.Hold == 0 {
		return Promise{"lease", Native, "the broker's, not extended"}
	}
	if c.Lease == 0 {
		return Promise{"lease", Native, "kept while the connection lives"}
	}
	return Promise{"lease", Shared, span(c.Lease) + ", extended"}
}

func (c promises) hold() Promise {
	const name = "longest handling"
	switch c.Hold {
	case 0:
		return Promise{name, Engine, "MaxHandling; a retry is held up to 1m"}
	case driver.Unlimited:
		return Promise{name, Engine, "MaxHandling"}
	default:
		return Promise{name, Shared, "MaxHandling, at most " + span(c.Hold)}
	}
}

func (c promises) settled() Promise {
	switch {
	case c.SettleCommits:
		return Promise{"settlements confirmed", Native, "many at once; a lost one is a redelivery"}
	case c.SettleConfirmed:
		return Promise{"settlements confirmed", Native, ""}
	}
	return Promise{"settlements confirmed", Missing, "a lost one is a redelivery"}
}

func (c promises) size() Promise {
	if c.MessageBytes == 0 {
		return Promise{"message size", Native, "no limit"}
	}
	return Promise{"message size", Native, "up to " + volume(c.MessageBytes)}
}

func (c promises) headers() Promise {
	var limits []string
	if c.Headers > 0 {
		limits = append(limits, fmt.Sprintf("up to %d", c.Headers))
	}
	if c.HeaderBytes > 0 {
		limits = append(limits, "each up to "+volume(c.HeaderBytes))
	}
	if c.TextHeaders {
		limits = append(limits, "text")
	} else {
		limits = append(limits, "any bytes")
	}
	return Promise{"headers", Native, strings.Join(limits, ", ")}
}

// span writes a duration without zeros at its end: 30m, not 30m0s.
func span(d time.Duration) string {
	if d == driver.Unlimited {
		return "any delay"
	}
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// volume writes a number of bytes in the largest unit that it fills.
func volume(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	case n >= 1e6 && n%1e6 == 0:
		return fmt.Sprintf("%d MB", n/1e6)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
