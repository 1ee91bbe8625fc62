package contract

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
)

// Level says what a change does to clients that were written for the old schema.
type Level string

const (
	Breaking  Level = "breaking"  // documents become invalid, or answers stop having the promised shape
	Dangerous Level = "dangerous" // documents stay valid, but clients may meet what they were not written for
	Safe      Level = "safe"      // they do not notice
)

// Change is a difference between two schemas.
type Change struct {
	Coordinate string
	Level      Level
	What       string // has changed
	Why        string // it has the level
}

// Diff returns the changes that make a new schema of an old one, in the order of their coordinates. What was deprecated in the old one
// with a day of removal before today may go, and with it the types to which nothing else led.
func Diff(old, new *ast.Schema, today time.Time) []Change {
	d := &differ{old: old, new: new, today: today}
	d.met = d.reachable()
	d.schema()
	each(types(old), types(new), d.typ)
	each(directives(old), directives(new), d.directive)
	slices.SortStableFunc(d.changes, func(a, b Change) int { return cmp.Compare(a.Coordinate, b.Coordinate) })
	return d.changes
}

type differ struct {
	old, new *ast.Schema
	today    time.Time
	met      map[string]bool // types of the old schema that clients can come across
	changes  []Change
}

func (d *differ) add(l Level, coordinate, why, what string, args ...any) {
	d.changes = append(d.changes, Change{coordinate, l, fmt.Sprintf(what, args...), why})
}

// removed notes that an element is gone, which breaks clients unless it was announced for a day that has passed.
func (d *differ) removed(coordinate, what string, directives ast.DirectiveList) {
	if announced := deprecation(directives); announced.due(d.today) {
		d.add(Safe, coordinate, "its deprecation announced it: "+announced.Reason, "%s was removed", what)
		return
	}
	d.add(Breaking, coordinate, "documents that name it become invalid", "%s was removed", what)
}

// each calls f for each name in either map, in order, with the zero value where it is missing.
func each[T any](old, new map[string]T, f func(name string, old, new T)) {
	names := maps.Clone(old)
	maps.Copy(names, new)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f(name, old[name], new[name])
	}
}

func byName[T any](all []T, name func(T) string) map[string]T {
	found := make(map[string]T, len(all))
	for _, one := range all {
		found[name(one)] = one
	}
	return found
}

func (d *differ) schema() {
	d.description("schema", d.old.Description, d.new.Description)
	d.applied("schema", d.old.SchemaDirectives, d.new.SchemaDirectives, false)
	name := func(r root) string { return string(r.operation) }
	each(byName(roots(d.old), name), byName(roots(d.new), name), func(operation string, old, new root) {
		switch {
		case old.typ == new.typ:
		case old.typ == "":
			d.add(Safe, "schema", "nobody can have asked for it", "there is the operation %s", operation)
		default:
			d.add(Breaking, "schema", "documents begin elsewhere", "the type of the operation %s was %s and is %s", operation, old.typ, cmp.Or(new.typ, "none"))
		}
	})
}

var kinds = map[ast.DefinitionKind]string{ast.Scalar: "scalar", ast.Object: "type", ast.Interface: "interface", ast.Union: "union",
	ast.Enum: "enum", ast.InputObject: "input"}

func (d *differ) typ(name string, old, new *ast.Definition) {
	switch {
	case new == nil && d.met[name]:
		d.add(Breaking, name, "documents that name it, or what is in it, become invalid", "%s was removed", kinds[old.Kind])
		return
	case new == nil:
		d.add(Safe, name, "documents come across it by nothing but what was announced to go", "%s was removed", kinds[old.Kind])
		return
	case old == nil:
		d.add(Safe, name, "nobody can have named it", "%s was added", kinds[new.Kind])
		d.interfaces(name, nil, new.Interfaces)
		return
	case old.Kind != new.Kind:
		d.add(Breaking, name, "it is used in another way", "%s became %s", kinds[old.Kind], kinds[new.Kind])
		return
	}
	d.description(name, old.Description, new.Description)
	d.applied(name, old.Directives, new.Directives, new.IsInputType())
	d.interfaces(name, old.Interfaces, new.Interfaces)
	self := func(s string) string { return s }
	each(byName(old.Types, self), byName(new.Types, self), func(_, was, is string) {
		switch {
		case is == "":
			d.add(Breaking, name, "fragments on it become invalid", "member %s was removed", was)
		case was == "":
			d.add(Dangerous, name, "clients may meet a type that they do not know", "member %s was added", is)
		}
	})
	valueName := func(v *ast.EnumValueDefinition) string { return v.Name }
	each(byName(old.EnumValues, valueName), byName(new.EnumValues, valueName), func(value string, was, is *ast.EnumValueDefinition) {
		at := name + "." + value
		switch {
		case is == nil:
			d.removed(at, "value", was.Directives)
		case was == nil:
			d.add(Dangerous, at, "clients may meet a value that they do not know", "value was added")
		default:
			d.description(at, was.Description, is.Description)
			d.applied(at, was.Directives, is.Directives, false)
		}
	})
	if old.Kind == ast.InputObject {
		d.arguments(inputFields(old), inputFields(new), "field", func(field string) string { return name + "." + field })
		return
	}
	fieldName := func(f *ast.FieldDefinition) string { return f.Name }
	each(byName(fields(old), fieldName), byName(fields(new), fieldName), func(field string, was, is *ast.FieldDefinition) {
		d.field(name+"."+field, was, is)
	})
}

