// Package measure compares contenders that do the same work: in rounds, in which
// each has its turn, so that a noisy machine is noisy for all of them.
package measure

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

// A Contender does one case's work.
type Contender struct {
	// Who is its name. The first of a Case is the baseline.
	Who string
	// Messages is how many it carries in one round.
	Messages int
	// Prepare makes ready what is not measured, and returns what is: run carries
	// n messages and returns when all are handled. stop ends what was prepared.
	Prepare func(ctx context.Context) (run func(ctx context.Context, n int) error, stop func() error, err error)
}

// A Case is one kind of work. The first contender is the baseline of the ratios.
type Case struct {
	Name       string
	Contenders []Contender
}

// A Row is one contender's result in one case.
type Row struct {
	// Case and Who say whose it is.
	Case string `json:"case"`
	Who  string `json:"who"`
	// PerS is messages a second, the median of the rounds.
	PerS float64 `json:"per_s"`
	// Ratio is the time a message takes, to that of the baseline in the same round:
	// the median of the rounds. 2 is twice as slow.
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
}

type sample struct{ seconds, allocs, cpu float64 } // a message

// Run measures a case in so many rounds, after one that does not count.
func Run(ctx context.Context, c Case, rounds int) ([]Row, error) {
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
		ratios := make([]float64, rounds)
		for r := range ratios {
			ratios[r] = samples[i][r].seconds / samples[0][r].seconds
		}
		rows[i] = Row{
			Case: c.Name, Who: contender.Who, Messages: contender.Messages, Rounds: rounds,
			PerS:   1 / median(samples[i], func(s sample) float64 { return s.seconds }),
			Ratio:  middle(ratios),
			Allocs: median(samples[i], func(s sample) float64 { return s.allocs }),
			CPU:    median(samples[i], func(s sample) float64 { return s.cpu }),
			Go:     runtime.Version(), Time: time.Now().UTC().Truncate(time.Second),
		}
	}
	return rows, nil
}

func once(ctx context.Context, c Contender) (s sample, err error) {
	run, stop, err := c.Prepare(ctx)
	if err != nil {
		return s, err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, began := cpuTime(), time.Now()
	err = run(ctx, c.Messages)
	took, used := time.Since(began), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	if stopErr := stop(); err == nil {
		err = stopErr
	}
	n := float64(c.Messages)
	return sample{took.Seconds() / n, float64(after.Mallocs-before.Mallocs) / n, float64(used.Microseconds()) / n}, err
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
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "CASE\tWHO\tMESSAGES/S\tNS\tRATIO\tALLOCS\tCPU µS\t")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t\n", r.Case, r.Who, r.PerS, 1e9/r.PerS, r.Ratio, r.Allocs, r.CPU)
	}
	return table.Flush()
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
