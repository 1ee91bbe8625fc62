package graph

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"

	"emporium/internal/id"
)

const (
	generatedDepth  = 7  // fields in one another, at most
	generatedFields = 60 // of an operation, at most
	generatedRoots  = 12 // root fields, at most
	generatedCost   = 100_000
	maxInside       = 3 // fragments in one another without a field between them
)

// generator makes random queries that are valid, over the whole contract, with arguments that mostly find something and
// sometimes fail. Everything follows from its source of randomness.
type generator struct {
	schema *ast.Schema
	words  *vocabulary
	costs  costs
	r      *rand.Rand

	// Of the operation that is being made.
	covered   map[string]bool // what was selected and given: "Type.field", "Type.field(argument)", "Input.field"
	calls     map[string]string
	known     map[string][]call // by "Type.field"
	fragments []*ast.FragmentDefinition
	declared  ast.VariableDefinitionList
	places    map[string][]*ast.VariableDefinition // where a variable was made for
	variables map[string]any                       // what is sent
	effective map[string]any                       // with the defaults
	fields    int                                  // that may still be selected
	objects   float64                              // that may still be asked for
}

// call is a field with its response key and arguments. A response key stands for the same field name, arguments and type
// everywhere in a document, so that selections merge wherever they meet (GraphQL specification, 5.3.2).
type call struct {
	key       string
	arguments ast.ArgumentList
}

// place is where a selection set stands.
type place struct {
	depth  int
	inside int      // fragments in one another, on the same object
	times  float64  // how many objects it is expected to be on
	likely []string // the types that they are expected to be of, where several are possible
}

func newGenerator(schema *ast.Schema, w *world, r *rand.Rand) *generator {
	costs, err := newCosts(schema)
	if err != nil {
		w.t.Fatal(err)
	}
	return &generator{schema: schema, words: newVocabulary(w), costs: costs, r: r}
}

// with returns a generator of the same queries from another source of randomness.
func (g *generator) with(r *rand.Rand) *generator {
	return &generator{schema: g.schema, words: g.words, costs: g.costs, r: r}
}

// operation returns a query and its variables.
func (g *generator) operation() (document string, variables map[string]any) {
	for {
		g.covered, g.calls, g.known, g.places = map[string]bool{}, map[string]string{}, map[string][]call{}, map[string][]*ast.VariableDefinition{}
		g.fragments, g.declared, g.variables, g.effective = nil, nil, map[string]any{}, map[string]any{}
		g.fields = 3 + g.r.IntN(generatedFields-2)
		g.objects = 2_000
		if g.chance(5) {
			g.objects = generatedCost / 4
		}
		selected := g.selections(g.schema.Query, place{depth: 1, times: 1})
		cost, reached := g.measure(selected)
		if reached.roots > generatedRoots || reached.depth > wideLimits.Depth || cost > generatedCost {
			continue
		}
		op := &ast.OperationDefinition{Operation: ast.Query, SelectionSet: selected, VariableDefinitions: g.declared}
		if g.chance(30) {
			op.Name = "Generated"
		}
		return format(&ast.QueryDocument{Operations: ast.OperationList{op}, Fragments: g.fragments}), g.variables
	}
}

func format(d *ast.QueryDocument) string {
	var b strings.Builder
	formatter.NewFormatter(&b, formatter.WithIndent("  ")).FormatQueryDocument(d)
	return b.String()
}

// chance is true so many times in a hundred.
func (g *generator) chance(percent float64) bool { return g.r.Float64()*100 < percent }

func pick[T any](g *generator, from []T) T { return from[g.r.IntN(len(from))] }