func inputFields(t *ast.Definition) (all ast.ArgumentDefinitionList) {
	for _, f := range fields(t) {
		all = append(all, asArgument(f))
	}
	return all
}

func (d *differ) interfaces(name string, old, new []string) {
	self := func(s string) string { return s }
	each(byName(old, self), byName(new, self), func(_, was, is string) {
		switch {
		case is == "":
			d.add(Breaking, name, "fragments and fields of the interface no longer lead to it", "interface %s was removed", was)
		case was == "" && d.old.Types[is] != nil:
			d.add(Dangerous, name, "clients may meet it where they know of other types", "interface %s was added", is)
		case was == "":
			d.add(Safe, name, "nobody can have asked for the interface", "interface %s was added", is)
		}
	})
}

func (d *differ) field(at string, old, new *ast.FieldDefinition) {
	switch {
	case new == nil:
		d.removed(at, "field", old.Directives)
		return
	case old == nil:
		d.add(Safe, at, "nobody can have asked for it", "field was added")
		return
	}
	d.description(at, old.Description, new.Description)
	if was, is := old.Type.String(), new.Type.String(); was != is {
		// Of an interface or union one of its types is less only to the reader of an answer: fragments on the others become invalid.
		if fits(new.Type, old.Type) {
			d.add(Safe, at, "what it returns is always of the old type, too", "type %s became %s", was, is)
		} else {
			d.add(Breaking, at, "it may return what the old type does not allow", "type %s became %s", was, is)
		}
	}
	d.arguments(old.Arguments, new.Arguments, "argument", func(name string) string { return argument(at, name) })
	d.applied(at, old.Directives, new.Directives, false)
	d.access(at, old.Directives, new.Directives)
}

// fits reports whether every value of a type is one of another.
func fits(t, other *ast.Type) bool {
	switch {
	case other.NonNull && !t.NonNull:
		return false
	case t.Elem != nil && other.Elem != nil:
		return fits(t.Elem, other.Elem)
	default:
		return t.Elem == nil && other.Elem == nil && t.NamedType == other.NamedType
	}
}

// arguments compares what clients give: arguments or input fields.
func (d *differ) arguments(old, new ast.ArgumentDefinitionList, kind string, coordinate func(name string) string) {
	name := func(a *ast.ArgumentDefinition) string { return a.Name }
	each(byName(old, name), byName(new, name), func(name string, old, new *ast.ArgumentDefinition) {
		at := coordinate(name)
		switch {
		case new == nil:
			d.removed(at, kind, old.Directives)
			return
		case old == nil && required(new):
			d.add(Breaking, at, "it has to be given, and nobody does", "required %s was added", kind)
			return
		case old == nil:
			d.add(Safe, at, "it may be left out", "%s was added", kind)
			return
		}
		d.description(at, old.Description, new.Description)
		if was, is := old.Type.String(), new.Type.String(); was != is {
			// One value where a list is wanted would do, but no variable of that type.
			if fits(old.Type, new.Type) {
				d.add(Safe, at, "it takes whatever the old type took", "type %s became %s", was, is)
			} else {
				d.add(Breaking, at, "it refuses some of what the old type took", "type %s became %s", was, is)
			}
		}
		if was, is := literal(old.DefaultValue), literal(new.DefaultValue); was != is {
			what := fmt.Sprintf("default %s became %s", was, is)
			switch {
			case required(new) && old.DefaultValue != nil:
				d.add(Breaking, at, "it has to be given now", "%s", what)
			case required(old):
				d.add(Safe, at, "nobody can have left it out", "%s", what)
			default:
				d.add(Dangerous, at, "it means something else to leave it out", "%s", what)
			}
		}
		d.applied(at, old.Directives, new.Directives, true)
	})
}

// literal is the text of a value, the same however it is written.
func literal(v *ast.Value) string {
	if v == nil {
		return "none"
	}
	var parts []string
	for _, c := range v.Children {
		parts = append(parts, strings.TrimPrefix(c.Name+": "+literal(c.Value), ": "))
	}
	switch v.Kind {
	case ast.ListValue:
		return "[" + strings.Join(parts, ", ") + "]"
	case ast.ObjectValue:
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return v.String()
	}
}

