package policy_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNoSleeping keeps sleep from being taken for synchronisation. In a bubble of
// testing/synctest it is virtual time.
func TestNoSleeping(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.test() && slices.Contains(f.imports(), "testing/synctest") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if ok && s.Sel.Name == "Sleep" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s sleeps: wait for an event, or use testing/synctest", f.at(s.Pos()))
				}
			}
			return true
		})
	}
}

func TestNamesSayWhatThingsAre(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		for _, part := range strings.Split(strings.TrimSuffix(f.path, ".go"), "/") {
			if slices.Contains([]string{"util", "utils", "common", "helpers", "misc"}, part) {
				t.Errorf("%s: a name that says nothing", f.path)
			}
		}
	}
}

func TestNothingIsLeftToDo(t *testing.T) {
	t.Parallel()
	later := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)
	for _, path := range paths(t, ".go", ".md") {
		if path != "internal/policy/words_test.go" && later.MatchString(read(t, path)) {
			t.Errorf("%s leaves something for later: do it, or open an issue", path)
		}
	}
}

func TestLinksLead(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	for _, path := range paths(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			}
		}
	}
}
