package pubsub

import (
	"math"
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before the next attempt. It holds no state:
// the delay follows from the number of attempts alone. A zero field takes its
// default.
type Backoff struct {
	// Min is the delay after the first attempt; default 200 ms.
	Min time.Duration
	// Max bounds every delay; default 30 s, or Min if that is longer.
	Max time.Duration
	// Factor is what each delay is to the one before; default 2, at least 1.
	Factor float64
	// Jitter is how much of the delay is left to chance, from 0 to 1: a delay d
	// becomes one between d·(1-Jitter) and d. Default 0.2; negative means none.
	Jitter float64
}

// Delay returns how long to wait after that many attempts failed; attempts below
// 1 count as 1.
func (b Backoff) Delay(attempts int) time.Duration {
	b = b.withDefaults()
	d := float64(b.Min) * math.Pow(b.Factor, float64(max(attempts, 1)-1))
	// NaN and infinity, from absurd powers, are the maximum too.
	if !(d < float64(b.Max)) {
		d = float64(b.Max)
	}
	return time.Duration(d * (1 - b.Jitter*rand.Float64())) //nolint:gosec // spreads load, hides nothing
}

// Validate says what is wrong with the fields, if anything.
func (b Backoff) Validate() error {
	switch {
	case b.Min < 0 || b.Max < 0:
		return invalid("backoff: Min %v and Max %v must not be negative", b.Min, b.Max)
	case b.Max > 0 && b.Max < b.Min:
		return invalid("backoff: Max %v is below Min %v", b.Max, b.Min)
	case b.Factor != 0 && !(b.Factor >= 1):
		return invalid("backoff: Factor %v must be at least 1", b.Factor)
	case b.Jitter > 1 || math.IsNaN(b.Jitter):
		return invalid("backoff: Jitter %v must be at most 1", b.Jitter)
	}
	return nil
}

func (b Backoff) withDefaults() Backoff {
	if b.Min == 0 {
		b.Min = 200 * time.Millisecond
	}
	if b.Max == 0 {
		b.Max = max(30*time.Second, b.Min)
	}
	if b.Factor == 0 {
		b.Factor = 2
	}
	switch {
	case b.Jitter == 0:
		b.Jitter = 0.2
	case b.Jitter < 0:
		b.Jitter = 0
	}
	return b
}
