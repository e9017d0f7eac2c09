package kafka

import "github.com/rcrowley/go-metrics"

// silence is a registry that measures nothing: sarama's metrics cost time in every
// request, and a goroutine that never ends.
type silence struct{ metrics.Registry }

// GetOrRegister returns a metric that does nothing, of the kind that is asked for.
func (silence) GetOrRegister(_ string, kind any) any {
	switch kind.(type) {
	case func() metrics.Histogram:
		return metrics.NilHistogram{}
	case func() metrics.Counter:
		return metrics.NilCounter{}
	default:
		return metrics.NilMeter{}
	}
}

// Unregister has nothing to do.
func (silence) Unregister(string) {}

// UnregisterAll has nothing to do.
func (silence) UnregisterAll() {}
