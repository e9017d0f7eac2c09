// Package measure compares contenders that do the same work: in rounds, in which
// each has its turn, so that a noisy machine is noisy for all of them.
package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// A Contender does one case's work.
type Contender struct {
	// Who is its name.
	Who string
	// Messages is how many it carries in one round.
	Messages int
	// Prepare makes ready what is not measured, and returns what is: run carries
	// n messages and returns when all are handled. stop ends what was prepared.
	Prepare func(ctx context.Context) (run func(ctx context.Context, n int) error, stop func() error, err error)
	// Counters make further columns: each is read before and after a run, and its
	// column is the difference a message, such as requests.
	Counters map[string]func() float64
}

// A Case is one kind of work.
type Case struct {
	Name       string
	Contenders []Contender
	// Baseline is whose speed the column ratio compares with; empty: the first's.
	Baseline string
	// Ratios are further columns with the speed of another contender as their
	// baseline, by column: "ratio_franz": "franz".
	Ratios map[string]string
}

// A Row is one contender's result in one case.
type Row struct {
	// Case and Who say whose it is.
	Case string `json:"case"`
	Who  string `json:"who"`
	// PerS is messages a second, the median of the rounds.
	PerS float64 `json:"per_s"`
	// Ratio is the speed, to that of the baseline in the same round: the median of
	// the rounds. 2 is twice as fast as the baseline, .5 half as fast.
	Ratio float64 `json:"ratio"`
	// Allocs is heap allocations a message, of the whole process.
	Allocs float64 `json:"allocs"`
	// CPU is user and system time a message, in microseconds.
	CPU float64 `json:"cpu_us"`
	// Messages and Rounds are how much was measured.
	Messages int `json:"messages"`
	Rounds   int `json:"rounds"`
	// Go and Time are with what and when.
	Go   string    `json:"go"`
	Time time.Time `json:"time"`
	// Extra are the Case's Ratios and the Contender's Counters, by column. In JSON
	// they stand beside the others.
	Extra map[string]float64 `json:"-"`
}

// sample is a message of one round.
type sample struct {
	seconds, allocs, cpu float64
	counters             map[string]float64
}

// Run measures a case in so many rounds, after one that does not count.
func Run(ctx context.Context, c Case, rounds int) ([]Row, error) {
	ratios, err := c.ratios()
	if err != nil {
		return nil, err
	}
	samples := make([][]sample, len(c.Contenders))
	for round := -1; round < rounds; round++ {
		for turn := range c.Contenders {
			i := (turn + round + 1) % len(c.Contenders)
			s, err := once(ctx, c.Contenders[i])
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.Name, c.Contenders[i].Who, err)
			}
			if round >= 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	rows := make([]Row, len(c.Contenders))
	for i, contender := range c.Contenders {
		extra := map[string]float64{}
		for name := range contender.Counters {
			extra[name] = median(samples[i], func(s sample) float64 { return s.counters[name] })
		}
		for name, baseline := range ratios {
			extra[name] = speed(samples[i], samples[baseline])
		}
		rows[i] = Row{
			Case: c.Name, Who: contender.Who, Messages: contender.Messages, Rounds: rounds,
			PerS:   1 / median(samples[i], func(s sample) float64 { return s.seconds }),
			Ratio:  extra[mainRatio],
			Allocs: median(samples[i], func(s sample) float64 { return s.allocs }),
			CPU:    median(samples[i], func(s sample) float64 { return s.cpu }),
			Go:     runtime.Version(), Time: time.Now().UTC().Truncate(time.Second),
			Extra: extra,
		}
		delete(extra, mainRatio)
	}
	return rows, nil
}

const mainRatio = "ratio"

// ratios gives the contender that is the baseline of each column of ratios.
func (c Case) ratios() (map[string]int, error) {
	columns := map[string]int{mainRatio: 0}
	named := maps.Clone(c.Ratios)
	if c.Baseline != "" {
		if named == nil {
			named = map[string]string{}
		}
		named[mainRatio] = c.Baseline
	}
	for column, who := range named {
		i := slices.IndexFunc(c.Contenders, func(of Contender) bool { return of.Who == who })
		if i < 0 {
			return nil, fmt.Errorf("%s: the baseline of %s is %q, which is no contender", c.Name, column, who)
		}
		columns[column] = i
	}
	return columns, nil
}

// speed is how much faster than the baseline a contender was, round by round.
func speed(of, baseline []sample) float64 {
	ratios := make([]float64, len(of))
	for round := range of {
		ratios[round] = baseline[round].seconds / of[round].seconds
	}
	return middle(ratios)
}

func once(ctx context.Context, c Contender) (s sample, err error) {
	run, stop, err := c.Prepare(ctx)
	if err != nil {
		return s, err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	counters := map[string]float64{}
	for name, read := range c.Counters {
		counters[name] = -read()
	}
	cpu, began := cpuTime(), time.Now()
	err = run(ctx, c.Messages)
	took, used := time.Since(began), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	n := float64(c.Messages)
	for name, read := range c.Counters {
		counters[name] = (counters[name] + read()) / n
	}
	if stopErr := stop(); err == nil {
		err = stopErr
	}
	return sample{
		seconds: took.Seconds() / n, allocs: float64(after.Mallocs-before.Mallocs) / n,
		cpu: float64(used.Microseconds()) / n, counters: counters,
	}, err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return middle(values)
}

func middle(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

// Print sets rows in a table.
func Print(w io.Writer, rows []Row) error {
	var extra []string
	for _, r := range rows {
		extra = slices.AppendSeq(extra, maps.Keys(r.Extra))
	}
	slices.Sort(extra)
	extra = slices.Compact(extra)

	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "CASE\tWHO\tMESSAGES/S\tNS\tRATIO\tALLOCS\tCPU µS\t")
	for _, name := range extra {
		fmt.Fprintf(table, "%s\t", strings.ToUpper(name))
	}
	fmt.Fprintln(table)
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%.0f\t%.3g\t%.2f\t%.2f\t", r.Case, r.Who, r.PerS, 1e9/r.PerS, r.Ratio, r.Allocs, r.CPU)
		for _, name := range extra {
			if v, ok := r.Extra[name]; ok {
				fmt.Fprintf(table, "%.3g", v)
			}
			fmt.Fprint(table, "\t")
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// MarshalJSON writes the fields and, after them, what is in Extra.
func (r Row) MarshalJSON() ([]byte, error) {
	type fields Row
	line, err := json.Marshal(fields(r))
	if err != nil || len(r.Extra) == 0 {
		return line, err
	}
	extra, err := json.Marshal(r.Extra)
	if err != nil {
		return nil, err
	}
	line[len(line)-1] = ','
	return append(line, extra[1:]...), nil
}

// Report prints rows and appends them to the file of that name.
func Report(w io.Writer, file string, rows []Row) error {
	if err := Print(w, rows); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // results are for everybody
	if err != nil {
		return err
	}
	return errors.Join(Append(f, rows), f.Close())
}

// Append writes rows as lines of JSON.
func Append(w io.Writer, rows []Row) error {
	encoder := json.NewEncoder(w)
	for _, r := range rows {
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