// selections makes a selection set on a type: never empty, seldom everything.
func (g *generator) selections(d *ast.Definition, at place) ast.SelectionSet {
	var set ast.SelectionSet
	add := func(s ast.Selection) {
		if s != nil {
			set = append(set, s)
		}
	}
	count := 1 + g.r.IntN(3) + g.r.IntN(4)
	if at.inside == 0 && (d.Kind == ast.Interface || at.depth == 1) {
		count += 2
	}
	if d.Kind == ast.Object && at.depth > 1 && g.chance(3) {
		count = 0
		for _, f := range d.Fields {
			if g.open(f, at) {
				add(g.field(d, f, at))
			}
		}
	}
	for range count {
		add(g.selection(d, at))
	}
	for _, s := range slices.Clone(set) { // the same once more, whose own selections merge
		if f, ok := s.(*ast.Field); ok && f.Name != "__typename" && g.chance(6) && g.open(f.Definition, at) {
			add(g.field(d, f.Definition, at))
		}
	}
	if len(set) == 0 {
		add(g.typename(d))
	}
	return set
}

func (g *generator) selection(d *ast.Definition, at place) ast.Selection {
	roll := g.r.IntN(100)
	if d.Kind == ast.Interface && roll >= 25 { // there is little else on it
		roll = g.r.IntN(30)
	}
	switch {
	case roll < 22 && (at.inside == maxInside || g.fields <= 0):
		return g.typename(d)
	case roll < 12:
		on := g.condition(d, at)
		inside := d
		if on != "" {
			inside = g.schema.Types[on]
		}
		at.inside++
		return &ast.InlineFragment{TypeCondition: on, Directives: g.directives(), SelectionSet: g.selections(inside, at)}
	case roll < 22:
		return g.spread(d, at)
	case roll < 27:
		return g.typename(d)
	}
	leaf := g.chance(50)
	var open []*ast.FieldDefinition
	for _, f := range d.Fields {
		if g.open(f, at) && g.schema.Types[f.Type.Name()].IsLeafType() == leaf {
			open = append(open, f)
		}
	}
	if len(open) == 0 {
		for _, f := range d.Fields {
			if g.open(f, at) {
				open = append(open, f)
			}
		}
	}
	if len(open) == 0 {
		return nil
	}
	return g.field(d, pick(g, open), at)
}

// open reports whether there is room for the field.
func (g *generator) open(f *ast.FieldDefinition, at place) bool {
	if strings.HasPrefix(f.Name, "__") {
		return false
	}
	if g.schema.Types[f.Type.Name()].IsLeafType() {
		return true
	}
	return g.fields > 0 && at.depth < generatedDepth && at.times*unsizedList < g.objects
}

// condition returns a type whose selections may stand on the type, "" for none.
func (g *generator) condition(d *ast.Definition, at place) string {
	switch {
	case d.Kind != ast.Interface && g.chance(35):
		return ""
	case d.Kind == ast.Interface && len(at.likely) > 0 && g.chance(70):
		return pick(g, at.likely)
	case d.Kind == ast.Interface && g.chance(90):
		return pick(g, g.schema.PossibleTypes[d.Name]).Name
	case len(d.Interfaces) > 0 && g.chance(40):
		return pick(g, d.Interfaces)
	}
	return d.Name
}

// measure returns what a selection costs and how far it reaches.
func (g *generator) measure(set ast.SelectionSet) (float64, reach) {
	e := estimator{costs: g.costs, variables: g.effective, fragments: map[string]estimate{}}
	m := measurer{document: &ast.QueryDocument{Fragments: g.fragments}, fragments: map[string]reach{}}
	return e.of(set).cost(), m.of(set)
}

// spread spreads a fragment that is there or a new one. A fragment is there once it is complete, so that there are no
// cycles.
func (g *generator) spread(d *ast.Definition, at place) ast.Selection {
	on := cmp.Or(g.condition(d, at), d.Name)
	for _, f := range g.fragments {
		if f.TypeCondition != on || g.chance(40) {
			continue
		}
		cost, reached := g.measure(f.SelectionSet)
		if at.depth-1+reached.depth <= generatedDepth && at.times*cost < g.objects {
			g.objects -= at.times * cost
			return &ast.FragmentSpread{Name: f.Name, Definition: f, Directives: g.directives()}
		}
	}
	at.inside++
	f := &ast.FragmentDefinition{TypeCondition: on, Definition: g.schema.Types[on]}
	f.SelectionSet = g.selections(f.Definition, at)
	f.Name = "F" + strconv.Itoa(len(g.fragments))
	g.fragments = append(g.fragments, f)
	return &ast.FragmentSpread{Name: f.Name, Definition: f, Directives: g.directives()}
}

