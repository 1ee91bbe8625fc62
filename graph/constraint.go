package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/shopspring/decimal"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/graph/scalar"
	"emporium/internal/fault"
	"emporium/internal/intake"
	"emporium/internal/money"
)

// longestOwn is what the scalars for texts that have bounds of their own take at most, in bytes.
const longestOwn = 2048

// maxViolations is how many violations of an operation are told one by one.
const maxViolations = 5

// constraints refuses operations whose arguments break an @constraint, hold a text that no text may be, or have not the form of
// their scalar, before anything of them is executed. A field without arguments costs nothing.
type constraints struct {
	fields map[*ast.FieldDefinition][]*bounds // of the arguments, where there is something to check
}

var _ graphql.OperationContextMutator = constraints{}

// bounds are what the value of an argument or input field is held against.
type bounds struct {
	name string
	typ  *ast.Type
	leaf leaf
	// Of an input object, the fields that there is something to check of.
	object *[]*bounds

	minLength, maxLength int
	minItems, maxItems   int
	min, max             *decimal.Decimal
	pattern              *regexp.Regexp
	form                 func(v any) error // of the scalar; may be nil
}

// leaf is a kind of scalars.
type leaf int

const (
	leafOther  leaf = iota // checked by its scalar alone
	leafText               // a text
	leafNumber             // an Int or Decimal
	leafJSON               // with texts anywhere in it
)

// leaves are the scalars whose values are looked at. Bounded are those that have bounds of their own.
var leaves = map[string]struct {
	leaf    leaf
	bounded bool
}{
	"String": {leafText, false}, "Int": {leafNumber, false}, "EmailAddress": {leafText, true}, "URL": {leafText, true},
	"Decimal": {leafNumber, true}, "JSON": {leafJSON, true}, // the only one is held to 100,000 bytes
	"ID": {leafOther, true}, "Boolean": {leafOther, true}, "DateTime": {leafOther, true}, "Currency": {leafOther, true},
	"CountryCode": {leafOther, true},
}

// forms are the scalars whose values have a form, as their fields read them: a field before could be done by then.
var forms = map[string]func(v any) error{
	"URL": reads(scalar.UnmarshalURL), "EmailAddress": reads(scalar.UnmarshalEmailAddress), "DateTime": reads(scalar.UnmarshalDateTime),
	"CountryCode": reads(scalar.UnmarshalCountryCode),
	"Currency":    func(v any) error { return new(money.Currency).UnmarshalGQL(v) },
	"Decimal":     func(v any) error { return new(money.Decimal).UnmarshalGQL(v) },
}

func reads[T any](read func(v any) (T, error)) func(v any) error {
	return func(v any) error {
		_, err := read(v)
		return err
	}
}

// newConstraints compiles the constraints of a schema. It fails for one that makes no sense or that a default breaks, for a
// list without maxItems, a text without maxLength and a number without min and max.
func newConstraints(schema *ast.Schema) (constraints, error) {
	c := compilation{schema: schema, objects: map[string]*[]*bounds{}}
	all := constraints{map[*ast.FieldDefinition][]*bounds{}}
	for _, t := range sortedTypes(schema) {
		if strings.HasPrefix(t.Name, "__") {
			continue
		}
		if t.Kind == ast.InputObject {
			c.object(t.Name)
		}
		for _, f := range t.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			for _, a := range f.Arguments {
				all.fields[f] = c.add(all.fields[f], t.Name+"."+f.Name+"("+a.Name+":)", a.Name, a.Type, a.Directives, a.DefaultValue)
			}
		}
	}
	return all, errors.Join(append(c.faults, c.defaults()...)...)
}

type compilation struct {
	schema  *ast.Schema
	objects map[string]*[]*bounds // by name; a type may lead to itself
	given   []given
	faults  []error
}

// given is a default.
type given struct {
	place string
	of    *bounds
	value *ast.Value
}

