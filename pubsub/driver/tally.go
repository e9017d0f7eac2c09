package driver

import "sync"

// A Tally has a number for each of many names, such as attempts by the ids of messages
// that their broker counts wrongly, or not at all. Where there are very many it forgets
// the oldest, and so may say zero. The zero value is ready. Its methods may be called
// concurrently.
type Tally struct {
	mu         sync.Mutex
	young, old map[string]int
}

// generation is how many names are remembered, and as many again that are older.
const generation = 50_000

// Of returns the number of a name.
func (t *Tally) Of(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of(name)
}

// Set sets the number of a name; zero forgets it.
func (t *Tally) Set(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(name, n)
}

// Add adds to the number of a name.
func (t *Tally) Add(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(name, t.of(name)+n)
}

func (t *Tally) of(name string) int {
	if n, ok := t.young[name]; ok {
		return n
	}
	return t.old[name]
}

func (t *Tally) set(name string, n int) {
	delete(t.old, name)
	delete(t.young, name)
	if n == 0 {
		return
	}
	if len(t.young) >= generation {
		t.old, t.young = t.young, nil
	}
	if t.young == nil {
		t.young = map[string]int{}
	}
	t.young[name] = n
}
