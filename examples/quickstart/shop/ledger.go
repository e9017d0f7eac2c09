package shop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
)

// ledger writes down who got what, and checks it. A broker delivers at least once,
// so it counts what is new apart from what came again.
type ledger struct {
	mu      sync.Mutex
	w       io.Writer
	orders  int
	entries []*account // in the order of the table
	left    int
	done    chan struct{}
}

// account is what one service got, over all of its members.
type account struct {
	name    string
	want    int
	seen    map[string]bool
	again   int
	last    map[string]int // a customer's last order
	wrong   string         // the first order out of turn
	members []*member
}

// member is one subscription of a service.
type member struct {
	*account
	book *ledger
	got  int
}

func newLedger(w io.Writer, orders int) *ledger {
	b := &ledger{w: w, orders: orders, done: make(chan struct{})}
	for _, name := range []string{"email", "inventory", "billing", "analytics", "images", "images-dead"} {
		want := orders
		switch name {
		case "images":
			want = images - 1
		case "images-dead":
			want = 1
		}
		b.entries = append(b.entries, &account{name: name, want: want, seen: map[string]bool{}, last: map[string]int{}})
		b.left += want
	}
	return b
}

// member adds a member to a service.
func (b *ledger) member(service string) *member {
	for _, a := range b.entries {
		if a.name == service {
			m := &member{account: a, book: b}
			a.members = append(a.members, m)
			return m
		}
	}
	panic("no service " + service)
}

func (m *member) took(o Order) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	if !m.enter(fmt.Sprint(o.Number)) {
		return
	}
	if o.Number <= m.last[o.Customer] && m.wrong == "" {
		m.wrong = fmt.Sprintf("order %d of %s came after %d", o.Number, o.Customer, m.last[o.Customer])
	}
	m.last[o.Customer] = o.Number
}

func (m *member) scaled(image Image) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	m.enter(image.Name)
}

func (m *member) buried(body string) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	m.enter(body)
}

// enter counts a message; false if it came before.
func (m *member) enter(id string) bool {
	if m.seen[id] {
		m.again++
		return false
	}
	m.seen[id] = true
	m.got++
	if m.book.left--; m.book.left == 0 {
		close(m.book.done)
	}
	return true
}

func (m *member) say(format string, args ...any) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	fmt.Fprintf(m.book.w, "  %-12s %s\n", m.name, fmt.Sprintf(format, args...))
}

// wait waits until everybody has everything, or ctx ends.
func (b *ledger) wait(ctx context.Context) {
	select {
	case <-b.done:
	case <-ctx.Done():
	}
}

// report prints the table, and returns what is wrong in it.
func (b *ledger) report() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var wrong []error
	fmt.Fprintln(b.w)
	table := tabwriter.NewWriter(b.w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  WHO\tGOT\tOF\tAGAIN\tBY MEMBER\tORDER")
	for _, a := range b.entries {
		order := "-"
		switch {
		case a.wrong != "":
			order = a.wrong
			wrong = append(wrong, fmt.Errorf("%s: %s", a.name, a.wrong))
		case len(a.last) > 0:
			order = "kept for each customer"
		}
		if len(a.seen) != a.want {
			wrong = append(wrong, fmt.Errorf("%s got %d of %d", a.name, len(a.seen), a.want))
		}
		var shares string
		for i, m := range a.members {
			if i > 0 {
				shares += " + "
			}
			shares += fmt.Sprint(m.got)
		}
		fmt.Fprintf(table, "  %s\t%d\t%d\t%d\t%s\t%s\n", a.name, len(a.seen), a.want, a.again, shares, order)
	}
	return errors.Join(append(wrong, table.Flush())...)
}