func (g *generator) typename(d *ast.Definition) ast.Selection {
	f := &ast.FieldDefinition{Name: "__typename", Type: ast.NonNullNamedType("String", nil)}
	return &ast.Field{Alias: g.key(f, nil), Name: f.Name, Definition: f, ObjectDefinition: d, Directives: g.directives()}
}

func (g *generator) field(d *ast.Definition, f *ast.FieldDefinition, at place) ast.Selection {
	g.fields--
	if at.depth == 1 { // the first root field does not take all
		fields, objects := g.fields/2, g.objects/2
		g.fields, g.objects = g.fields-fields, g.objects-objects
		defer func() { g.fields, g.objects = g.fields+fields, g.objects+objects }()
	}
	along := d.Name + "." + f.Name
	var c call
	if known := g.known[along]; len(known) > 0 && g.chance(50) {
		c = pick(g, known)
	} else {
		c.arguments = g.arguments(d, f, at)
		c.key = g.key(f, c.arguments)
		g.known[along] = append(g.known[along], c)
	}
	selected := &ast.Field{Alias: c.key, Name: f.Name, Arguments: c.arguments, Definition: f, ObjectDefinition: d, Directives: g.directives()}
	g.covered[along] = true
	if target := g.schema.Types[f.Type.Name()]; target.IsCompositeType() {
		selected.SelectionSet = ast.SelectionSet{nil} // for the estimator a field without selections is no object
		size := g.costs[selected.Definition].size(selected.ArgumentMap(g.effective))
		g.objects -= at.times * size
		selected.SelectionSet = g.selections(target, place{depth: at.depth + 1, times: at.times * max(size, 1), likely: g.likely(selected)})
	}
	return selected
}

// likely returns the types that node and nodes are asked for.
func (g *generator) likely(f *ast.Field) []string {
	var types []string
	for _, argument := range f.ArgumentMap(g.effective) {
		values, isList := argument.([]any)
		if !isList {
			values = []any{argument}
		}
		for _, v := range values {
			text, _ := v.(string)
			if name := g.words.types[text]; name != "" && f.Definition.Type.Name() == "Node" {
				types = append(types, name)
			}
		}
	}
	return types
}

// key returns a response key for the field with these arguments: its name or an alias, which may be the name of another
// field.
func (g *generator) key(f *ast.FieldDefinition, arguments ast.ArgumentList) string {
	stands := f.Name + f.Type.String()
	for _, a := range arguments {
		stands += "," + a.Name + ":" + a.Value.String()
	}
	for i := 0; ; i++ {
		key := f.Name
		if i > 0 || g.chance(15) {
			key = pick(g, []string{"a", "b", "c", "name", "title", "node", "id", "status", "data", f.Name + "2", "other_" + f.Name, "_" + strconv.Itoa(i)})
		}
		if known, taken := g.calls[key]; !taken || known == stands {
			g.calls[key] = stands
			return key
		}
	}
}

func (g *generator) directives() ast.DirectiveList {
	var list ast.DirectiveList
	for _, name := range []string{"include", "skip"} {
		if g.chance(4) {
			d := g.schema.Directives[name]
			condition := g.input(d.Arguments[0].Type, false, "@if")
			list = append(list, &ast.Directive{Name: name, Arguments: ast.ArgumentList{{Name: "if", Value: condition}}})
		}
	}
	return list
}

