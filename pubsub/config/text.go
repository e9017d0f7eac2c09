package config

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// String writes the plan for people: what would be done, and what each part rests on.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "plan of %s\n", p.File)
	for _, broker := range p.Brokers {
		broker.write(&b)
	}
	return b.String()
}

func (p *BrokerPlan) write(b *strings.Builder) {
	fmt.Fprintf(b, "\nbroker %s: %s at %s\n", p.Name, p.Broker, p.URL)
	for _, t := range p.Topics {
		t.write(b, fmt.Sprintf("topic %s: %s", t.Name, t.what()))
	}
	for _, s := range p.Subscriptions {
		s.write(b, fmt.Sprintf("subscription %s: %s", s.Name, s.reader()))
	}
	fmt.Fprintf(b, "\n  what %s keeps, and how\n", p.Broker)
	write(b, p.Promises)
}

func (i *Item) write(b *strings.Builder, title string) {
	fmt.Fprintf(b, "\n  %-8s %s\n", i.Action, title)
	write(b, i.Promises)
	for _, problem := range i.Problems {
		fmt.Fprintf(b, "    problem: %s\n", problem)
	}
}

// what describes a topic.
func (i *Item) what() string {
	s := i.Kind
	if i.Ordered {
		s += ", ordered"
	}
	if i.Topic != i.Name {
		s += fmt.Sprintf(", %q on the broker", i.Topic)
	}
	return s
}

// reader describes a subscription.
func (i *Item) reader() string {
	var s string
	switch {
	case i.Group != "":
		s = fmt.Sprintf("group %s of %s", i.Group, i.Topic)
	case i.Broadcast:
		s = "a copy of everything in " + i.Topic
	default:
		s = "queue " + i.Topic
	}
	if i.DeadLetter != "" {
		return s + ", dead letters to " + i.DeadLetter
	}
	return s + ", drops what fails permanently"
}

// write aligns promises in two columns.
func write(b *strings.Builder, promises []Promise) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, p := range promises {
		means := p.Means
		if p.Detail != "" {
			means += ": " + p.Detail
		}
		_, _ = fmt.Fprintf(w, "    %s\t%s\n", p.Name, means) // a Builder does not fail
	}
	_ = w.Flush()
}