// object returns the bounds of an input object's fields, which may not be there yet.
func (c *compilation) object(name string) *[]*bounds {
	if known, ok := c.objects[name]; ok {
		return known
	}
	fields := new([]*bounds)
	c.objects[name] = fields
	for _, f := range c.schema.Types[name].Fields {
		*fields = c.add(*fields, name+"."+f.Name, f.Name, f.Type, f.Directives, f.DefaultValue)
	}
	return fields
}

// add compiles the bounds of an argument or input field, and appends them if there is something to check.
func (c *compilation) add(to []*bounds, place, name string, t *ast.Type, directives ast.DirectiveList, otherwise *ast.Value) []*bounds {
	b := &bounds{name: name, typ: t, maxLength: math.MaxInt, maxItems: math.MaxInt}
	d := directives.ForName("constraint")
	if d != nil {
		if err := b.read(d); err != nil {
			c.faults = append(c.faults, fmt.Errorf("constraint: %s: %w", place, err))
		}
	}
	has := func(argument string) bool { return d != nil && d.Arguments.ForName(argument) != nil }
	fault := func(message string) { c.faults = append(c.faults, fmt.Errorf("constraint: %s: %s", place, message)) }
	of, known := leaves[t.Name()], false
	switch c.schema.Types[t.Name()].Kind {
	case ast.InputObject:
		b.object, known = c.object(t.Name()), true
	case ast.Enum:
		known = true
	default:
		_, known = leaves[t.Name()]
		b.leaf, b.form = of.leaf, forms[t.Name()]
	}
	pageSize := (name == "first" || name == "last") && t.NamedType == "Int" // package page has its own bound
	switch {
	case !known:
		fault("the scalar " + t.Name() + " is not known to have bounds")
	case t.Elem != nil && !has("maxItems"):
		fault("a list has maxItems")
	case t.Elem == nil && (has("minItems") || has("maxItems")):
		fault("minItems and maxItems are for lists")
	case b.leaf == leafText && !of.bounded && !has("maxLength"):
		fault("a text has maxLength")
	case b.leaf != leafText && (has("minLength") || has("maxLength") || has("pattern")):
		fault("minLength, maxLength and pattern are for texts")
	case b.leaf == leafNumber && !of.bounded && !pageSize && !(has("min") && has("max")):
		fault("a number has min and max")
	case b.leaf != leafNumber && (has("min") || has("max")):
		fault("min and max are for numbers")
	}
	if otherwise != nil {
		c.given = append(c.given, given{place, b, otherwise})
	}
	if t.Elem == nil && b.object == nil && b.form == nil && (b.leaf == leafOther || b.leaf == leafNumber && b.min == nil && b.max == nil) {
		return to
	}
	return append(to, b)
}

// read takes the bounds from an @constraint.
func (b *bounds) read(d *ast.Directive) error {
	for _, a := range d.Arguments {
		raw := a.Value.Raw
		switch a.Name {
		case "pattern":
			pattern, err := regexp.Compile(raw)
			if err != nil {
				return err
			}
			b.pattern = pattern
		case "min", "max":
			n, err := decimal.NewFromString(raw)
			if err != nil {
				return err
			}
			*map[string]**decimal.Decimal{"min": &b.min, "max": &b.max}[a.Name] = &n
		default:
			n, err := strconv.ParseUint(raw, 10, 31)
			if err != nil {
				return err
			}
			*map[string]*int{"minLength": &b.minLength, "maxLength": &b.maxLength, "minItems": &b.minItems, "maxItems": &b.maxItems}[a.Name] = int(n)
		}
	}
	if b.minLength > b.maxLength || b.minItems > b.maxItems || b.min != nil && b.max != nil && b.min.GreaterThan(*b.max) {
		return errors.New("the least is more than the most")
	}
	return nil
}

// defaults checks those of the schema, which are not looked at again with each operation.
func (c *compilation) defaults() (faults []error) {
	for _, g := range c.given {
		var found walk
		if v, err := g.value.Value(nil); err == nil {
			found.value(g.of, g.of.typ, v)
		}
		for _, e := range found.told {
			faults = append(faults, fmt.Errorf("constraint: %s: the default: %s", g.place, e.Message))
		}
	}
	return faults
}

