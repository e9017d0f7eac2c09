package driver

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Params reads a URL's query into typed values and knows afterwards what nobody
// asked for. The getters leave the value as it is where the parameter is absent.
// Errors are gathered; End returns the first, or one that names an unknown
// parameter and the nearest known one.
type Params struct {
	what   string
	values url.Values
	known  []string
	err    error
}

// ParseParams starts reading the query of u.
func ParseParams(u *url.URL) *Params {
	values, err := url.ParseQuery(u.RawQuery)
	p := &Params{what: u.Scheme + " URL", values: values}
	p.err = Wrap(CodeInvalid, p.what+": query does not parse", err)
	return p
}

func (p *Params) get(name string) (string, bool) {
	p.known = append(p.known, name)
	v := p.values[name]
	if len(v) > 1 {
		p.fail(name, "is given more than once")
	}
	if len(v) == 0 {
		return "", false
	}
	return v[0], true
}

func (p *Params) fail(name, format string, args ...any) {
	if p.err == nil {
		p.err = Errorf(CodeInvalid, fmt.Sprintf("%s: parameter %q %s", p.what, name, fmt.Sprintf(format, args...)))
	}
}

// String reads a string.
func (p *Params) String(name string, v *string) {
	if s, ok := p.get(name); ok {
		*v = s
	}
}

// Choice reads one of the given words.
func (p *Params) Choice(name string, v *string, words ...string) {
	if s, ok := p.get(name); ok {
		if !slices.Contains(words, s) {
			p.fail(name, "is %q; want one of %s", s, strings.Join(words, ", "))
			return
		}
		*v = s
	}
}

// Int reads a number that is not negative.
func (p *Params) Int(name string, v *int) {
	if s, ok := p.get(name); ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			p.fail(name, "is %q; want a number, 0 or more", s)
			return
		}
		*v = n
	}
}

// Bool reads true or false.
func (p *Params) Bool(name string, v *bool) {
	if s, ok := p.get(name); ok {
		switch s {
		case "true":
			*v = true
		case "false":
			*v = false
		default:
			p.fail(name, "is %q; want true or false", s)
		}
	}
}

// Duration reads a duration such as 30s that is not negative.
func (p *Params) Duration(name string, v *time.Duration) {
	if s, ok := p.get(name); ok {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			p.fail(name, "is %q; want a duration such as 30s", s)
			return
		}
		*v = d
	}
}

// End returns what was wrong, if anything.
func (p *Params) End() error {
	if p.err != nil {
		return p.err
	}
	names := make([]string, 0, len(p.values))
	for name := range p.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if slices.Contains(p.known, name) {
			continue
		}
		slices.Sort(p.known)
		text := fmt.Sprintf("%s: unknown parameter %q", p.what, name)
		if near := nearest(name, p.known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		} else {
			text += "; known: " + strings.Join(p.known, ", ")
		}
		return Errorf(CodeInvalid, text)
	}
	return nil
}

// nearest finds the known word that is closest to the misspelt one, if any is
// close enough to be meant.
func nearest(word string, known []string) string {
	best, bestDistance := "", 1+max(2, len(word)/2)
	for _, k := range known {
		if d := distance(word, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the edit distance of two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
