package gcppubsub

import "github.com/waybill-go/waybill/pubsub/driver"

// tally counts, by message, attempts that failed and deliveries that went back
// unstarted, for a subscription without a count of Google's own. It forgets the oldest:
// the counts are at most what happened.
type tally struct{ failed, returned driver.Tally }

// attempt is the number of a delivery, of which Google counts so many.
func (t *tally) attempt(id string, native int) int {
	return max(1, 1+t.failed.Of(id), native-t.returned.Of(id))
}

// forget ends a message's counts.
func (t *tally) forget(id string) {
	t.failed.Set(id, 0)
	t.returned.Set(id, 0)
}
