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

// A ParamError says what is wrong with one parameter. Its code is CodeInvalid.
type ParamError struct {
	// Name is the parameter's name.
	Name string
	// Text says whose parameter it is, what is wrong, and what to do.
	Text string
	// Err is the cause; may be nil.
	Err error
}

func (e *ParamError) Error() string {
	if e.Err != nil {
		return e.Text + ": " + e.Err.Error()
	}
	return e.Text
}

// Unwrap returns the cause.
func (e *ParamError) Unwrap() error { return e.Err }

// ErrorCode returns CodeInvalid.
func (e *ParamError) ErrorCode() Code { return CodeInvalid }

// NewParams starts reading parameters that are not a URL's; what names their owner
// in errors.
func NewParams(what string, values map[string]string) *Params {
	p := &Params{what: what, values: make(url.Values, len(values))}
	for name, v := range values {
		p.values.Set(name, v)
	}
	return p
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

func (p *Params) fail(name, format string, args ...any) { p.failBy(name, nil, format, args...) }

func (p *Params) failBy(name string, cause error, format string, args ...any) {
	if p.err == nil {
		p.err = &ParamError{Name: name, Text: fmt.Sprintf("%s: parameter %q %s", p.what, name, fmt.Sprintf(format, args...)), Err: cause}
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
		if near := Nearest(name, p.known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		} else {
			text += "; known: " + strings.Join(p.known, ", ")
		}
		return &ParamError{Name: name, Text: text}
	}
	return nil
}
