package snippets_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
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
	"otel": "github.com/waybill-go/waybill/middleware/otel", "brokers": "github.com/waybill-go/waybill/testing/brokers",
	"amqp": "github.com/rabbitmq/amqp091-go", "sarama": "github.com/IBM/sarama", "message": "github.com/ThreeDotsLabs/watermill/message",
	"gocloud": "github.com/waybill-go/waybill/drivers/gocloud", "cloud": "gocloud.dev/pubsub",
	"codec": "github.com/waybill-go/waybill/codec", "pubsubtest": "github.com/waybill-go/waybill/testing/pubsubtest",
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "slog": "log/slog", "os": "os", "time": "time",
	"testing": "testing", "synctest": "testing/synctest", "signal": "os/signal", "syscall": "syscall", "url": "net/url",
}

func TestSnippets(t *testing.T) {
	t.Parallel()
	if os.Getenv("GOWORK") == "off" {
		t.Skip("pages use every module of the repository: they compile in the workspace")
	}
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	type snippet struct{ at, source string }
	var all []snippet
	block := regexp.MustCompile("(?ms)^```go([^\n]*)\n(.*?)^```$")
	for _, path := range append(documents, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatchIndex(string(text), -1) {
			if strings.TrimSpace(string(text[m[2]:m[3]])) == "ignore" {
				continue
			}
			source := string(text[m[4]:m[5]])
			if !strings.HasPrefix(strings.TrimSpace(source), "package ") {
				source = wrap(source)
			}
			line := 1 + strings.Count(string(text[:m[0]]), "\n")
			all = append(all, snippet{fmt.Sprintf("%s:%d", strings.TrimPrefix(path, root+"/"), line), source})
		}
	}
	t.Logf("%d snippets", len(all))
	if len(all) == 0 {
		t.Error("there are no snippets: the pattern is wrong")
	}
	set := token.NewFileSet()
	var imports []string
	for _, s := range all {
		if file, err := parser.ParseFile(set, s.at, s.source, parser.ImportsOnly); err == nil {
			for _, i := range file.Imports {
				imports = append(imports, strings.Trim(i.Path.Value, `"`))
			}
		}
	}
	from := importer.ForCompiler(set, "gc", exports(t, imports))
	for _, s := range all {
		if err := compile(set, from, s.source); err != nil {
			t.Errorf("%s: %v", s.at, err)
		}
	}
}

// exports builds packages, and finds what they export.
func exports(t *testing.T, imports []string) importer.Lookup {
	t.Helper()
	seeSources(t)
	slices.Sort(imports)
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}, slices.Compact(imports)...)...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("package %s is not there, or does not compile", path)
		}
		return os.Open(files[path])
	}
}

// seeSources looks at the repository's sources, which go list reads: go test keeps a result
// until what the test itself has looked at changes.
func seeSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func compile(set *token.FileSet, from types.Importer, source string) error {
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
			fmt.Fprintf(&b, "\t%s %q\n", m[1], path)
		}
	}
	b.WriteString(")\n\n")
	if regexp.MustCompile(`(?m)^(func|type|var|const) `).MatchString(code) {
		b.WriteString(code + "\nvar _ context.Context\nvar _ *pubsub.Client\n")
		return b.String()
	}
	b.WriteString("func _(ctx context.Context, client *pubsub.Client) (err error) {\n{\n" + code + "\n}\nreturn nil\n}\n")
	return b.String()
}
