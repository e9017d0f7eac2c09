package memory

import (
	"maps"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A letter is a message on its way to a dead letter topic.
type letter struct {
	to      string
	message driver.Message
}

// bury takes a withdrawn entry out of the group for the dead letter.
func (g *group) bury(e *entry, policy *driver.DeadLetter, reason error) *letter {
	m := e.message
	m.Delay = 0
	m.Headers = maps.Clone(m.Headers)
	m.MarkDead(g.topic.name, g.name, e.attempts, reason)
	g.forget(e)
	return &letter{to: policy.Topic, message: m}
}

// send delivers letters. It is called without a lock.
func (t *topic) send(letters []*letter) {
	for _, l := range letters {
		dead, err := t.broker.topic(&driver.TopicRequest{Topic: l.to, Kind: driver.Queue})
		if err == nil { // it was declared, and nothing deletes a topic
			dead.put(&l.message)
		}
	}
	if len(letters) > 0 && t.waits.Load() {
		t.admit()
	}
}
