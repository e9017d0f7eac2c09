package config

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"
)

const schemaFile = "schema.json"

// TestSchemaIsCurrent makes the schema of the types and their comments, and compares
// the file with it. With WAYBILL_UPDATE_DOCS=1 it writes the file.
func TestSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	text, err := json.MarshalIndent(newSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, schemaFile, append(text, '\n'))
}

// compare fails unless a file says what it should, or writes it.
func compare(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	switch {
	case err == nil && string(got) == string(want):
	case os.Getenv("WAYBILL_UPDATE_DOCS") == "1":
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not current (%v): run this test with WAYBILL_UPDATE_DOCS=1; want\n%s", path, err, want)
	}
}

// TestSchemaTellsRightFromWrong validates files as an editor would.
func TestSchemaTellsRightFromWrong(t *testing.T) {
	t.Parallel()
	shop, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := newSchema(t).Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, valid := range map[string]bool{
		string(shop): true,
		"brokers: {main: {url: x, password: env:P}}":         true,
		"topics: {orders: {settings: {kafka: {a: 3}}}}":      true,
		"topics: {orders: }":                                 true,
		"topics: {orders: {kind: '${KIND}'}}":                true,
		"subscriptions: {a: {concurrency: ${WORKERS}}}":      false, // not YAML in a flow: quotes are missing
		"subscriptions: {a: {concurrency: '${WORKERS:-3}'}}": true,
		"topics: {orders: {kind: evnet}}":                    false,
		"topics: {orders: {knid: event}}":                    false,
		"subscriptions: {a: {concurrency: many}}":            false,
		"subscriptions: {a: {concurrency: 0}}":               false,
		"subscriptions: {a: {drop-permanent: 'true'}}":       false,
		"brokers: {main: {password: hunter2}}":               false,
	} {
		var instance any
		err := yaml.Load([]byte(text), &instance)
		if err == nil {
			err = resolved.Validate(plain(t, instance))
		}
		if (err == nil) != valid {
			t.Errorf("%s: got %v; want valid: %t", text, err, valid)
		}
	}
}

// plain makes of YAML's values those of JSON.
func plain(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func newSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b := schemaBuilder{comments: comments(t), defs: map[string]*jsonschema.Schema{}}
	s := b.of(reflect.TypeFor[document]())
	s = b.defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
	delete(b.defs, "document")
	s.Schema, s.Title, s.Defs = "https://json-schema.org/draft/2020-12/schema", "Waybill configuration", b.defs
	return s
}

// schemaBuilder makes a schema of the types that the decoder decodes into.
type schemaBuilder struct {
	comments map[string]string // by type, or type.field
	defs     map[string]*jsonschema.Schema
}

// variable is what every value may be instead of what it is.
const variable = `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`

func (b *schemaBuilder) of(t reflect.Type) *jsonschema.Schema {
	one := func(kind, pattern string) *jsonschema.Schema { return &jsonschema.Schema{Type: kind, Pattern: pattern} }
	least := func(s *jsonschema.Schema, n float64) *jsonschema.Schema { s.Minimum = &n; return s }
	var s *jsonschema.Schema
	switch v := reflect.New(t).Interface().(type) {
	case word:
		s = &jsonschema.Schema{}
		for _, w := range v.words() {
			s.Enum = append(s.Enum, w)
		}
	case *count:
		s = least(one("integer", ""), 1)
	case *size:
		s = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{least(one("integer", ""), 1), one("string", `^[0-9]+ *([KMG]iB|[kMG]B|B)?$`)}}
	case *span, *pause:
		s = one("string", `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`)
	case *factor:
		s = least(one("number", ""), 1)
	case *share:
		s = least(one("number", ""), 0)
		most := 1.0
		s.Maximum = &most
	case *bool:
		s = one("boolean", "")
	case *reference:
		return one("string", `^(file|env):.+$`)
	default:
		switch t.Kind() {
		case reflect.String:
			return &jsonschema.Schema{Types: []string{"string", "number", "boolean"}}
		case reflect.Map:
			return &jsonschema.Schema{Types: []string{"object", "null"}, AdditionalProperties: b.of(t.Elem())}
		default:
			return b.object(t)
		}
	}
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, one("string", variable)}}
}

func (b *schemaBuilder) object(t reflect.Type) *jsonschema.Schema {
	ref := &jsonschema.Schema{Ref: "#/$defs/" + t.Name()}
	if b.defs[t.Name()] != nil {
		return ref
	}
	s := &jsonschema.Schema{
		Types: []string{"object", "null"}, Properties: map[string]*jsonschema.Schema{},
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}, Description: b.comments[t.Name()],
	}
	b.defs[t.Name()] = s
	b.fields(t, s)
	return ref
}

// fields adds a struct's fields, those of embedded structs among them.
func (b *schemaBuilder) fields(t reflect.Type, s *jsonschema.Schema) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			b.fields(f.Type, s)
			continue
		}
		p := b.of(f.Type)
		p.Description = b.comments[t.Name()+"."+f.Name]
		s.Properties[f.Tag.Get("yaml")] = p
		s.PropertyOrder = append(s.PropertyOrder, f.Tag.Get("yaml"))
	}
}

// comments are those of the document's types.
func comments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "document.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	describe := func(key, name string, doc *ast.CommentGroup) {
		text := strings.Join(strings.Fields(doc.Text()), " ")
		text = strings.TrimPrefix(strings.TrimPrefix(text, name+" is "), name+" are ")
		list[key] = strings.ToUpper(text[:1]) + text[1:]
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.TYPE {
			spec := d.Specs[0].(*ast.TypeSpec)
			describe(spec.Name.Name, spec.Name.Name, d.Doc)
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				for _, name := range f.Names {
					describe(spec.Name.Name+"."+name.Name, name.Name, f.Doc)
				}
			}
		}
		return true
	})
	return list
}
