package measure_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// carrier carries each message in so long, of virtual time.
func carrier(who string, each time.Duration, requests *float64) measure.Contender {
	c := measure.Contender{Who: who, Messages: 100, Prepare: func(context.Context) (func(context.Context, int) error, func() error, error) {
		run := func(_ context.Context, n int) error {
			if requests != nil {
				*requests += float64(n) / 10
			}
			time.Sleep(time.Duration(n) * each)
			return nil
		}
		return run, func() error { return nil }, nil
	}}
	if requests != nil {
		c.Counters = map[string]func() float64{"requests": func() float64 { return *requests }}
	}
	return c
}

func TestRatioIsSpeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var requests float64
		rows, err := measure.Run(t.Context(), measure.Case{
			Name: "c", Baseline: "raw", Ratios: map[string]string{"ratio_slow": "slow"},
			Contenders: []measure.Contender{
				carrier("fast", time.Millisecond, &requests), carrier("raw", 2*time.Millisecond, nil), carrier("slow", 8*time.Millisecond, nil),
			},
		}, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []struct{ raw, slow float64 }{{2, 8}, {1, 4}, {.25, 1}} {
			if r := rows[i]; r.Ratio != want.raw || r.Extra["ratio_slow"] != want.slow {
				t.Errorf("%s: ratio %v, to the slow one %v; want %v", r.Who, r.Ratio, r.Extra["ratio_slow"], want)
			}
		}
		var out strings.Builder
		if err := errors.Join(measure.Append(&out, rows), measure.Print(&out, rows)); err != nil {
			t.Fatal(err)
		}
		var row struct {
			Case     string
			Ratio    float64
			Slow     float64 `json:"ratio_slow"`
			Requests float64
		}
		if err := json.NewDecoder(strings.NewReader(out.String())).Decode(&row); err != nil {
			t.Fatal(err)
		}
		if row.Case != "c" || row.Ratio != 2 || row.Slow != 8 || math.Abs(row.Requests-.1) > 1e-9 {
			t.Errorf("first row %+v of\n%s", row, out.String())
		}
		if !strings.Contains(out.String(), "RATIO_SLOW") {
			t.Errorf("the table lacks a column:\n%s", out.String())
		}
	})
}

func TestBaselineIsAContender(t *testing.T) {
	t.Parallel()
	c := measure.Case{Name: "c", Baseline: "nobody", Contenders: []measure.Contender{carrier("raw", 0, nil)}}
	if _, err := measure.Run(t.Context(), c, 1); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("got %v", err)
	}
}
