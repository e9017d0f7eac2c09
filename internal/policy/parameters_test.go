package policy_test

import (
	"go/ast"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestEveryParameterIsOnItsPage looks at what drivers read of URLs and of configuration
// files, and at the words that these may have: what the broker's page does not name, nobody
// finds.
func TestEveryParameterIsOnItsPage(t *testing.T) {
	t.Parallel()
	found := 0
	for _, f := range files(t) {
		name, isDriver := strings.CutPrefix(f.folder(), "drivers/")
		if f.test() || !isDriver || strings.Contains(name, "/") {
			continue
		}
		page := filepath.Join("docs", name+".md")
		text := read(t, page)
		for _, parameter := range parameters(f.syntax) {
			found++
			if !strings.Contains(text, "`"+parameter+"`") && !strings.Contains(text, parameter+"=") {
				t.Errorf("%s: %s does not have the parameter or word %s", f.path, page, parameter)
			}
		}
	}
	if found == 0 {
		t.Error("no driver reads a parameter: the test looks in the wrong place")
	}
}

// parameters are the names that a file reads of driver.Params.
func parameters(file *ast.File) []string {
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch method.Sel.Name {
		case "String", "Choice", "Int", "Bool", "Duration":
		default:
			return true
		}
		if receiver, ok := method.X.(*ast.Ident); !ok || receiver.Name != "p" {
			return true
		}
		for i, argument := range call.Args {
			if i > 0 && method.Sel.Name != "Choice" {
				break
			}
			if literal, ok := argument.(*ast.BasicLit); ok {
				if name, err := strconv.Unquote(literal.Value); err == nil {
					names = append(names, name)
				}
			}
		}
		return true
	})
	return names
}
