package graph

import (
	"context"
	"fmt"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"

	"emporium/internal/fault"
)

// Limits bound what a request may ask for. Those of a document are looked at before it is validated, which costs the square
// of its length.
type Limits struct {
	Body          int64 // bytes of a request
	Tokens        int   // of a document
	Depth         int   // fields in one another
	Introspection int   // fields in one another below __schema and __type
	Aliases       int   // in a document
	SameField     int   // aliases of fields of one name
	Directives    int   // in a document
	RootFields    int   // of an operation
	Mutations     int   // of an operation
	Cost          int   // of an operation, by @cost and @listSize
	Statements    int   // of SQL, for an operation
}

// DefaultLimits let through what shops' pages and tools ask for.
func DefaultLimits() Limits {
	return Limits{Body: 256 << 10, Tokens: 1_200, Depth: 10, Introspection: 20, Aliases: 15, SameField: 5, Directives: 20,
		RootFields: 10, Mutations: 3, Cost: 20_000, Statements: 100}
}

const (
	maxPlanned = 20_000  // fields, with fragments written out: what a plan has to be made of
	maxErrors  = 50      // in an answer
	maxInvalid = 5       // errors of a document
	maxSame    = 200     // fields of one name in a document: validation compares each with each
	maxPairs   = 250_000 // of fields of one name, and of spreads, that it compares; see measurer.pairs
	maxValues  = 5_000   // of JSON in a request, one in another: reading them takes longer than refusing them
	readFor    = 64      // bytes of a document that is not known for a point: reading takes its time, whatever comes of it
	longName   = 200     // characters; whoever writes errors compares names with others
)

// limiter refuses operations that ask for too much before anything of it is done.
type limiter struct {
	Limits
	costs   costs
	checked graphql.Cache[*ast.QueryDocument] // documents that have passed
	take    func(ctx context.Context, points int) error
}

var (
	_ graphql.OperationParameterMutator = limiter{}
	_ graphql.OperationContextMutator   = limiter{}
)

// ExtensionName names the extension, for gqlgen.
func (limiter) ExtensionName() string { return "Limits" }

// Validate accepts every schema.
func (limiter) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters refuses a document by its form alone. One that does not parse is left to gqlgen.
func (l limiter) MutateOperationParameters(ctx context.Context, params *graphql.RawParams) *gqlerror.Error {
	if len(params.OperationName) > longName {
		return refused(fmt.Sprintf("the name of the operation is longer than %d characters", longName))
	}
	if _, ok := l.checked.Get(ctx, params.Query); ok {
		return nil
	}
	if err := l.take(ctx, 1+len(params.Query)/readFor); err != nil {
		return &gqlerror.Error{Err: err, Message: err.Error()}
	}
	document, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: params.Query}, l.Tokens)
	if err != nil {
		return nil
	}
	return l.shape(document)
}

// shape refuses a document by its form. It need not be valid: fragments may be missing, or go round in circles.
func (l Limits) shape(document *ast.QueryDocument) *gqlerror.Error {
	m := measurer{document: document, fragments: map[string]reach{}, aliases: map[string]int{}, same: map[string]repeated{}}
	for _, f := range document.Fragments {
		m.name(f.Name, f.TypeCondition)
		m.directed(f.Directives)
		m.count(f.SelectionSet, 1)
	}
	for _, op := range document.Operations {
		m.name(op.Name)
		m.directed(op.Directives)
		for _, v := range op.VariableDefinitions {
			m.name(v.Variable, v.Type.Name())
			m.directed(v.Directives)
		}
		m.count(op.SelectionSet, 1)
		of := m.of(op.SelectionSet)
		roots := l.RootFields
		if op.Operation == ast.Mutation {
			roots = l.Mutations
		}
		switch {
		case of.roots > roots:
			return exceeded("root fields in a "+string(op.Operation), roots)
		case of.depth > l.Depth:
			return exceeded("levels of fields", l.Depth)
		case of.introspection > l.Introspection:
			return exceeded("levels of fields below the schema", l.Introspection)
		}
	}
	if m.aliased > l.Aliases {
		return exceeded("aliases", l.Aliases)
	}
	for name, r := range m.same {
		if r.n > maxSame {
			return exceeded("fields with the name `"+name[:min(len(name), longName)]+"`", maxSame)
		}
	}
	if m.pairs() > maxPairs {
		return refused("the document has too many fields of the same names, or too many inline fragments in one another")
	}
	for name, n := range m.aliases {
		if n > l.SameField {
			return exceeded("aliases of `"+name+"`", l.SameField)
		}
	}
	switch {
	case m.directives > l.Directives:
		return exceeded("directives", l.Directives)
	case m.long:
		return refused(fmt.Sprintf("the document has names longer than %d characters", longName))
	}
	return nil
}

