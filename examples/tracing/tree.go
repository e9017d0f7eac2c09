package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-go/waybill/middleware/otel"
)

// draw draws the spans, children beneath their parents, and returns an error unless all are
// of one trace.
func draw(w io.Writer, spans tracetest.SpanStubs) error {
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	drawn := 0
	var beneath func(parent trace.SpanID, depth int)
	beneath = func(parent trace.SpanID, depth int) {
		for i := range spans {
			if spans[i].Parent.SpanID() == parent {
				drawn++
				_, _ = fmt.Fprintf(w, "%s%s\n", strings.Repeat("    ", depth), describe(&spans[i]))
				beneath(spans[i].SpanContext.SpanID(), depth+1)
			}
		}
	}
	beneath(trace.SpanID{}, 0)
	for i := range spans {
		if spans[i].SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
			return errors.New("the trace is torn")
		}
	}
	if drawn != len(spans) {
		return fmt.Errorf("%d of %d spans have no place in the tree", len(spans)-drawn, len(spans))
	}
	return nil
}

// describe is a span in a line: its name, whose it is, and what became of it.
func describe(s *tracetest.SpanStub) string {
	text := s.Name
	for _, a := range s.Attributes {
		switch a.Key {
		case "messaging.consumer.group.name":
			text += " by " + a.Value.AsString()
		case otel.VerdictKey:
			text += ": " + a.Value.AsString()
		}
	}
	if s.Status.Description != "" {
		text += ", " + s.Status.Description
	}
	return text
}
