package measure_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/bench/measure"
)

func contender(who string, runs *[]string, err error) measure.Contender {
	return measure.Contender{Who: who, Messages: 10, Prepare: func(context.Context) (func(context.Context, int) error, func() error, error) {
		run := func(_ context.Context, n int) error {
			*runs = append(*runs, who)
			return err
		}
		return run, func() error { return nil }, nil
	}}
}

func TestRunInterleaves(t *testing.T) {
	t.Parallel()
	var runs []string
	rows, err := measure.Run(t.Context(), measure.Case{Name: "c", Contenders: []measure.Contender{
		contender("a", &runs, nil), contender("b", &runs, nil),
	}}, 2)
	if err != nil || len(rows) != 2 || rows[0].Ratio != 1 || rows[0].Who != "a" || rows[1].Rounds != 2 {
		t.Fatalf("%+v, %v", rows, err)
	}
	if got := strings.Join(runs, ""); got != "abbaab" {
		t.Errorf("ran in the order %s", got)
	}
	var out strings.Builder
	if err := measure.Append(&out, rows); err != nil {
		t.Fatal(err)
	}
	var row map[string]any
	if err := json.Unmarshal([]byte(strings.Split(out.String(), "\n")[0]), &row); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"case", "who", "per_s", "ratio", "allocs", "cpu_us"} {
		if _, ok := row[key]; !ok {
			t.Errorf("row lacks %q", key)
		}
	}
	if err := measure.Print(&out, rows); err != nil {
		t.Error(err)
	}
}

func TestRunTellsWhoFailed(t *testing.T) {
	t.Parallel()
	var runs []string
	boom := errors.New("boom")
	_, err := measure.Run(t.Context(), measure.Case{Name: "c", Contenders: []measure.Contender{contender("a", &runs, boom)}}, 1)
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "c, a") {
		t.Fatalf("got %v", err)
	}
}
