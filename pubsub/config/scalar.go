package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A scalar reads itself from text. want says what it takes, after "want ".
type scalar interface {
	set(text string) bool
	want() string
}

// A word is a scalar of a few words; the first is the default.
type word interface{ words() []string }

// count is a number of at least 1; zero: not said.
type count int

func (c *count) set(text string) bool {
	n, err := strconv.Atoi(text)
	*c = count(n)
	return err == nil && n >= 1
}

func (*count) want() string { return "a whole number, 1 or more" }

// size is a number of bytes, at least 1; zero: not said.
type size int

var units = []struct {
	name  string
	bytes int
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}}

func (s *size) set(text string) bool {
	unit := 1
	for _, u := range units {
		if number, found := strings.CutSuffix(text, u.name); found {
			text, unit = strings.TrimSpace(number), u.bytes
			break
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > math.MaxInt/unit {
		return false
	}
	*s = size(n * unit)
	return true
}

func (*size) want() string { return "a size such as 65536, 64KiB or 10MB" }

// span is a duration longer than zero; zero: not said.
type span time.Duration

func (s *span) set(text string) bool {
	d, err := time.ParseDuration(text)
	*s = span(d)
	return err == nil && d > 0
}

func (*span) want() string { return "a duration such as 500ms, 30s or 2h" }

// pause is a duration that may be zero, which is kept as -1; zero: not said.
type pause time.Duration

func (p *pause) set(text string) bool {
	d, err := time.ParseDuration(text)
	if *p = pause(d); d == 0 {
		*p = -1
	}
	return err == nil && d >= 0
}

func (*pause) want() string { return "a duration such as 5ms, or 0s" }

// factor is a number of at least 1; zero: not said.
type factor float64

func (f *factor) set(text string) bool {
	n, err := strconv.ParseFloat(text, 64)
	*f = factor(n)
	return err == nil && n >= 1 && !math.IsInf(n, 0)
}

func (*factor) want() string { return "a number, 1 or more" }

// share is a number from 0, which is kept as -1, to 1; zero: not said.
type share float64

func (s *share) set(text string) bool {
	n, err := strconv.ParseFloat(text, 64)
	if *s = share(n); n == 0 {
		*s = -1
	}
	return err == nil && n >= 0 && n <= 1
}

func (*share) want() string { return "a number from 0 to 1" }

// reference says where a secret is.
type reference struct{ from, name string }

func (r *reference) set(text string) bool {
	from, name, found := strings.Cut(text, ":")
	*r = reference{from, name}
	return found && name != "" && (from == "file" || from == "env" && variableName.MatchString(name))
}

func (*reference) want() string { return "a reference to a secret: file:PATH or env:NAME" }

type kind string

func (kind) words() []string { return []string{"event", "queue"} }

type topology string

func (topology) words() []string { return []string{"create", "verify", "assume"} }

type taker string

func (taker) words() []string { return []string{"middleware", "broker"} }