// arguments makes the arguments of a field: mostly such that make sense together.
func (g *generator) arguments(d *ast.Definition, f *ast.FieldDefinition, at place) ast.ArgumentList {
	given := map[string]*ast.Value{}
	switch {
	case f.Arguments.ForName("last") != nil:
		g.page(d, f, at, given)
	case len(f.Arguments) > 1 && !slices.ContainsFunc(f.Arguments, func(a *ast.ArgumentDefinition) bool { return a.Type.NonNull }):
		// One of the arguments names what is wanted.
		count := 1
		if g.chance(5) {
			count = g.r.IntN(3)
		}
		for i, n := range g.r.Perm(len(f.Arguments)) {
			a := f.Arguments[n]
			switch {
			case i < count:
				given[a.Name] = g.input(a.Type, false, d.Name+"."+f.Name+"."+a.Name)
			case g.chance(5):
				given[a.Name] = null()
			}
		}
	}
	for _, a := range f.Arguments {
		if given[a.Name] != nil || a.Type.Elem == nil && !a.Type.NonNull && (len(f.Arguments) > 1 && len(f.Arguments) < 4 || slices.Contains([]string{"first", "last", "after", "before"}, a.Name)) {
			continue
		}
		if required(a.Type, a.DefaultValue) || g.chance(25) {
			given[a.Name] = g.input(a.Type, a.DefaultValue != nil, d.Name+"."+f.Name+"."+a.Name)
		}
	}
	var list ast.ArgumentList
	for _, n := range g.r.Perm(len(f.Arguments)) {
		a := f.Arguments[n]
		if value := given[a.Name]; value != nil {
			list = append(list, &ast.Argument{Name: a.Name, Value: value})
			g.covered[d.Name+"."+f.Name+"("+a.Name+")"] = true
		}
	}
	return list
}

func required(t *ast.Type, value *ast.Value) bool { return t.NonNull && value == nil }

// page makes the arguments of a connection: its size, a cursor, and the sort that the cursor is of.
func (g *generator) page(d *ast.Definition, f *ast.FieldDefinition, at place, given map[string]*ast.Value) {
	number := f.Arguments.ForName("first").Type
	size := func(name string, n int) {
		given[name] = g.constantOrVariable(number, &ast.Value{Kind: ast.IntValue, Raw: strconv.Itoa(n)})
	}
	end, other := "first", "last"
	if g.chance(25) {
		end, other = other, end
	}
	switch roll := g.r.IntN(100); {
	case roll < 91:
		size(end, pick(g, []int{0, 1, 2, 2, 3, 3, 4, 5, 6, 6}))
	case roll < 94 && at.times == 1:
		size(end, 7+g.r.IntN(94))
	case roll < 96:
		size(end, pick(g, []int{-1, 101, 3_000_000_000}))
	case roll < 98:
		size(end, g.r.IntN(4))
		size(other, g.r.IntN(4))
	}
	if given[other] == nil && g.chance(5) {
		given[other] = null()
	}
	for _, name := range []string{"after", "before"} {
		a := f.Arguments.ForName(name)
		switch roll := g.r.IntN(100); {
		case roll < 10:
			c := pick(g, g.words.cursors[f.Type.Name()])
			given[name] = g.constantOrVariable(a.Type, text(c.text))
			if sort := f.Arguments.ForName("sort"); sort != nil && c.sort != nil && given["sort"] == nil && g.chance(85) {
				given["sort"] = g.constantOrVariable(sort.Type, c.sort)
				g.note(c.sort, sort.Type)
			}
		case roll < 12:
			given[name] = g.constantOrVariable(a.Type, text(pick(g, []string{"", "broken", "WyJ4IiwieSJd", "🧵"})))
		case roll < 15:
			given[name] = null()
		}
	}
}

