// Package rows holds methods that read the fields of their receiver in every way that Go has.
package rows

import (
	"iter"
	"strings"
)

// Base is embedded in Row.
type Base struct {
	ID   string
	Note string
}

// Kind is promoted to Row.
func (b Base) Kind() string { return b.Note }

// Linked is embedded in Row by its address.
type Linked struct{ Link string }

// Namer is embedded in Row as an interface.
type Namer interface{ Named() string }

// Row is what the methods belong to.
type Row struct {
	Base
	*Linked
	Namer
	Name   string
	Minor  int64
	Code   string
	Labels []string
	Nested Base
	Next   *Row
	Render func(string) string
}

// Alias is another name of Row.
type Alias = Row

// Fields, one by one and together. What lies behind a pointer belongs to another row.

func (r *Row) Nothing() string  { return "nothing" }
func (r *Row) One() string      { return r.Name }
func (r Row) ByValue() string   { return r.Name + r.Code }
func (*Row) Unnamed() string    { return "" }
func (_ *Row) Blank() string    { return "" }
func (r *Row) Deep() string     { return r.Nested.Note }
func (r *Row) Element() string  { return r.Labels[r.Minor] }
func (r *Row) Called() string   { return r.Render(r.Name) }
func (r *Row) Address() *string { return &r.Name }
func (r *Row) Written() string  { r.Name = r.Code; return "" }
func (r *Row) Counted() int64   { r.Minor++; return 0 }
func (r *Row) Embedded() string { return r.Base.ID }
func (r *Row) Literal() any     { return struct{ Name, Code string }{Code: r.Code} }
func (r *Row) Further() string  { return r.Next.Code }
func (r *Row) Switched() (found string) {
	switch r.Minor {
	case 1:
		found = r.Name
	default:
		goto r
	}
r:
	return found
}

// Closures, iterators, deferred calls.

func (r *Row) Closure() func() string { return func() string { return r.Name } }
func (r Row) Iterator() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, label := range r.Labels {
			if !yield(label + r.Code) {
				return
			}
		}
	}
}
func (r *Row) Deferred() (s string) {
	defer func() { s += r.Code }()
	return r.Name
}

// Other variables of the same name are not the receiver.

func (r *Row) Shadowed() string {
	r2 := Row{}
	{
		r := r2
		_ = r.Code
	}
	return r.Name
}
func (r *Row) Parameter() string {
	return func(r *Base) string { return r.Note }(nil) + r.Name
}

// Methods that call others.

func (r *Row) Calls() string              { return r.One() + r.Code }
func (r *Row) CallsTwice() string         { return r.Calls() + strings.Join(r.Labels, "") }
func (r Row) CallsPointer() string        { return r.One() }
func (r *Row) CallsValue() string         { return r.ByValue() }
func (r *Row) MethodValue() func() string { return r.One }
func (r *Row) MethodExpression() string   { return (*Row).One(r) }
func (r *Row) CallsWhole() string         { return r.Passed() }

// Recursion, with what is read after the call that leads back.

func (r *Row) Recursive(n int) string {
	if n > 0 {
		return r.Recursive(n - 1)
	}
	return r.Name
}
func (r *Row) Ping() string {
	if r.Minor > 0 {
		return r.Pong()
	}
	return r.Name
}
func (r *Row) Pong() string { return r.Ping() + r.Code }
func (r *Row) Tick() string { return r.Tock() + r.Passed() }
func (r *Row) Tock() string { return r.Tick() + r.Code }

// The receiver as a whole.

func (r *Row) Passed() string       { return whole(r) }
func (r Row) PassedValue() string   { return whole(&r) }
func (r *Row) Copied() string       { q := *r; return q.Name }
func (r *Row) Aliased() string      { q := r; return q.Name }
func (r *Row) Declared() string     { var q = r; return q.Name }
func (r *Row) Reassigned() string   { r = r.Next; return r.Name }
func (r *Row) Overwritten() string  { *r = Row{Name: r.Name}; return "" }
func (r *Row) Parentheses() string  { return (r).Name }
func (r *Row) Dereferenced() string { return (*r).Name }
func (r *Row) AddressOf() string    { return (*&r).Note }
func (r *Row) Compared() bool       { return r == nil }
func (r *Row) Converted() string    { return (*Alias)(r).Name }
func (r *Row) Asserted() string     { return any(r).(interface{ One() string }).One() }
func (r *Row) Stored() string       { all := []*Row{r}; return all[0].Name }
func (r *Row) Keyed() string        { return map[*Row]string{r: "x"}[nil] }
func (r *Row) Sent() string         { c := make(chan *Row, 1); c <- r; return (<-c).Name }
func (r *Row) Returned() *Row       { return r }
func (r *Row) Ranged() (s string) {
	for _, r = range []*Row{nil} {
		s += "x"
	}
	return s
}
func (r *Row) Captured() string {
	return func(q *Row) string { return q.Name }(r)
}
func (r *Row) TypeSwitched() string {
	switch q := any(r).(type) {
	case *Row:
		return q.Name
	}
	return ""
}

// What is promoted comes from another struct.

func (r *Row) Promoted() string        { return r.Note }
func (r *Row) PromotedPointer() string { return r.Link }
func (r *Row) PromotedMethod() string  { return r.Kind() }
func (r *Row) PromotedIface() string   { return r.Named() }

// Receivers that are written otherwise.

func (r *Alias) OfAlias() string       { return r.Name }
func (r *(Row)) InParentheses() string { return r.Name }

// Box is generic.
type Box[T any] struct {
	Name string
	Of   T
}

func (b *Box[T]) Title() string { return b.Name }

// Boxed is an instance.
type Boxed = Box[int]

// Names is no struct.
type Names []string

func (n Names) First() string { return n[0] }

func whole(r *Row) string { return r.Name + r.Code }
