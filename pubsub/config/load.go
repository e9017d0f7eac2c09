package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Config is a file that was read and found to be without contradictions. Of secrets
// that are references it holds only where they are. It does not change, and may be used
// concurrently.
type Config struct {
	file   string
	lookup func(string) (string, bool)
	places map[string]place
	doc    document
}

// Load reads a file. The drivers that it names settings of must be imported. What is
// wrong are *Errors, joined; those that tell of the file's text have CodeInvalid.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the caller says which
	if err != nil {
		code := driver.CodeInvalid
		if errors.Is(err, os.ErrNotExist) {
			code = driver.CodeNotFound
		}
		return nil, driver.Wrap(code, "read configuration", err)
	}
	return Parse(path, text)
}

// Parse is as Load, for text that was read already. The path is for errors, and for
// the references to secrets that are relative to its folder.
func Parse(path string, text []byte) (*Config, error) {
	return parse(path, text, os.LookupEnv)
}

func parse(path string, text []byte, lookup func(string) (string, bool)) (*Config, error) {
	d := &decoder{faults: faults{file: path, places: map[string]place{}}, lookup: lookup}
	c := &Config{file: path, lookup: lookup, places: d.faults.places}
	var tree yaml.Node
	if err := yaml.Load(text, &tree); err != nil {
		return nil, syntax(path, text, err)
	}
	d.value(tree.Content[0], "", reflect.ValueOf(&c.doc).Elem())
	if len(d.faults.list) == 0 {
		c.fill()
		c.check(&d.faults)
	}
	if len(d.faults.list) > 0 {
		return nil, d.faults.err()
	}
	return c, nil
}

// syntax makes an Error of the parser's.
func syntax(path string, text []byte, err error) error {
	e := &Error{File: path, Err: driver.Wrap(driver.CodeInvalid, "not YAML", err)}
	if strings.Contains(err.Error(), "no documents") {
		e.Err = invalid("the file is empty; docs/config.md shows what belongs into it")
		return e
	}
	if cause := new(yaml.LoadError); errors.As(err, &cause) {
		e.Line, e.Column = cause.Mark.Line, cause.Mark.Column
		e.Err = invalid("not YAML: %s%s", cause.Message, tabs(text, cause.Mark.Line))
	}
	return e
}

// tabs ends a sentence about a line that is indented by tabs, which YAML does not take.
func tabs(text []byte, line int) string {
	lines := strings.Split(string(text), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	content := strings.TrimLeft(lines[line-1], " \t")
	if !strings.Contains(strings.TrimSuffix(lines[line-1], content), "\t") {
		return ""
	}
	return "; indent with spaces, not with tabs"
}

// String names the file, and nothing of what is in it.
func (c *Config) String() string { return "configuration " + c.file }

// DeclareNothing returns the configuration with topology verify in place of create, for
// programs that work with what is there: a client of it makes nothing on a broker, and what is
// missing is an error with CodeNotFound.
func (c *Config) DeclareNothing() *Config {
	same := *c
	same.doc.Topics = make(map[string]topic, len(c.doc.Topics))
	for name, t := range c.doc.Topics {
		same.doc.Topics[name] = t.declaringNothing()
	}
	return &same
}

// Places lists where the brokers are that topics are on, as URLs without user, password and
// parameters, in the order of the file.
func (c *Config) Places() []string {
	var places []string
	for _, name := range c.used() {
		b := c.doc.Brokers[name]
		places = append(places, b.place())
	}
	return places
}

// Topics lists the topics by their names in the file, in its order.
func (c *Config) Topics() []string { return names(c, "topics", c.doc.Topics) }

// Subscriptions lists the subscriptions by their names in the file, in its order.
func (c *Config) Subscriptions() []string { return names(c, "subscriptions", c.doc.Subscriptions) }

// Broadcast says whether a subscription of the file gets a copy of everything while it
// receives, so that nothing waits for it on the broker.
func (c *Config) Broadcast(subscription string) bool {
	return c.doc.Subscriptions[subscription].Broadcast
}

// names lists what a section has, in the order of the file.
func names[T any](c *Config, section string, m map[string]T) []string {
	list := make([]string, 0, len(m))
	for name := range m {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b string) int {
		x, y := c.places[under(section, a)], c.places[under(section, b)]
		if x.line != y.line {
			return x.line - y.line
		}
		return x.column - y.column
	})
	return list
}

// said says whether the file has a key.
func (c *Config) said(key string, parts ...string) bool {
	_, ok := c.places[under(key, parts...)]
	return ok
}

// dir is what references to files are relative to.
func (c *Config) dir() string { return filepath.Dir(c.file) }