func (d *differ) description(at, old, new string) {
	if old != new {
		d.add(Safe, at, "it is for people", "description was changed")
	}
}

// executable are the places of a directive in documents of clients; the others are in the schema alone.
var executable = []ast.DirectiveLocation{ast.LocationQuery, ast.LocationMutation, ast.LocationSubscription, ast.LocationField,
	ast.LocationFragmentDefinition, ast.LocationFragmentSpread, ast.LocationInlineFragment, ast.LocationVariableDefinition}

func inDocuments(d *ast.DirectiveDefinition) bool {
	return slices.ContainsFunc(d.Locations, func(l ast.DirectiveLocation) bool { return slices.Contains(executable, l) })
}

func (d *differ) directive(name string, old, new *ast.DirectiveDefinition) {
	at := "@" + name
	before := len(d.changes)
	switch {
	case old == nil:
		d.add(Safe, at, "nobody can have named it", "directive was added")
		return
	case new == nil:
		d.removed(at, "directive", old.Directives)
	default:
		d.description(at, old.Description, new.Description)
		d.applied(at, old.Directives, new.Directives, false)
		d.arguments(old.Arguments, new.Arguments, "argument", func(name string) string { return argument(at, name) })
		if old.IsRepeatable && !new.IsRepeatable {
			d.add(Breaking, at, "documents that repeat it become invalid", "it is not repeatable any more")
		} else if new.IsRepeatable && !old.IsRepeatable {
			d.add(Safe, at, "once is still enough", "it is repeatable")
		}
		place := func(l ast.DirectiveLocation) string { return string(l) }
		each(byName(old.Locations, place), byName(new.Locations, place), func(_ string, was, is ast.DirectiveLocation) {
			switch {
			case is == "" && slices.Contains(executable, was):
				d.add(Breaking, at, "documents that have it there become invalid", "location %s was removed", was)
			case is == "":
				d.add(Safe, at, "it stood in the schema alone", "location %s was removed", was)
			case was == "":
				d.add(Safe, at, "nobody can have put it there", "location %s was added", is)
			}
		})
	}
	if !inDocuments(old) {
		for i := range d.changes[before:] {
			d.changes[before+i].Level, d.changes[before+i].Why = Safe, "it stands in the schema alone"
		}
	}
}

// applied compares the directives on an element. Input tells that the element is something that clients give.
func (d *differ) applied(at string, old, new ast.DirectiveList, input bool) {
	each(uses(old), uses(new), func(name, was, is string) {
		if was == is || slices.Contains(accessDirectives, name) {
			return
		}
		what := fmt.Sprintf("%s became %s", cmp.Or(was, "no @"+name), cmp.Or(is, "no @"+name))
		switch {
		case name == "deprecated":
			a, b := deprecation(old), deprecation(new)
			if b.due(d.today) && !a.due(d.today) {
				d.add(Breaking, at, "it announces a day that has passed, so that nobody could hear of it", "%s", what)
				return
			}
			if a != nil && b != nil && !b.After.IsZero() && b.After.Before(a.After) {
				d.add(Dangerous, at, "it goes earlier than was said", "%s", what)
				return
			}
			d.add(Safe, at, "it is there as before", "%s", what)
		case name == "oneOf" && is != "":
			d.add(Breaking, at, "objects with several fields are refused", "%s", what)
		case name == "oneOf":
			d.add(Safe, at, "objects with one field are still taken", "%s", what)
		case name == "once" && is != "":
			d.add(Breaking, at, "operations that select it more than once are refused", "%s", what)
		case name == "constraint" && tighter(old.ForName(name), new.ForName(name)):
			d.add(Breaking, at, "values that were taken are refused", "%s", what)
		case name == "constraint":
			d.add(Safe, at, "it takes whatever was taken", "%s", what)
		case name == "listSize", name == "cost" && d.weight(at, new) > d.weight(at, old):
			d.add(Dangerous, at, "operations may cost more than they may", "%s", what)
		case name == "specifiedBy" && was != "":
			d.add(Dangerous, at, "values may be written otherwise", "%s", what)
		case input && is != "" && name != "specifiedBy":
			d.add(Dangerous, at, "values that were taken may be refused", "%s", what)
		default:
			d.add(Safe, at, "it asks nothing more of clients", "%s", what)
		}
	})
}