// input makes a value for a place in the contract: a literal, which may hold variables, or a variable.
func (g *generator) input(t *ast.Type, hasDefault bool, where string) *ast.Value {
	if !g.chance(30) {
		return g.literal(t, where, false)
	}
	for _, v := range g.places[where] {
		if v.Type.String() == t.String() && g.chance(40) {
			return &ast.Value{Kind: ast.Variable, Raw: v.Variable, VariableDefinition: v}
		}
	}
	nullable, nonNull := *t, *t
	nullable.NonNull, nonNull.NonNull = false, true
	some := func() *ast.Value { return g.literal(&nonNull, where, true) }
	v := &ast.VariableDefinition{Type: t}
	var value *ast.Value // nil: not given
	switch roll := g.r.IntN(100); {
	case roll < 30: // a default in the operation
		v.Type, v.DefaultValue = &nullable, some()
		if g.chance(50) {
			v.Type = t
		}
		switch {
		case g.chance(50):
			value = some()
		case g.chance(5) && !v.Type.NonNull && where != "@if": // gqlgen panics over a condition that turns out null
			value = null()
		}
	case roll < 50 && hasDefault: // or in the contract
		v.Type = &nullable
		if g.chance(60) {
			value = g.literal(t, where, true)
		} else if g.chance(10) {
			value = null()
		}
	case roll < 60:
		v.Type, value = &nonNull, some()
	case !t.NonNull && g.chance(10):
	default:
		value = g.literal(t, where, true)
		if g.chance(0.3) {
			value = nil // refused if it has to be there
		}
	}
	return g.declare(v, value, where)
}

// constantOrVariable gives a value as it is, or through a variable.
func (g *generator) constantOrVariable(t *ast.Type, value *ast.Value) *ast.Value {
	if !g.chance(30) {
		return value
	}
	v := &ast.VariableDefinition{Type: t}
	if g.chance(20) {
		v.DefaultValue, value = value, nil
	}
	return g.declare(v, value, "")
}

func (g *generator) declare(v *ast.VariableDefinition, value *ast.Value, where string) *ast.Value {
	v.Variable = "v" + strconv.Itoa(len(g.declared))
	v.Definition = g.schema.Types[v.Type.Name()]
	switch {
	case value != nil:
		g.variables[v.Variable] = plain(value)
		g.effective[v.Variable] = plain(value)
	case v.DefaultValue != nil:
		g.effective[v.Variable] = plain(v.DefaultValue)
	}
	g.declared = append(g.declared, v)
	if where != "" {
		g.places[where] = append(g.places[where], v)
	}
	return &ast.Value{Kind: ast.Variable, Raw: v.Variable, VariableDefinition: v}
}

// literal makes a literal; a constant one holds no variables.
func (g *generator) literal(t *ast.Type, where string, constant bool) *ast.Value {
	part := func(t *ast.Type, hasDefault bool, where string) *ast.Value {
		if constant {
			return g.literal(t, where, true)
		}
		return g.input(t, hasDefault, where)
	}
	if !t.NonNull && g.chance(4) {
		return null()
	}
	if t.Elem != nil {
		if g.chance(15) { // a single value stands for a list of it
			elem := *t.Elem
			elem.NonNull = true
			return g.literal(&elem, where, true)
		}
		list := &ast.Value{Kind: ast.ListValue}
		for range g.r.IntN(4) + min(g.r.IntN(4), 1) {
			list.Children = append(list.Children, &ast.ChildValue{Value: part(t.Elem, false, where)})
		}
		return list
	}
	d := g.schema.Types[t.NamedType]
	switch d.Kind {
	case ast.InputObject:
		object := &ast.Value{Kind: ast.ObjectValue}
		for _, n := range g.r.Perm(len(d.Fields)) {
			f := d.Fields[n]
			if required(f.Type, f.DefaultValue) || g.chance(100/float64(len(d.Fields))) {
				g.covered[d.Name+"."+f.Name] = true
				object.Children = append(object.Children, &ast.ChildValue{Name: f.Name,
					Value: part(f.Type, f.DefaultValue != nil, d.Name+"."+f.Name)})
			}
		}
		return object
	case ast.Enum:
		return &ast.Value{Kind: ast.EnumValue, Raw: pick(g, d.EnumValues).Name}
	}
	return g.scalar(d.Name, where)
}

