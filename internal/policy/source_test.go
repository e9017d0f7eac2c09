package policy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/waybill-go/waybill"
)

// A file is one Go file of the repository.
type file struct {
	path   string // from the root, with slashes
	syntax *ast.File
	set    *token.FileSet
}

func (f *file) folder() string { return filepath.ToSlash(filepath.Dir(f.path)) }

func (f *file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f *file) at(p token.Pos) string {
	return f.path + ":" + strings.TrimPrefix(f.set.Position(p).String(), f.set.Position(p).Filename+":")
}

// imports lists a file's imports.
func (f *file) imports() []string {
	var list []string
	for _, i := range f.syntax.Imports {
		list = append(list, strings.Trim(i.Path.Value, `"`))
	}
	return list
}

// paths lists the repository's files with one of the endings.
func paths(t *testing.T, endings ...string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && strings.HasPrefix(name, ".") && name != ".." {
			return filepath.SkipDir
		}
		for _, ending := range endings {
			if !d.IsDir() && strings.HasSuffix(path, ending) {
				relative, err := filepath.Rel(root, path)
				if err != nil {
					return err
				}
				list = append(list, filepath.ToSlash(relative))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// files parses every Go file.
func files(t *testing.T) []*file {
	t.Helper()
	var list []*file
	for _, path := range paths(t, ".go") {
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, filepath.Join(root, path), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &file{path: path, syntax: syntax, set: set})
	}
	return list
}

// read returns a file's text.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
