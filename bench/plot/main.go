// Plot draws the newest results of each case: for every results/NAME.jsonl a plots/NAME.svg
// with a chart a case, whose bars are speeds to that of the case's baseline.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/waybill-go/waybill/bench/measure"
)

func main() {
	from := flag.String("from", "results", "the `folder` of the results")
	to := flag.String("to", "plots", "the `folder` of the plots")
	flag.Parse()
	if err := run(*from, *to); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "*.jsonl"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("there is no .jsonl in %s", from)
	}
	if err := os.MkdirAll(to, 0o755); err != nil { //nolint:gosec // figures for everybody
		return err
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		if err := one(file, filepath.Join(to, name+".svg")); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func one(from, to string) error {
	text, err := os.ReadFile(from) //nolint:gosec // named by the user
	if err != nil {
		return err
	}
	cases, err := read(text)
	if err != nil {
		return err
	}
	svg, err := paint(cases)
	if err != nil {
		return err
	}
	return os.WriteFile(to, svg, 0o644) //nolint:gosec // figures for everybody
}

// A chart is the newest run of a case.
type chart struct {
	name string
	rows []measure.Row
}

// read finds the newest run of each case, in the order of the file. The rows of a run have
// one time.
func read(text []byte) ([]chart, error) {
	var charts []chart
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var row measure.Row
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if row.Case == "" || row.Who == "" || row.Ratio < 0 {
			return nil, fmt.Errorf("line %d: a row needs a case, a contender, and a ratio that is not negative", n)
		}
		at := slices.IndexFunc(charts, func(c chart) bool { return c.name == row.Case })
		if at < 0 {
			charts = append(charts, chart{name: row.Case})
			at = len(charts) - 1
		}
		c := &charts[at]
		switch {
		case len(c.rows) == 0 || row.Time.After(c.rows[0].Time):
			c.rows = []measure.Row{row}
		case row.Time.Equal(c.rows[0].Time):
			c.rows = append(c.rows, row)
		}
	}
	if len(charts) == 0 {
		return nil, errors.New("there are no rows")
	}
	return charts, lines.Err()
}

const (
	columns = 2
	width   = 12 * vg.Centimeter // of a chart
	bar     = 0.55 * vg.Centimeter
	frame   = 1.6 * vg.Centimeter // of a chart, above and below its bars
)

var (
	ours   = color.RGBA{R: 0x1f, G: 0x6f, B: 0xb4, A: 0xff}
	theirs = color.RGBA{R: 0xb8, G: 0xc2, B: 0xcc, A: 0xff}
)

// paint draws charts in rows of two.
func paint(charts []chart) ([]byte, error) {
	most := 0
	for _, c := range charts {
		most = max(most, len(c.rows))
	}
	lines := (len(charts) + columns - 1) / columns
	height := bar*vg.Length(most) + frame
	canvas := vgsvg.New(width*columns, height*vg.Length(lines))
	area := draw.New(canvas)
	area.SetColor(color.White)
	area.Fill(area.Rectangle.Path())
	tiles := draw.Tiles{Cols: columns, Rows: lines, PadX: vg.Millimeter * 4, PadY: vg.Millimeter * 2}
	for i, c := range charts {
		p, err := c.plot(most)
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", c.name, err)
		}
		p.Draw(tiles.At(area, i%columns, i/columns))
	}
	var svg bytes.Buffer
	_, err := canvas.WriteTo(&svg)
	return svg.Bytes(), err
}

// plot makes a chart of horizontal bars, the first row on top, with room for so many.
func (c chart) plot(room int) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = c.name
	p.Title.TextStyle.Font = font.From(p.Title.TextStyle.Font, 11)
	p.X.Min, p.X.Max = 0, 1.1
	p.Y.Min, p.Y.Max = float64(len(c.rows)-room)-.6, float64(len(c.rows))-.4
	names := make([]string, len(c.rows))
	values := [2]plotter.Values{make(plotter.Values, len(c.rows)), make(plotter.Values, len(c.rows))}
	labels := plotter.XYLabels{XYs: make(plotter.XYs, len(c.rows)), Labels: make([]string, len(c.rows))}
	for i, row := range c.rows {
		at := len(c.rows) - 1 - i
		names[at] = row.Who
		values[mine(row.Who)][at] = row.Ratio
		labels.XYs[at] = plotter.XY{X: row.Ratio, Y: float64(at)}
		labels.Labels[at] = " " + short(row.Ratio) + ", " + perSecond(row.PerS)
		p.X.Max = max(p.X.Max, 1.1*row.Ratio)
	}
	p.X.Max *= 1.3 // for the labels
	for i, fill := range []color.Color{theirs, ours} {
		b, err := plotter.NewBarChart(values[i], bar*.7)
		if err != nil {
			return nil, err
		}
		b.Horizontal, b.Color, b.LineStyle.Width = true, fill, 0
		p.Add(b)
	}
	text, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	for i := range text.TextStyle {
		text.TextStyle[i].Font = font.From(text.TextStyle[i].Font, 8)
		text.TextStyle[i].YAlign = draw.YCenter
	}
	p.Add(text)
	p.NominalY(names...)
	p.Y.Tick.Label.Font = font.From(p.Y.Tick.Label.Font, 9)
	p.X.Tick.Label.Font = font.From(p.X.Tick.Label.Font, 8)
	return p, nil
}

// mine is 1 for the contenders that are Waybill.
func mine(who string) int {
	if strings.HasPrefix(who, "waybill") {
		return 1
	}
	return 0
}

// short writes a ratio with the digits that say something.
func short(ratio float64) string {
	if ratio >= 100 {
		return strconv.FormatFloat(ratio, 'f', 0, 64)
	}
	if ratio >= 0.1 {
		return strconv.FormatFloat(ratio, 'f', 2, 64)
	}
	return strconv.FormatFloat(ratio, 'g', 2, 64)
}

func perSecond(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1fM/s", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0fk/s", n/1e3)
	default:
		return fmt.Sprintf("%.0f/s", n)
	}
}