// note covers the fields of a constant.
func (g *generator) note(v *ast.Value, t *ast.Type) {
	for _, child := range v.Children {
		g.covered[t.Name()+"."+child.Name] = true
	}
}

func (g *generator) scalar(typeName, where string) *ast.Value {
	bad := g.chance(3)
	switch typeName {
	case "ID":
		return g.id(where)
	case "Int":
		n := 1 + g.r.IntN(6)
		if bad {
			n = pick(g, []int{-1, 0, 21, 3_000_000_000})
		}
		return &ast.Value{Kind: ast.IntValue, Raw: strconv.Itoa(n)}
	case "Boolean":
		return &ast.Value{Kind: ast.BooleanValue, Raw: strconv.FormatBool(g.chance(50))}
	case "Decimal":
		if bad {
			return pick(g, []*ast.Value{text("19,90"), text("1.999"), text(""), {Kind: ast.FloatValue, Raw: "19.9"}, {Kind: ast.IntValue, Raw: "5"}})
		}
		if strings.HasSuffix(where, ".min") {
			return text(pick(g, []string{"0", "1", "5.50", "-3", "19.90"}))
		}
		return text(pick(g, []string{"19.90", "20", "59.7", "1000", "999999.99", "1"}))
	case "DateTime":
		if bad {
			return pick(g, []*ast.Value{text("yesterday"), text("2026-13-01T00:00:00Z"), {Kind: ast.IntValue, Raw: "0"}})
		}
		if strings.HasSuffix(where, ".from") {
			return text(pick(g, []string{"2020-01-01T00:00:00Z", "1999-12-31T23:59:59.5+02:00", "2100-01-01T00:00:00Z"}))
		}
		return text(pick(g, []string{"2100-01-01T00:00:00Z", "2099-01-01T00:00:00.123456Z", "2020-01-01T00:00:00Z"}))
	case "EmailAddress":
		if bad {
			return pick(g, []*ast.Value{text("nobody"), text(""), {Kind: ast.BooleanValue, Raw: "true"}})
		}
	}
	words := g.words.texts[where]
	if bad || len(words) == 0 {
		return text(pick(g, []string{"", " ", "nothing like it", "\"<&>\"\n\t\x01🧵", strings.Repeat("long", 100)}))
	}
	return text(pick(g, words))
}

// id makes an ID: mostly of something of the type that is wanted there, whosever it is.
func (g *generator) id(where string) *ast.Value {
	wanted := g.words.wanted[where]
	if wanted == "" {
		wanted = pick(g, g.schema.PossibleTypes["Node"]).Name
	}
	switch roll := g.r.IntN(100); {
	case roll < 88:
	case roll < 91: // of another kind
		wanted = pick(g, g.schema.PossibleTypes["Node"]).Name
	case roll < 97: // unknown
		known, _ := id.Parse(pick(g, g.words.ids[wanted]))
		var key uuid.UUID
		for i := range key {
			key[i] = byte(g.r.Uint32())
		}
		if g.chance(50) || known.Owner == uuid.Nil {
			known.Key = key
		} else {
			known.Owner = key
		}
		return text(known.String())
	default:
		return pick(g, []*ast.Value{text(""), text("malformed"), text("AwAA"), {Kind: ast.IntValue, Raw: "42"}})
	}
	return text(pick(g, g.words.ids[wanted]))
}

func text(s string) *ast.Value { return &ast.Value{Kind: ast.StringValue, Raw: s} }

func null() *ast.Value { return &ast.Value{Kind: ast.NullValue, Raw: "null"} }

