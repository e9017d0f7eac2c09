// Package ledger writes down which service got which messages, and finds what is
// missing or came out of turn. A broker delivers at least once, so it counts what is
// new apart from what came again.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
)

// Book has the accounts of all services. Its methods, and those of its members, may be
// called concurrently.
type Book struct {
	mu       sync.Mutex
	w        io.Writer
	accounts []*account // in the order of the table
}

// account is what one service got, over all of its members.
type account struct {
	name    string
	want    int
	seen    map[string]bool
	full    chan struct{}
	again   int
	last    map[string]int // the number of a key's last message
	wrong   string         // the first message out of turn
	members []*Member
}

// Member is one subscription of a service.
type Member struct {
	*account
	book *Book
	got  int
}

// New opens a book that tells w what it is told, and prints its table there.
func New(w io.Writer) *Book { return &Book{w: w} }

// Member adds a member to a service, which as a whole wants so many different messages.
// All members are added before the first message is written down.
func (b *Book) Member(service string, want int) *Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.accounts, func(a *account) bool { return a.name == service })
	if i < 0 {
		i = len(b.accounts)
		b.accounts = append(b.accounts, &account{
			name: service, want: want, seen: map[string]bool{}, last: map[string]int{}, full: make(chan struct{}),
		})
	}
	m := &Member{account: b.accounts[i], book: b}
	m.members = append(m.members, m)
	return m
}

// Took writes a message down.
func (m *Member) Took(id string) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	m.enter(id)
}

// TookInTurn writes down a message that has a key, whose messages have rising numbers.
func (m *Member) TookInTurn(key string, number int) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	if !m.enter(fmt.Sprint(key, " ", number)) {
		return
	}
	if last := m.last[key]; number <= last && m.wrong == "" {
		m.wrong = fmt.Sprintf("%d of %s came after %d", number, key, last)
	}
	m.last[key] = number
}

// enter counts a message; false if it came before.
func (m *Member) enter(id string) bool {
	if m.seen[id] {
		m.again++
		return false
	}
	m.seen[id] = true
	m.got++
	if len(m.seen) == m.want {
		close(m.full)
	}
	return true
}

// Got returns how many different messages the service got so far.
func (m *Member) Got() int {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	return len(m.seen)
}

// Say tells what happened, in the name of the service.
func (m *Member) Say(format string, args ...any) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	fmt.Fprintf(m.book.w, "  %-12s %s\n", m.name, fmt.Sprintf(format, args...))
}

// Wait waits until the service has everything; if ctx ends first, it returns why.
func (m *Member) Wait(ctx context.Context) error {
	select {
	case <-m.full:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wait waits until every service has everything; if ctx ends first, it returns why.
func (b *Book) Wait(ctx context.Context) error {
	b.mu.Lock()
	accounts := slices.Clone(b.accounts)
	b.mu.Unlock()
	for _, a := range accounts {
		if err := a.members[0].Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Check returns what is wrong so far.
func (b *Book) Check() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var wrong []error
	for _, a := range b.accounts {
		if a.wrong != "" {
			wrong = append(wrong, fmt.Errorf("%s: %s", a.name, a.wrong))
		}
		if len(a.seen) != a.want {
			wrong = append(wrong, fmt.Errorf("%s got %d of %d", a.name, len(a.seen), a.want))
		}
	}
	return errors.Join(wrong...)
}

// Report prints the table, and returns what is wrong in it.
func (b *Book) Report() error {
	return errors.Join(b.print(), b.Check())
}

func (b *Book) print() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintln(b.w)
	table := tabwriter.NewWriter(b.w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  WHO\tGOT\tOF\tAGAIN\tBY MEMBER\tORDER")
	for _, a := range b.accounts {
		order := "-"
		switch {
		case a.wrong != "":
			order = a.wrong
		case len(a.last) > 0:
			order = "kept for each key"
		}
		shares := ""
		for i, m := range a.members {
			if i > 0 {
				shares += " + "
			}
			shares += fmt.Sprint(m.got)
		}
		fmt.Fprintf(table, "  %s\t%d\t%d\t%d\t%s\t%s\n", a.name, len(a.seen), a.want, a.again, shares, order)
	}
	return table.Flush()
}
