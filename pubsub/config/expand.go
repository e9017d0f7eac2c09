package config

import (
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts environment variables into a text. changed says whether there were any.
func expand(text string, lookup func(string) (string, bool)) (expanded string, changed bool, err error) {
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), changed, nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		reference, rest, closed := strings.Cut(text[i+2:], "}")
		name, fallback, has := strings.Cut(reference, ":-")
		switch {
		case !closed:
			return "", false, invalid("has a ${ without its }; write $${ for a plain one")
		case !variableName.MatchString(name) || strings.Contains(fallback, "${"):
			return "", false, invalid("has a ${...} that is neither ${NAME} nor ${NAME:-text}; write $${ for a plain one")
		}
		value, set := lookup(name)
		switch {
		case has && value == "":
			value = fallback
		case !set:
			return "", false, invalid("environment variable %s is not set; set it, or give a default: ${%s:-...}", name, name)
		}
		b.WriteString(value)
		text, changed = rest, true
	}
}