// ExtensionName names the extension, for gqlgen.
func (constraints) ExtensionName() string { return "Constraints" }

// Validate accepts every schema.
func (constraints) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationContext refuses the operation or leaves it as it is.
func (c constraints) MutateOperationContext(_ context.Context, op *graphql.OperationContext) *gqlerror.Error {
	w := walk{constraints: c, variables: op.Variables, steps: make([]step, 0, usualSteps)}
	w.selection(op.Operation.SelectionSet)
	if w.count == 0 {
		return nil
	}
	if more := w.count - len(w.told); more > 0 {
		w.told = append(w.told, &gqlerror.Error{Message: fmt.Sprintf("and %d more", more),
			Extensions: map[string]any{"code": string(fault.BadUserInput)}})
	}
	return &gqlerror.Error{Err: violations(w.told), Message: w.told[0].Message}
}

// violations are presented one by one: an operation is refused with one error, which carries all of them.
type violations []*gqlerror.Error

// Error names the first.
func (v violations) Error() string { return v[0].Message }

// oneByOne puts the violations that an error carries in its place.
func oneByOne(errs gqlerror.List) gqlerror.List {
	if len(errs) == 1 {
		if all, ok := errors.AsType[violations](errs[0]); ok {
			return gqlerror.List(all)
		}
	}
	return errs
}

// walk goes through what an operation selects, each fragment once.
type walk struct {
	constraints
	variables map[string]any
	fragments []*ast.FragmentDefinition // that it has been through
	steps     []step                    // to where it is
	field     *ast.Field                // whose arguments it looks at
	depth     int                       // the steps to that field
	told      []*gqlerror.Error
	count     int
}

// step leads on by a name, or to an item of a list.
type step struct {
	name string
	item int // -1 for a name
}

const usualSteps = 16

func (w *walk) into(name string)  { w.steps = append(w.steps, step{name, -1}) }
func (w *walk) intoItem(item int) { w.steps = append(w.steps, step{"", item}) }
func (w *walk) back()             { w.steps = w.steps[:len(w.steps)-1] }

func (w *walk) selection(set ast.SelectionSet) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			if w.skipped(s.Directives) {
				continue
			}
			w.into(s.Alias)
			if len(s.Arguments) > 0 {
				w.arguments(s)
			}
			w.selection(s.SelectionSet)
			w.back()
		case *ast.InlineFragment:
			if !w.skipped(s.Directives) {
				w.selection(s.SelectionSet)
			}
		case *ast.FragmentSpread:
			if !w.skipped(s.Directives) && !slices.Contains(w.fragments, s.Definition) {
				w.fragments = append(w.fragments, s.Definition)
				w.selection(s.Definition.SelectionSet)
			}
		}
	}
}

func (w *walk) arguments(f *ast.Field) {
	w.field, w.depth = f, len(w.steps)
	for _, b := range w.fields[f.Definition] {
		a := f.Arguments.ForName(b.name)
		if a == nil {
			continue
		}
		if v, err := a.Value.Value(w.variables); err == nil { // or its scalar refuses it
			w.into(b.name)
			w.value(b, b.typ, v)
			w.back()
		}
	}
}

// skipped tells whether @skip or @include leaves something out.
func (w *walk) skipped(directives ast.DirectiveList) bool {
	for _, d := range directives {
		if d.Name != "skip" && d.Name != "include" {
			continue
		}
		if on, err := d.Arguments.ForName("if").Value.Value(w.variables); err == nil && on == (d.Name == "skip") {
			return true
		}
	}
	return false
}

