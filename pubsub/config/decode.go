package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// valuesAtMost bounds what aliases can make of a small file.
const valuesAtMost = 100_000

// decoder makes a document of a YAML tree. It is strict, and it remembers where keys
// stand, for what is found out later.
type decoder struct {
	faults   faults
	lookup   func(string) (string, bool)
	defaults defaults
	values   int
}

// fault is of a value, and so at the value's place.
func (d *decoder) fault(n *yaml.Node, key string, err error) {
	d.faults.list = append(d.faults.list, &Error{File: d.faults.file, Line: n.Line, Column: n.Column, Key: key, Err: err})
}

func (d *decoder) value(n *yaml.Node, key string, v reflect.Value) {
	if d.values++; d.values >= valuesAtMost {
		if d.values == valuesAtMost {
			d.fault(n, key, invalid("the file has more than %d values", valuesAtMost))
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	s, isScalar := v.Addr().Interface().(scalar)
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		d.fault(n, key, invalid("has a tag; leave it out: the key says what the value is"))
	case isScalar || v.Kind() == reflect.String || v.Kind() == reflect.Bool:
		d.scalar(n, key, v, s)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		// A section without anything in it.
	case n.Kind != yaml.MappingNode:
		d.fault(n, key, invalid("want keys and values, one a line and indented%s", keysOf(v)))
	case v.Kind() == reflect.Map:
		d.table(n, key, v)
	default:
		d.structure(n, key, v)
	}
}

// structure decodes into a struct, in the order of its fields: defaults come before
// what has them.
func (d *decoder) structure(n *yaml.Node, key string, v reflect.Value) {
	fields := fieldsOf(v)
	known := keyNames(fields)
	given := d.pairs(n, key)
	for _, p := range given {
		if !slices.Contains(known, p.name) {
			end := nearest(p.name, known)
			if end == "" {
				end = "; known: " + strings.Join(known, ", ")
			}
			d.fault(p.key, under(key, p.name), invalid("unknown key%s", end))
		}
	}
	for _, f := range fields {
		for _, p := range given {
			if p.name == f.name {
				d.value(p.value, under(key, p.name), f.value)
			}
		}
		if def, ok := f.value.Interface().(defaults); ok {
			d.defaults = def
		}
	}
}

func keyNames(fields []field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// keysOf lists what a section may have, where that is known.
func keysOf(v reflect.Value) string {
	if v.Kind() != reflect.Struct {
		return ""
	}
	return "; keys: " + strings.Join(keyNames(fieldsOf(v)), ", ")
}

// table decodes into a map by name.
func (d *decoder) table(n *yaml.Node, key string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range d.pairs(n, key) {
		if p.name == "" {
			d.fault(p.key, key, invalid("a name is empty"))
			continue
		}
		element := reflect.New(v.Type().Elem())
		switch e := element.Interface().(type) {
		case *topic:
			e.topicPolicy = d.defaults.Topic
		case *subscription:
			e.policy = d.defaults.Subscription
		}
		d.value(p.value, under(key, p.name), element.Elem())
		v.SetMapIndex(reflect.ValueOf(p.name), element.Elem())
	}
}

type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs lists a mapping's keys, and remembers where they stand.
func (d *decoder) pairs(n *yaml.Node, key string) []pair {
	var list []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		name := k.Value
		switch {
		case k.Kind != yaml.ScalarNode:
			d.fault(k, key, invalid("a key is not a word"))
			continue
		case k.Tag == "!!merge":
			d.fault(k, key, invalid("<< is not known here; say what is common in defaults"))
			continue
		case slices.ContainsFunc(list, func(p pair) bool { return p.name == name }):
			d.fault(k, under(key, name), invalid("is given twice"))
			continue
		}
		d.faults.places[under(key, name)] = place{k.Line, k.Column}
		list = append(list, pair{name, k, n.Content[i+1]})
	}
	return list
}

// scalar decodes one value. Errors quote what the file says, never what an
// environment variable is.
func (d *decoder) scalar(n *yaml.Node, key string, v reflect.Value, s scalar) {
	_, isWord := v.Interface().(word)
	want := "a text"
	switch {
	case s != nil:
		want = s.want()
	case isWord:
		want = "one of " + strings.Join(v.Interface().(word).words(), ", ")
	case v.Kind() == reflect.Bool:
		want = "true or false"
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		d.fault(n, key, invalid("is a list or a section; want %s", want))
		return
	case n.Tag == "!!null":
		d.fault(n, key, invalid("is empty; want %s, or leave the key out", want))
		return
	}
	text, expanded, err := expand(n.Value, d.lookup)
	if err != nil {
		d.fault(n, key, err)
		return
	}
	said := fmt.Sprintf("is %q", n.Value)
	if _, secret := s.(*reference); secret {
		said = "is not one" // it may be the secret itself
	}
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	ok := true
	switch {
	case quoted && !expanded && isNumber(v):
		want += ", without quotes"
		ok = false
	case s != nil:
		ok = s.set(text)
	case isWord:
		words := v.Interface().(word).words()
		if ok = slices.Contains(words, text); !ok && !expanded {
			want += nearest(text, words)
		}
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		ok = text == "true" || text == "false"
		v.SetBool(text == "true")
	case text == "":
		d.fault(n, key, invalid("is empty; give a text, or leave the key out"))
	default:
		v.SetString(text)
	}
	if !ok {
		d.fault(n, key, invalid("%s; want %s", said, want))
	}
}

// isNumber says whether YAML has a type for the value, which quotes would hide.
func isNumber(v reflect.Value) bool {
	switch v.Interface().(type) {
	case bool, count, factor, share:
		return true
	default:
		return false
	}
}

type field struct {
	name  string
	value reflect.Value
}

// fieldsOf lists a struct's fields by their keys, those of embedded structs among them.
func fieldsOf(v reflect.Value) []field {
	var list []field
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous {
			list = append(list, fieldsOf(v.Field(i))...)
		} else {
			list = append(list, field{f.Tag.Get("yaml"), v.Field(i)})
		}
	}
	return list
}
