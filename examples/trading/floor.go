package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// floor is where the readers are.
type floor struct {
	bell, book *ledger.Book
	readers    []*reader
	stored     latency // from publishing to the broker's confirmation
}

// reader is one service, with how long signals took to reach it.
type reader struct {
	name       string
	bell, book *ledger.Member
	latency
}

func newFloor(signals int) *floor {
	f := &floor{bell: ledger.New(io.Discard), book: ledger.New(io.Discard)}
	for _, name := range []string{"execution", "notification", "log"} {
		f.readers = append(f.readers, &reader{
			name: name, bell: f.bell.Member(name, len(symbols)), book: f.book.Member(name, signals),
		})
	}
	return f
}

// open opens the subscriptions. The log takes what is there at once, as a database would
// like it.
func (f *floor) open(ctx context.Context, client *config.Client) ([]pubsub.Route, error) {
	var routes []pubsub.Route
	for _, r := range f.readers {
		s, err := client.Subscriber(ctx, r.name)
		if err != nil {
			return nil, err
		}
		route := pubsub.Handle(s, pubsub.Typed(codec.JSON[Signal](), r.read))
		if r.name == "log" {
			route = pubsub.HandleBatch(s, pubsub.BatchPolicy{Messages: 100}, r.readAll)
		}
		routes = append(routes, route)
	}
	return routes, nil
}

func (r *reader) read(_ context.Context, s Signal, _ *pubsub.Delivery) error {
	if s.Number == 0 {
		r.bell.Took(s.Symbol)
		return nil
	}
	r.since(s.Sent)
	r.book.TookInTurn(s.Symbol, s.Number)
	return nil
}

// readAll returns a verdict for each signal.
func (r *reader) readAll(ctx context.Context, batch []*pubsub.Delivery) []error {
	verdicts := make([]error, len(batch))
	for i, d := range batch {
		var s Signal
		if err := json.Unmarshal(d.Body, &s); err != nil {
			verdicts[i] = pubsub.Permanent(err)
			continue
		}
		verdicts[i] = r.read(ctx, s, d)
	}
	return verdicts
}

// report prints the table, and returns what is wrong.
func (f *floor) report(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tSIGNALS\tP50\tP99\tMAX\t")
	row := func(name string, l *latency) {
		fmt.Fprintf(table, "%s\t%d\t%v\t%v\t%v\t\n", name, l.count(), l.percentile(50), l.percentile(99), l.percentile(100))
	}
	row("stored", &f.stored)
	for _, r := range f.readers {
		row(r.name, &r.latency)
	}
	return errors.Join(table.Flush(), f.book.Check())
}
