package postgres

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"emporium/internal/fault"
	"emporium/internal/page"
)

// Builder puts a statement together from fixed text and numbered parameters. Values only ever become parameters.
type Builder struct {
	args  []any
	where []string
}

// Arg adds a parameter and returns its place, like "$3".
func (b *Builder) Arg(value any) string {
	b.args = append(b.args, value)
	return "$" + strconv.Itoa(len(b.args))
}

// And adds a condition; each ? in it stands for one of the values, in order.
func (b *Builder) And(condition string, values ...any) {
	var out strings.Builder
	parts := strings.Split(condition, "?")
	if len(parts) != len(values)+1 {
		panic(fmt.Sprintf("postgres: condition %q has %d places for %d values", condition, len(parts)-1, len(values)))
	}
	for i, part := range parts {
		out.WriteString(part)
		if i < len(values) {
			out.WriteString(b.Arg(values[i]))
		}
	}
	b.where = append(b.where, out.String())
}

// Where returns the conditions so far as a WHERE clause, or nothing.
func (b *Builder) Where() string {
	if len(b.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(b.where, " AND ")
}

// Args returns the parameters so far.
func (b *Builder) Args() []any { return b.args }

// Clone returns a copy that can be added to without changing the original.
func (b *Builder) Clone() *Builder {
	return &Builder{args: slices.Clone(b.args), where: slices.Clone(b.where)}
}

// Key is an expression of a list's order with the type that its text in a cursor is cast to. NULLs are not allowed in
// it: coalesce them.
type Key struct {
	Expr string // like "p.price_min"
	Cast string // like "bigint"
	Desc bool
}

// Page adds the conditions of a window over a list in the order of keys, the last of which is unique, and returns the
// ORDER BY and LIMIT clauses. Rows come in the order of reading: page.Build turns a backward page around.
//
// A cursor that was tampered with fails with BadUserInput.
func (b *Builder) Page(w page.Window, keys []Key) (string, error) {
	for _, cursor := range [][]string{w.After, w.Before} {
		if err := checkCursor(keys, cursor); err != nil {
			return "", err
		}
	}
	if w.After != nil {
		b.beyond(keys, w.After, false)
	}
	if w.Before != nil {
		b.beyond(keys, w.Before, true)
	}
	order := make([]string, len(keys))
	for i, k := range keys {
		order[i] = k.Expr
		if k.Desc != w.Backward {
			order[i] += " DESC"
		}
	}
	return " ORDER BY " + strings.Join(order, ", ") + " LIMIT " + strconv.Itoa(w.Limit()), nil
}

var decimalNumber = regexp.MustCompile(`^-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?$`)

// checkCursor is stricter than Postgres, which must never be the one to refuse.
func checkCursor(keys []Key, cursor []string) error {
	for i, text := range cursor {
		var err error
		switch keys[i].Cast {
		case "bigint":
			_, err = strconv.ParseInt(text, 10, 64)
		case "real", "double precision":
			bits := 64
			if keys[i].Cast == "real" {
				bits = 32
			}
			var number float64
			if !decimalNumber.MatchString(text) {
				err = strconv.ErrSyntax
			} else if number, err = strconv.ParseFloat(text, bits); err == nil && number == 0 && strings.ContainsAny(strings.Split(text, "e")[0], "123456789") {
				err = strconv.ErrRange // too small for Postgres, which does not round to 0
			}
		case "uuid":
			var u uuid.UUID
			if u, err = uuid.Parse(text); err == nil && u.String() != text {
				err = strconv.ErrSyntax
			}
		case "text":
		default:
			panic("postgres: cursors of type " + keys[i].Cast + " can not be checked")
		}
		if err != nil {
			return fault.Wrap(fault.BadUserInput, err, "not a cursor of this list")
		}
	}
	return nil
}

// beyond adds: the row lies behind the cursor (before it, if ahead). Rows compare like
// (a, b, c) > (x, y, z), written out, since the directions of the keys may differ:
// a > x OR (a = x AND (b > y OR (b = y AND c > z))).
func (b *Builder) beyond(keys []Key, cursor []string, ahead bool) {
	condition := ""
	for i := len(keys) - 1; i >= 0; i-- {
		k := keys[i]
		place := b.Arg(cursor[i]) + "::text::" + k.Cast
		operator := ">"
		if k.Desc != ahead {
			operator = "<"
		}
		one := k.Expr + " " + operator + " " + place
		if condition == "" {
			condition = one
			continue
		}
		// The bare bound lets an index on the first key be used; the rest decides among equals.
		condition = k.Expr + " " + operator + "= " + place +
			" AND (" + one + " OR (" + k.Expr + " = " + place + " AND " + condition + "))"
	}
	b.where = append(b.where, "("+condition+")")
}