// plain is a constant as it is sent in JSON. Unlike ast.Value.Value it tells an empty list from null.
func plain(v *ast.Value) any {
	switch v.Kind {
	case ast.ListValue:
		list := make([]any, len(v.Children))
		for i, child := range v.Children {
			list[i] = plain(child.Value)
		}
		return list
	case ast.ObjectValue:
		object := make(map[string]any, len(v.Children))
		for _, child := range v.Children {
			object[child.Name] = plain(child.Value)
		}
		return object
	case ast.IntValue, ast.FloatValue:
		return json.Number(v.Raw)
	case ast.BooleanValue:
		return v.Raw == "true"
	case ast.NullValue:
		return nil
	}
	return v.Raw
}

// vocabulary is what a world's arguments are made of.
type vocabulary struct {
	ids     map[string][]string // global IDs by type
	types   map[string]string   // the type of each of them
	wanted  map[string]string   // the type that an argument or input field asks for, where it is one
	texts   map[string][]string // by argument or input field
	cursors map[string][]cursor // by connection
}

// cursor is one that was handed out, with the sort that it is of.
type cursor struct {
	text string
	sort *ast.Value
}

// newVocabulary asks for everything in the world.
func newVocabulary(w *world) *vocabulary {
	v := &vocabulary{ids: map[string][]string{}, types: map[string]string{}, cursors: map[string][]cursor{}, wanted: map[string]string{
		"ProductFilter.categoryId": "Category", "ProductFilter.collectionId": "Collection", "OrderFilter.customerId": "User",
		"AuditFilter.actorId": "User", "AuditFilter.subjectId": "User",
	}}
	for _, name := range []string{"User", "Product", "Variant", "Category", "Collection", "Order", "Payment"} {
		v.wanted["Query."+strings.ToLower(name)+".id"] = name
	}
	found := map[string][]string{} // texts by "Type.field"
	for _, query := range []string{
		`{ users(first: 100) { nodes { __typename id email phone addresses { __typename id } } } }`,
		`{ orders(first: 100) { nodes { __typename id number email lines { __typename id } events { __typename id }
			fulfillments { __typename id } payments { __typename id provider events { __typename id } commands { __typename id } } } } }`,
		`{ products(first: 100) { nodes { __typename id slug title vendor type tags options { __typename name values }
			variants { __typename id sku priceChanges(first: 3) { nodes { __typename id } } inventory { movements(first: 3) { nodes { __typename id } } } } media { __typename id } } } }`,
		`{ categories { __typename id slug children { __typename id slug children { __typename id slug } } } }`,
		`{ collections(first: 100) { nodes { __typename id slug } } }`,
		`{ cart { __typename id lines { __typename id } } }`,
	} {
		v.collect(w.data("admin", query, nil), found)
	}
	enough := func(texts []string, more ...string) []string { return append(slices.Clone(texts), more...) }
	words := []string{"shirt", "Shirt 1", "shrit", "linen", "a", "knife & fork", `"quoted"`, "\\", "%", "zzz"}
	v.texts = map[string][]string{
		"Query.product.slug": enough(found["Product.slug"], "nothing"), "Query.category.slug": enough(found["Category.slug"], "nothing"),
		"Query.collection.slug": enough(found["Collection.slug"], "nothing"), "Query.variant.sku": enough(found["Variant.sku"], "nothing"),
		"Query.products.query": words, "Query.productSuggest.prefix": enough(words, "s", "sh", "kn"),
		"ProductFilter.vendors": enough(found["Product.vendor"], "nobody"), "ProductFilter.types": enough(found["Product.type"], "nothing"),
		"ProductFilter.tags": enough(found["Product.tags"], "nothing"), "OptionFilter.name": enough(found["ProductOption.name"], "nothing"),
		"OptionFilter.values": enough(found["ProductOption.values"], "nothing"), "UserFilter.phone": enough(found["User.phone"], "+4930123456", "x"),
		"PaymentFilter.provider": enough(found["Payment.provider"], "nobody"), "Query.cart.token": {"", "x", strings.Repeat("A", 43)},
	}
	for _, where := range []string{"Query.order.number", "OrderFilter.number", "Query.user.orderNumber", "UserFilter.orderNumber"} {
		v.texts[where] = enough(found["Order.number"], "EM-0000-0000", "em")
	}
	for _, where := range []string{"Query.user.email", "UserFilter.email", "OrderFilter.email"} {
		v.texts[where] = enough(found["User.email"], "ADA@Example.com", "nobody@example.com")
	}

	orders := []*ast.Value{nil}
	for _, field := range []string{"CREATED_AT", "PRICE", "TITLE", "RELEVANCE", "TOTAL"} {
		for _, direction := range []string{"ASC", "DESC"} {
			orders = append(orders, &ast.Value{Kind: ast.ObjectValue, Children: ast.ChildValueList{
				{Name: "field", Value: &ast.Value{Kind: ast.EnumValue, Raw: field}},
				{Name: "direction", Value: &ast.Value{Kind: ast.EnumValue, Raw: direction}}}})
		}
	}
	ledger := w.data("admin", `{ products(first: 100) { nodes { variants { inventory { movements(first: 3) { edges { cursor } } } } } } }`, nil)
	v.handedOut("StockMovementConnection", ledger)
	v.handedOut("PriceChangeConnection", w.data("admin", `{ products(first: 100) { nodes { variants { priceChanges(first: 3) { edges { cursor } } } } } }`, nil))
	v.handedOut("JobConnection", w.data("admin", `{ jobs(domain: ORDERS, first: 12) { edges { cursor } } }`, nil))
	for _, l := range []struct{ field, connection, fields string }{
		{"users", "UserConnection", "CREATED_AT"}, {"orders", "OrderConnection", "CREATED_AT TOTAL"}, {"payments", "PaymentConnection", "CREATED_AT"},
		{"products", "ProductConnection", "CREATED_AT PRICE TITLE RELEVANCE"}, {"collections", "CollectionConnection", ""},
		{"auditLog", "AuditConnection", ""}, {"discounts", "DiscountConnection", ""}, {"apiKeys", "ApiKeyConnection", ""},
		{"paymentDifferences", "PaymentDifferenceConnection", ""},
	} {
		for _, sort := range orders {
			arguments := "first: 12"
			if sort != nil {
				if !strings.Contains(l.fields, sort.Children[0].Value.Raw) {
					continue
				}
				arguments += ", sort: " + sort.String()
			}
			page := w.data("admin", fmt.Sprintf(`{ list: %s(%s) { edges { cursor } } }`, l.field, arguments), nil)
			for _, edge := range page["list"].(map[string]any)["edges"].([]any) {
				v.cursors[l.connection] = append(v.cursors[l.connection], cursor{edge.(map[string]any)["cursor"].(string), sort})
			}
		}
	}
	return v
}

// handedOut takes the cursors of an answer.
func (v *vocabulary) handedOut(connection string, value any) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			v.handedOut(connection, element)
		}
	case map[string]any:
		if text, ok := value["cursor"].(string); ok {
			v.cursors[connection] = append(v.cursors[connection], cursor{text: text})
		}
		for _, field := range value {
			v.handedOut(connection, field)
		}
	}
}

// collect takes the IDs and texts of an answer, in its order.
func (v *vocabulary) collect(value any, found map[string][]string) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			v.collect(element, found)
		}
	case map[string]any:
		typeName, _ := value["__typename"].(string)
		names := make([]string, 0, len(value))
		for name := range value {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			switch field := value[name].(type) {
			case string:
				if name == "id" && v.types[field] == "" {
					v.ids[typeName], v.types[field] = append(v.ids[typeName], field), typeName
				}
				found[typeName+"."+name] = append(found[typeName+"."+name], field)
			case []any:
				for _, element := range field {
					if s, ok := element.(string); ok {
						found[typeName+"."+name] = append(found[typeName+"."+name], s)
					}
				}
				v.collect(field, found)
			default:
				v.collect(field, found)
			}
		}
	}
}
