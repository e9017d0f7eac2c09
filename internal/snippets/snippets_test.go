package snippets_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// known are the packages that a fragment may name without importing them.
var known = map[string]string{
	"pubsub": "github.com/waybill-go/waybill/pubsub", "driver": "github.com/waybill-go/waybill/pubsub/driver",
	"memory": "github.com/waybill-go/waybill/drivers/memory", "middleware": "github.com/waybill-go/waybill/middleware",
	"codec": "github.com/waybill-go/waybill/codec", "pubsubtest": "github.com/waybill-go/waybill/testing/pubsubtest",
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "slog": "log/slog", "os": "os", "time": "time",
	"testing": "testing", "synctest": "testing/synctest", "signal": "os/signal", "syscall": "syscall", "url": "net/url",
}

func TestSnippets(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	from := importer.ForCompiler(set, "source", nil)
	block := regexp.MustCompile("(?ms)^```go([^\n]*)\n(.*?)^```$")
	n := 0
	for _, path := range append(documents, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatchIndex(string(text), -1) {
			if strings.TrimSpace(string(text[m[2]:m[3]])) == "ignore" {
				continue
			}
			n++
			line := 1 + strings.Count(string(text[:m[0]]), "\n")
			if err := compile(set, from, string(text[m[4]:m[5]])); err != nil {
				t.Errorf("%s:%d: %v", strings.TrimPrefix(path, root+"/"), line, err)
			}
		}
	}
	t.Logf("%d snippets", n)
	if n == 0 {
		t.Error("there are no snippets: the pattern is wrong")
	}
}

func compile(set *token.FileSet, from types.Importer, code string) error {
	source := code
	if !strings.HasPrefix(strings.TrimSpace(code), "package ") {
		source = wrap(code)
	}
	file, err := parser.ParseFile(set, "snippet.go", source, 0)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, source)
	}
	var errs []error
	config := types.Config{Importer: from, Error: func(err error) {
		// A fragment may end before it uses what it has made.
		if text := err.Error(); !strings.Contains(text, "declared and not used") && !strings.Contains(text, "imported and not used") {
			errs = append(errs, err)
		}
	}}
	_, _ = config.Check("snippet", set, []*ast.File{file}, nil)
	if len(errs) > 0 {
		return fmt.Errorf("%w\n%s", errs[0], source)
	}
	return nil
}

// wrap makes a file of a fragment.
func wrap(code string) string {
	var b strings.Builder
	b.WriteString("package snippet\n\nimport (\n")
	named := regexp.MustCompile(`\b([a-z]+)\.[A-Z]`)
	var seen []string
	for _, m := range named.FindAllStringSubmatch(code+" context.Context pubsub.Client", -1) {
		if path, ok := known[m[1]]; ok && !slices.Contains(seen, m[1]) {
			seen = append(seen, m[1])
			fmt.Fprintf(&b, "\t%q\n", path)
		}
	}
	b.WriteString(")\n\n")
	if regexp.MustCompile(`(?m)^(func|type|var|const) `).MatchString(code) {
		b.WriteString(code + "\nvar _ context.Context\nvar _ *pubsub.Client\n")
		return b.String()
	}
	b.WriteString("func _(ctx context.Context, client *pubsub.Client) (err error) {\n" + code + "\nreturn nil\n}\n")
	return b.String()
}
