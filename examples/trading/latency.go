package main

import (
	"slices"
	"sync"
	"time"
)

// latency is how long something took, again and again. Its methods may be called
// concurrently.
type latency struct {
	mu   sync.Mutex
	took []time.Duration
}

func (l *latency) since(t time.Time) {
	took := time.Since(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
}

func (l *latency) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.took)
}

// percentile is by nearest rank; 100 is the longest.
func (l *latency) percentile(p int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return 0
	}
	slices.Sort(l.took)
	return l.took[(len(l.took)*p+99)/100-1].Round(10 * time.Microsecond)
}