// value checks one of a type that the bounds are about, or of its items.
func (w *walk) value(b *bounds, t *ast.Type, v any) {
	before := w.count
	switch {
	case v == nil:
	case t.Elem != nil:
		items := graphql.CoerceList(v)
		switch {
		case len(items) < b.minItems:
			w.report(fmt.Sprintf("this has fewer than %d items", b.minItems))
		case len(items) > b.maxItems:
			w.report(fmt.Sprintf("this has more than %d items", b.maxItems))
			return
		}
		for i, item := range items {
			w.intoItem(i)
			w.value(b, t.Elem, item)
			w.back()
		}
	case b.object != nil:
		object, _ := v.(map[string]any)
		for _, f := range *b.object {
			if member, ok := object[f.name]; ok {
				w.into(f.name)
				w.value(f, f.typ, member)
				w.back()
			}
		}
	case b.leaf == leafText:
		w.text(b, v)
	case b.leaf == leafNumber:
		switch n, ok := numberOf(v); {
		case !ok:
		case b.min != nil && n.LessThan(*b.min):
			w.report("this is less than " + b.min.String())
		case b.max != nil && n.GreaterThan(*b.max):
			w.report("this is more than " + b.max.String())
		}
	case b.leaf == leafJSON:
		w.json(v)
	}
	if b.form != nil && t.Elem == nil && v != nil && w.count == before && w.count < maxViolations {
		if err := b.form(v); err != nil {
			message := err.Error()
			if coded, ok := errors.AsType[*fault.Error](err); ok {
				message = coded.Message
			}
			w.report(message)
		}
	}
}

func (w *walk) text(b *bounds, v any) {
	text, ok := v.(string)
	if n, is := v.(json.Number); is { // which gqlgen takes for a String too
		text, ok = string(n), true
	}
	if !ok {
		return
	}
	length := 0
	switch {
	case b.maxLength == math.MaxInt && len(text) > longestOwn: // which its scalar refuses
		return
	case len(text)/utf8.UTFMax > b.maxLength: // however long it takes to count them
		length = len(text)
	case b.minLength > 0 || len(text) > b.maxLength:
		length = utf8.RuneCountInString(text)
	}
	switch {
	case length < b.minLength:
		w.report(fmt.Sprintf("this has fewer than %d characters", b.minLength))
	case length > b.maxLength:
		w.report(fmt.Sprintf("this has more than %d characters", b.maxLength))
	case b.pattern != nil && !b.pattern.MatchString(text):
		w.report("this is not of the form " + b.pattern.String())
	default:
		w.characters(text)
	}
}

func (w *walk) characters(text string) {
	if err := intake.CheckText(text); err != nil {
		w.report(err.Error())
	}
}

// json checks the texts in a JSON value.
func (w *walk) json(v any) {
	switch v := v.(type) {
	case string:
		w.characters(v)
	case []any:
		for i, item := range v {
			w.intoItem(i)
			w.json(item)
			w.back()
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if err := intake.CheckText(name); err != nil { // such a name does not belong into an answer
				w.report("the name of a member: " + err.Error())
				continue
			}
			w.into(name)
			w.json(v[name])
			w.back()
		}
	}
}

// numberOf returns the number that a value of Int or Decimal stands for. Those with exponents stand for none: it takes long to
// compare them.
func numberOf(v any) (n decimal.Decimal, ok bool) {
	text, ok := v.(string)
	switch v := v.(type) {
	case int64:
		return decimal.NewFromInt(v), true
	case json.Number:
		text, ok = string(v), true
	}
	if !ok || len(text) > 30 || strings.ContainsAny(text, "eE") {
		return n, false
	}
	n, err := decimal.NewFromString(text)
	return n, err == nil
}

// report notes a violation at a place in the arguments of the field.
func (w *walk) report(message string) {
	if w.count++; w.count > maxViolations {
		return
	}
	e := &gqlerror.Error{Err: fault.New(fault.BadUserInput, message), Message: message, Extensions: map[string]any{"code": string(fault.BadUserInput)}}
	for _, name := range names(w.steps[:w.depth]) {
		e.Path = append(e.Path, ast.PathName(name))
	}
	e.Extensions["field"] = names(w.steps[w.depth:])
	if w.field != nil { // it is no default of the schema
		e.Locations = []gqlerror.Location{{Line: w.field.Position.Line, Column: w.field.Position.Column}}
	}
	w.told = append(w.told, e)
}

func names(steps []step) []string {
	all := make([]string, len(steps))
	for i, s := range steps {
		if all[i] = s.name; s.item >= 0 {
			all[i] = strconv.Itoa(s.item)
		}
	}
	return all
}
