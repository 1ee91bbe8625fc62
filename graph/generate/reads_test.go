package main

import (
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/codegen"
	"golang.org/x/tools/go/packages"
)

const rowsPath = "emporium/graph/generate/testdata/rows"

// loaded is a source of packages that were loaded before.
type loaded map[string]*packages.Package

// Load returns a package or nil.
func (l loaded) Load(path string) *packages.Package { return l[path] }

// rows loads the package in testdata.
func rows(t *testing.T) (loaded, *types.Package) {
	t.Helper()
	found, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo,
	}, rowsPath)
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	for _, broken := range found[0].Errors {
		t.Fatal(broken)
	}
	return loaded{rowsPath: found[0]}, found[0].Types
}

const all = "All"

// methods are what the methods in testdata read. What the analysis does not follow is all: too much, never too little.
var methods = map[string]map[string]string{
	"Row": {
		"Nothing":   "",
		"One":       "Name",
		"ByValue":   "Code Name",
		"Unnamed":   "",
		"Blank":     "",
		"Deep":      "Nested",
		"Element":   "Labels Minor",
		"Called":    "Name Render",
		"Address":   "Name",
		"Written":   "Code Name",
		"Counted":   "Minor",
		"Embedded":  "Base",
		"Literal":   "Code",
		"Further":   "Next",
		"Switched":  "Minor Name",
		"Closure":   "Name",
		"Iterator":  "Code Labels",
		"Deferred":  "Code Name",
		"Shadowed":  "Name",
		"Parameter": "Name",

		"Calls":            "Code Name",
		"CallsTwice":       "Code Labels Name",
		"CallsPointer":     "Name",
		"CallsValue":       "Code Name",
		"MethodValue":      "Name",
		"MethodExpression": all,
		"CallsWhole":       all,

		"Recursive": "Name",
		"Ping":      "Code Minor Name",
		"Pong":      "Code Minor Name",
		"Tick":      all,
		"Tock":      all,

		"Passed":       all,
		"PassedValue":  all,
		"Copied":       all,
		"Aliased":      all,
		"Declared":     all,
		"Reassigned":   all,
		"Overwritten":  all,
		"Parentheses":  all,
		"Dereferenced": all,
		"AddressOf":    all,
		"Compared":     all,
		"Converted":    all,
		"Asserted":     all,
		"Stored":       all,
		"Keyed":        all,
		"Sent":         all,
		"Returned":     all,
		"Ranged":       all,
		"Captured":     all,
		"TypeSwitched": all,

		"Promoted":        all,
		"PromotedPointer": all,
		"PromotedMethod":  all,
		"PromotedIface":   all,
		"Kind":            all, // promoted itself
		"Named":           all,

		"OfAlias":       all,
		"InParentheses": all,
	},
	"Base":  {"Kind": "Note"},
	"Boxed": {"Title": all},
	"Names": {"First": all},
}

// String is how the tests write reads.
func (r *reads) String() string {
	if r.all {
		return all
	}
	return strings.Join(slices.Sorted(maps.Keys(r.names)), " ")
}

// TestMethodReads follows every method that testdata has, by value and by pointer, and in both orders: what was followed
// before may not change what comes after.
func TestMethodReads(t *testing.T) {
	t.Parallel()
	source, pkg := rows(t)
	for name, want := range methods {
		typ := pkg.Scope().Lookup(name).Type()
		set := types.NewMethodSet(types.NewPointer(typ))
		var declared []string
		for i := range set.Len() {
			declared = append(declared, set.At(i).Obj().Name())
		}
		if expected := slices.Sorted(maps.Keys(want)); !slices.Equal(slices.Sorted(slices.Values(declared)), expected) {
			t.Errorf("%s has the methods %v, the test knows %v", name, declared, expected)
		}
		reversed := slices.Clone(declared)
		slices.Reverse(reversed)
		for _, order := range [][]string{declared, reversed} {
			r := newReader(source)
			for _, method := range order {
				for how, receiver := range map[string]types.Type{"value": typ, "pointer": types.NewPointer(typ)} {
					if got := r.method(receiver, method).String(); got != want[method] {
						t.Errorf("%s.%s by %s reads %q, want %q", name, method, how, got, want[method])
					}
				}
			}
		}
	}
}

// TestReadsAreWritten turns what fields read into the text of the generated code.
func TestReadsAreWritten(t *testing.T) {
	t.Parallel()
	source, pkg := rows(t)
	row := types.NewPointer(pkg.Scope().Lookup("Row").Type())
	for _, c := range []struct {
		name string
		kind codegen.GoFieldType
		want string
	}{
		{"Nothing", codegen.GoFieldMethod, ""},
		{"Calls", codegen.GoFieldMethod, `Names: []string{"Code", "Name"}`},
		{"Passed", codegen.GoFieldMethod, "All: true"},
		{"Name", codegen.GoFieldVariable, `Names: []string{"Name"}`},
		{"Nested", codegen.GoFieldVariable, `Names: []string{"Nested"}`},
		// A promoted field is read with the struct that it stands in.
		{"Note", codegen.GoFieldVariable, `Names: []string{"Base"}`},
		{"Link", codegen.GoFieldVariable, `Names: []string{"Linked"}`},
	} {
		got := newReader(source).of(row, &codegen.Field{GoFieldName: c.name, GoFieldType: c.kind})
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestMethodWithoutSource reads all: nothing is known of it.
func TestMethodWithoutSource(t *testing.T) {
	t.Parallel()
	_, pkg := rows(t)
	row := pkg.Scope().Lookup("Row").Type()
	if got := newReader(loaded{}).method(row, "One").String(); got != all {
		t.Errorf("without source it reads %q", got)
	}
	for _, typ := range []types.Type{types.Typ[types.String], row.Underlying()} {
		if got := newReader(loaded{}).method(typ, "One").String(); got != all {
			t.Errorf("a method of %s reads %q", typ, got)
		}
	}
}
