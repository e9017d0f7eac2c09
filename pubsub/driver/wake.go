package driver

// A Wake wakes whoever receives from it, now or next: one poke is kept while nobody does, and
// several are as good as one.
type Wake chan struct{}

// NewWake makes one.
func NewWake() Wake { return make(Wake, 1) }

// Poke wakes. It does not block.
func (w Wake) Poke() {
	select {
	case w <- struct{}{}:
	default:
	}
}