// tighter reports whether an @constraint, where nil has no bounds, refuses something that another takes.
func tighter(old, new *ast.Directive) bool {
	if old == nil || new == nil {
		return new != nil
	}
	for _, a := range new.Arguments {
		was := old.Arguments.ForName(a.Name)
		if was == nil {
			return true
		}
		x, errX := strconv.ParseFloat(was.Value.Raw, 64)
		y, errY := strconv.ParseFloat(a.Value.Raw, 64)
		switch {
		case a.Value.Raw == was.Value.Raw:
		case errX != nil || errY != nil: // patterns
			return true
		case strings.HasPrefix(a.Name, "min") && y > x, strings.HasPrefix(a.Name, "max") && y < x:
			return true
		}
	}
	return false
}

// weight returns what a field costs, as the contract describes @cost.
func (d *differ) weight(at string, all ast.DirectiveList) float64 {
	if cost := all.ForName("cost"); cost != nil {
		if a := cost.Arguments.ForName("weight"); a != nil {
			n, _ := strconv.ParseFloat(a.Value.Raw, 64)
			return n
		}
	}
	if d.old.Mutation != nil && strings.HasPrefix(at, d.old.Mutation.Name+".") {
		return 10
	}
	return 0
}

// uses returns the text of directives on an element, by name.
func uses(all ast.DirectiveList) map[string]string {
	texts := map[string]string{}
	for _, d := range all {
		var args []string
		for _, a := range d.Arguments {
			args = append(args, a.Name+": "+literal(a.Value))
		}
		slices.Sort(args)
		text := "@" + d.Name
		if args != nil {
			text += "(" + strings.Join(args, ", ") + ")"
		}
		texts[d.Name] = strings.TrimPrefix(texts[d.Name]+" "+text, " ")
	}
	return texts
}

// accessDirectives say who may have a field. One that has none is for everybody who has its object.
var accessDirectives = []string{"public", "authenticated", "hasRole", "owner"}

// sight is what a viewer gets of a field.
type sight int

const (
	refused sight = iota
	own           // of what is not theirs null
	whole
)

// sights says what viewers get: those who are not signed in (""), those without any of the roles ("*"), and those with each.
func sights(all ast.DirectiveList, roles []string) map[string]sight {
	found := map[string]sight{"": whole, "*": whole}
	among := map[string]bool{}
	for _, d := range all {
		switch d.Name {
		case "authenticated":
			found[""] = refused
		case "hasRole":
			found[""], found["*"] = refused, refused
			among = rolesOf(d)
		case "owner":
			found[""], found["*"] = own, own
			among = rolesOf(d)
		}
	}
	for _, r := range roles {
		if found[r] = found["*"]; among[r] {
			found[r] = whole
		}
	}
	return found
}

func rolesOf(d *ast.Directive) map[string]bool {
	roles := map[string]bool{}
	for _, a := range d.Arguments {
		for _, c := range a.Value.Children {
			roles[c.Value.Raw] = true
		}
	}
	return roles
}

// access compares who may have a field.
func (d *differ) access(at string, old, new ast.DirectiveList) {
	among := map[string]bool{}
	text := func(all ast.DirectiveList) string {
		for _, name := range accessDirectives {
			if mark := all.ForName(name); mark != nil {
				maps.Copy(among, rolesOf(mark))
				return uses(all)[name]
			}
		}
		return "no access directive"
	}
	was, is := text(old), text(new)
	if was == is {
		return
	}
	roles := slices.Sorted(maps.Keys(among))
	before, after := sights(old, roles), sights(new, roles)
	less, more := false, false
	for who := range before {
		less, more = less || after[who] < before[who], more || after[who] > before[who]
	}
	switch {
	case less:
		d.add(Breaking, at, "some viewers get it no more", "%s became %s", was, is)
	case more:
		d.add(Dangerous, at, "viewers get it who did not", "%s became %s", was, is)
	default:
		d.add(Safe, at, "the same viewers get it", "%s became %s", was, is)
	}
}

// reachable returns the types of the old schema that clients can come across, leaving aside what was announced to be gone by today.
func (d *differ) reachable() map[string]bool {
	met := map[string]bool{}
	var visit func(name string)
	arguments := func(all ast.ArgumentDefinitionList) {
		for _, a := range all {
			if !deprecation(a.Directives).due(d.today) {
				visit(a.Type.Name())
			}
		}
	}
	visit = func(name string) {
		t := d.old.Types[name]
		if met[name] || t == nil {
			return
		}
		met[name] = true
		for _, f := range t.Fields {
			if !deprecation(f.Directives).due(d.today) {
				visit(f.Type.Name())
				arguments(f.Arguments)
			}
		}
		for _, other := range slices.Concat(t.Interfaces, t.Types) {
			visit(other)
		}
		for _, other := range d.old.PossibleTypes[name] {
			visit(other.Name)
		}
	}
	for _, r := range roots(d.old) {
		visit(r.typ)
	}
	for _, directive := range d.old.Directives {
		if inDocuments(directive) {
			arguments(directive.Arguments)
		}
	}
	return met
}