func exceeded(what string, most int) *gqlerror.Error {
	return refused(fmt.Sprintf("the document has more than %d %s", most, what))
}

func refused(message string) *gqlerror.Error {
	return &gqlerror.Error{Err: fault.New(fault.BadUserInput, message), Message: message}
}

// reach is how far a selection reaches.
type reach struct {
	roots         int // fields, those of fragments too
	depth         int
	introspection int // depth below __schema and __type
}

// measurer walks each fragment once, however often it is spread: the time is linear in the document.
type measurer struct {
	document  *ast.QueryDocument
	fragments map[string]reach // those that have been begun, too

	aliased    int
	aliases    map[string]int // by name of the field
	directives int
	same       map[string]repeated // fields, by the name in the answer
	spreads    repeated
	long       bool // there is a long name
}

// repeated counts what validation compares with each other.
type repeated struct {
	n      int
	levels int // of inline fragments around each, at any distance, and one more: a comparison is made again at each
}

func (r *repeated) add(levels int) {
	r.n++
	r.levels += levels
}

// pairs is twice the number of comparisons that validation makes at most.
func (m *measurer) pairs() int {
	sum := m.spreads.n * m.spreads.levels
	for _, r := range m.same {
		sum += r.n * r.levels
	}
	return sum
}

func (m *measurer) name(names ...string) {
	for _, n := range names {
		m.long = m.long || len(n) > longName
	}
}

func (m *measurer) directed(directives ast.DirectiveList) {
	m.directives += len(directives)
	for _, d := range directives {
		m.name(d.Name)
		m.given(d.Arguments)
	}
}

func (m *measurer) given(arguments ast.ArgumentList) {
	for _, a := range arguments {
		m.name(a.Name)
		m.value(a.Value)
	}
}

func (m *measurer) value(v *ast.Value) {
	if v.Kind == ast.EnumValue || v.Kind == ast.Variable {
		m.name(v.Raw)
	}
	for _, c := range v.Children {
		m.name(c.Name)
		m.value(c.Value)
	}
}

// count counts what stands in a selection, with one level more than there are inline fragments around it.
func (m *measurer) count(set ast.SelectionSet, levels int) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			m.name(s.Name, s.Alias)
			same := m.same[s.Alias]
			same.add(levels)
			m.same[s.Alias] = same
			m.given(s.Arguments)
			m.directed(s.Directives)
			if s.Alias != s.Name {
				m.aliased++
				m.aliases[s.Name]++
			}
			m.count(s.SelectionSet, levels) // they are compared whenever what they are below is
		case *ast.InlineFragment:
			m.name(s.TypeCondition)
			m.directed(s.Directives)
			m.count(s.SelectionSet, levels+1)
		case *ast.FragmentSpread:
			m.spreads.add(levels)
			m.name(s.Name)
			m.directed(s.Directives)
		}
	}
}

// of measures a selection.
func (m *measurer) of(set ast.SelectionSet) (all reach) {
	for _, s := range set {
		var one reach
		switch s := s.(type) {
		case *ast.Field:
			below := m.of(s.SelectionSet)
			one = reach{roots: 1, depth: 1 + below.depth, introspection: below.introspection}
			if strings.HasPrefix(s.Name, "__") { // tools unwrap types many levels deep
				one.depth, one.introspection = 1, max(below.depth, below.introspection)
			}
		case *ast.InlineFragment:
			one = m.of(s.SelectionSet)
		case *ast.FragmentSpread:
			known, ok := m.fragments[s.Name]
			if f := m.document.Fragments.ForName(s.Name); !ok && f != nil {
				m.fragments[s.Name] = reach{} // for those in circles, which validation refuses
				known = m.of(f.SelectionSet)
				m.fragments[s.Name] = known
			}
			one = known
		}
		all.roots += one.roots
		all.depth = max(all.depth, one.depth)
		all.introspection = max(all.introspection, one.introspection)
	}
	return all
}
