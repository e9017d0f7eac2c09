package policy_test

import (
	"go/ast"
	"strings"
	"testing"
)

// TestEveryExportedNameIsDocumented looks at the packages that users import.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.test() || strings.HasPrefix(f.path, "internal/") || f.syntax.Name.Name == "main" {
			continue
		}
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					t.Errorf("%s: %s is not documented", f.at(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					documented(t, f, d, spec)
				}
			}
		}
	}
}

// exportedReceiver is false for methods that users cannot name.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	r := d.Recv.List[0].Type
	if star, ok := r.(*ast.StarExpr); ok {
		r = star.X
	}
	if index, ok := r.(*ast.IndexExpr); ok {
		r = index.X
	}
	// What an error or a Stringer is for needs no words.
	name, ok := r.(*ast.Ident)
	return ok && name.IsExported() && d.Name.Name != "Error"
}

func documented(t *testing.T, f *file, d *ast.GenDecl, spec ast.Spec) {
	t.Helper()
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				t.Errorf("%s: %s is not documented", f.at(name.Pos()), name.Name)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		if s.Doc == nil && d.Doc == nil {
			t.Errorf("%s: %s is not documented", f.at(s.Pos()), s.Name.Name)
		}
		switch x := s.Type.(type) {
		case *ast.StructType:
			// A field without a comment of its own belongs to the group above it.
			fields(t, f, s, x.Fields.List, d.Doc != nil || s.Doc != nil)
		case *ast.InterfaceType:
			fields(t, f, s, x.Methods.List, len(x.Methods.List) == 1)
		}
	}
}

func fields(t *testing.T, f *file, s *ast.TypeSpec, list []*ast.Field, grouped bool) {
	t.Helper()
	for _, field := range list {
		if field.Doc != nil || field.Comment != nil {
			grouped = true
			continue
		}
		for _, name := range field.Names {
			if name.IsExported() && !grouped {
				t.Errorf("%s: %s.%s is not documented", f.at(field.Pos()), s.Name.Name, name.Name)
			}
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	t.Parallel()
	has := map[string]bool{}
	for _, f := range files(t) {
		if !f.test() {
			has[f.folder()] = has[f.folder()] || f.syntax.Doc != nil
		}
	}
	for folder, ok := range has {
		if !ok {
			t.Errorf("package %s has no package comment", folder)
		}
	}
}
