package middleware

import (
	"slices"
	"sync"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// ErrParkingFull is why a key cannot be parked, and a message therefore not be
// dead-lettered. Its code is CodeExhausted.
var ErrParkingFull error = driver.Errorf(pubsub.CodeExhausted, "as many keys are parked as may be: Release some, or raise Parking.Limit")

// Parking remembers the keys whose messages go to the dead letter, one after the
// other, for DeadLetterPolicy.Parking. The members of a group in one process share
// one. Its zero value is ready; its methods may be called concurrently.
//
// It is bounded. While it is full, a message that would be the first dead letter of its
// key is not dead-lettered: it is tried again and holds back its key, which keeps the
// order, until a key was released. Parked keys and messages without a key go on.
//
// It lives in the process: after a restart, or when another member takes a key over,
// a message of that key reaches the handler again.
type Parking struct {
	// Limit is how many keys are parked at most; default 10,000. It must not change
	// once the Parking is used.
	Limit int

	mu   sync.Mutex
	keys map[string]bool
}

const parkingLimit = 10_000

// Park makes later messages of a key follow to the dead letter. A dead-lettered
// message does so; a service that knows of parked keys from before may too. It fails with
// ErrParkingFull, and with CodeInvalid on an empty key, which is none.
func (p *Parking) Park(key string) error {
	if key == "" {
		return driver.Errorf(pubsub.CodeInvalid, "park: the key is empty")
	}
	_, err := p.park(key)
	return err
}

// park also says whether the key was not parked before. Nothing is parked without a
// key, or without a Parking.
func (p *Parking) park(key string) (first bool, err error) {
	if p == nil || key == "" {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := p.Limit
	if limit <= 0 {
		limit = parkingLimit
	}
	switch {
	case p.keys[key]:
		return false, nil
	case len(p.keys) >= limit:
		return false, ErrParkingFull
	case p.keys == nil:
		p.keys = map[string]bool{}
	}
	p.keys[key] = true
	return true, nil
}

// Release lets a key's messages reach the handler again, once what is wrong was put
// right and its dead letters were dealt with. It says whether the key was parked.
func (p *Parking) Release(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.keys[key]
	delete(p.keys, key)
	return was
}

// Keys lists the parked keys in order.
func (p *Parking) Keys() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]string, 0, len(p.keys))
	for key := range p.keys {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}

// parked says whether a key's messages go to the dead letter.
func (p *Parking) parked(key string) bool {
	if p == nil || key == "" {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[key]
}
