package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/codegen"
	"golang.org/x/tools/go/packages"
)

// source finds the source of packages.
type source interface {
	Load(importPath string) *packages.Package
}

// reader finds out which fields of a struct a method reads, so that no more columns of a row are asked of the database
// than are shown.
type reader struct {
	packages source
	known    map[string]*reads
}

// reads are the names of fields; all when the receiver is used in a way that can not be followed.
type reads struct {
	all   bool
	names map[string]bool
	calls map[string]bool // the methods that are called on the receiver, which read for themselves
}

func newReader(p source) *reader { return &reader{packages: p, known: map[string]*reads{}} }

// of returns what the value of a field is made of, as the body of an exec.Reads.
func (r *reader) of(t types.Type, f *codegen.Field) string {
	var found *reads
	if f.IsMethod() {
		found = r.method(t, f.GoFieldName)
	} else {
		found = &reads{names: map[string]bool{outermost(t, f.GoFieldName): true}}
	}
	if found.all {
		return "All: true"
	}
	if len(found.names) == 0 {
		return ""
	}
	return fmt.Sprintf("Names: []string{%s}", quoted(slices.Sorted(maps.Keys(found.names))))
}

// outermost returns the field of a struct in which another one stands: itself, or the embedded struct that it comes from.
func outermost(t types.Type, field string) string {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if _, index, _ := types.LookupFieldOrMethod(t, true, nil, field); len(index) > 1 {
		return t.Underlying().(*types.Struct).Field(index[0]).Name()
	}
	return field
}

func quoted(names []string) string {
	for i := range names {
		names[i] = fmt.Sprintf("%q", names[i])
	}
	return strings.Join(names, ", ")
}

// method follows a method of a named struct, and the methods that it calls on the same receiver. These are gathered
// before any is added up: of methods that call each other, each reads what all of them read.
func (r *reader) method(t types.Type, name string) *reads {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	named, ok := t.(*types.Named)
	if !ok {
		return &reads{all: true}
	}
	found, seen := &reads{names: map[string]bool{}}, map[string]bool{name: true}
	for next := []string{name}; len(next) > 0; next = next[1:] {
		body := r.body(named, next[0])
		found.all = found.all || body.all
		maps.Copy(found.names, body.names)
		for called := range body.calls {
			if !seen[called] {
				seen[called] = true
				next = append(next, called)
			}
		}
	}
	return found
}

// body returns what stands in a method itself.
func (r *reader) body(named *types.Named, name string) *reads {
	key := named.String() + "." + name
	if found := r.known[key]; found != nil {
		return found
	}
	found := &reads{names: map[string]bool{}, calls: map[string]bool{}}
	r.known[key] = found
	pkg := r.packages.Load(named.Obj().Pkg().Path())
	declared := declaration(pkg, named.Obj().Name(), name)
	if declared == nil || declared.Body == nil {
		found.all = true // promoted from an embedded type, for example
		return found
	}
	receiver := declared.Recv.List[0].Names
	if len(receiver) == 0 || receiver[0].Name == "_" {
		return found
	}
	object := pkg.TypesInfo.Defs[receiver[0]]
	selections := map[*ast.Ident]bool{}
	ast.Inspect(declared.Body, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of, ok := s.X.(*ast.Ident)
		if !ok || pkg.TypesInfo.Uses[of] != object {
			return true
		}
		selection := pkg.TypesInfo.Selections[s]
		switch {
		case selection == nil || len(selection.Index()) != 1:
			found.all = true
		case selection.Kind() == types.FieldVal:
			found.names[s.Sel.Name] = true
		case selection.Kind() == types.MethodVal:
			found.calls[s.Sel.Name] = true
		}
		selections[of] = true
		return true
	})
	ast.Inspect(declared.Body, func(n ast.Node) bool {
		if ident, ok := n.(*ast.Ident); ok && pkg.TypesInfo.Uses[ident] == object && !selections[ident] {
			found.all = true // passed on as a whole
		}
		return true
	})
	return found
}

func declaration(pkg *packages.Package, typeName, method string) *ast.FuncDecl {
	if pkg == nil {
		return nil
	}
	for _, file := range pkg.Syntax {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != method {
				continue
			}
			t := f.Recv.List[0].Type
			if star, ok := t.(*ast.StarExpr); ok {
				t = star.X
			}
			if ident, ok := t.(*ast.Ident); ok && ident.Name == typeName {
				return f
			}
		}
	}
	return nil
}
