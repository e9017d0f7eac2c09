package main

import (
	"bytes"
	"strings"
	"testing"
)

const results = `{"case":"one","who":"raw","per_s":100,"ratio":1,"time":"2026-01-01T00:00:00Z"}
{"case":"one","who":"waybill","per_s":90,"ratio":0.9,"time":"2026-01-01T00:00:00Z"}

{"case":"two/a","who":"raw","per_s":5,"ratio":1,"time":"2026-01-01T00:00:01Z","requests":1.1}
{"case":"one","who":"raw","per_s":2000000,"ratio":1,"time":"2026-01-02T00:00:00Z"}
{"case":"one","who":"waybill","per_s":2500,"ratio":0.00125,"time":"2026-01-02T00:00:00Z"}
`

func TestNewestRunOfEachCase(t *testing.T) {
	t.Parallel()
	charts, err := read([]byte(results))
	if err != nil {
		t.Fatal(err)
	}
	if len(charts) != 2 || charts[0].name != "one" || len(charts[0].rows) != 2 || charts[0].rows[1].Ratio != 0.00125 || len(charts[1].rows) != 1 {
		t.Fatalf("got %+v", charts)
	}
	svg, err := paint(charts)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"<svg", "two/a", "waybill", "0.0013, 2k/s", "1.00, 2.0M/s"} {
		if !bytes.Contains(svg, []byte(text)) {
			t.Errorf("the drawing has no %q", text)
		}
	}
}

func TestWrongResults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "no rows", "{\"case\":\"x\"}": "line 1: a row needs", "\n{": "line 2",
	} {
		if _, err := read([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v; want %q", text, err, want)
		}
	}
}
