// Package page is keyset pagination after the Relay Cursor Connections specification
// (https://relay.dev/graphql/connections.htm): `first` or `last`, opaque cursors that are stable under inserts.
package page

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"emporium/internal/fault"
)

// Max is the most items that one page may have.
const Max = 100

// maxCursor bounds the work on a cursor. The longest that is handed out holds 255 characters that JSON writes in six
// bytes each, a UUID and the name of a sort.
const maxCursor = 4096

// Args are the arguments of a connection as the client gave them.
type Args struct {
	First, Last   *int
	After, Before *string
}

// Window is what a store has to read: Limit items (one more than the page, to know whether there is another page)
// between two cursors, from one end of the list.
type Window struct {
	Size          int      // items on the page
	Backward      bool     // read from the end of the list
	After, Before []string // the sort keys of the cursors, nil without one
}

// Limit is the number of rows to read: one more than the page has.
func (w Window) Limit() int { return w.Size + 1 }

// Window checks the arguments: exactly one of first and last, 0 to Max, and cursors that were made for the same sort with
// the given number of keys. Sort is any text that names the order of the list.
func (a Args) Window(sort string, keys int) (Window, error) {
	var w Window
	switch {
	case a.First != nil && a.Last != nil:
		return w, fault.Input("give `first` or `last`, not both", "first")
	case a.First != nil:
		w.Size = *a.First
	case a.Last != nil:
		w.Size, w.Backward = *a.Last, true
	default:
		return w, fault.Input("give `first` or `last`", "first")
	}
	name := "first"
	if w.Backward {
		name = "last"
	}
	if w.Size < 0 || w.Size > Max {
		return w, fault.Input("`"+name+"` is between 0 and "+strconv.Itoa(Max), name)
	}
	var err error
	if w.After, err = parseCursor(a.After, sort, keys, "after"); err != nil {
		return w, err
	}
	w.Before, err = parseCursor(a.Before, sort, keys, "before")
	return w, err
}

// Cursor returns the opaque text for an item of a list with this sort: its sort keys, the last of which is unique.
func Cursor(sort string, keys ...string) string {
	raw, err := json.Marshal(append([]string{sort}, keys...))
	if err != nil {
		panic("page: strings always marshal: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// ParseCursor returns what Cursor was given for the only sort key. It fails with BadUserInput about the argument.
func ParseCursor(text, sort, argument string) (string, error) {
	parts, err := parseCursor(&text, sort, 1, argument)
	if err != nil {
		return "", err
	}
	return parts[0], nil
}

func parseCursor(text *string, sort string, keys int, name string) ([]string, error) {
	if text == nil {
		return nil, nil
	}
	bad := fault.Input("`"+name+"` is not a cursor of this list", name)
	if len(*text) > maxCursor {
		return nil, bad
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(*text)
	if err != nil {
		return nil, bad
	}
	var parts []string
	if json.Unmarshal(raw, &parts) != nil || len(parts) != keys+1 || parts[0] != sort {
		return nil, bad
	}
	return parts[1:], nil
}

// Info says where a page lies in its list.
type Info struct {
	HasNextPage     bool
	HasPreviousPage bool
	size            int
	cursors         func(i int) string
}

// StartCursor returns the cursor of the first item of the page, nil when it is empty.
func (i Info) StartCursor() *string { return i.cursor(0) }

// EndCursor returns the cursor of the last item of the page, nil when it is empty.
func (i Info) EndCursor() *string { return i.cursor(i.size - 1) }

func (i Info) cursor(n int) *string {
	if i.size == 0 {
		return nil
	}
	return new(i.cursors(n))
}

// Edge is an item with its position in the list.
type Edge[T any] struct {
	Node    T
	place   int
	cursors func(i int) string
}

// Cursor returns the cursor of the item. It is made when it is asked for: most pages are read for their items alone.
func (e *Edge[T]) Cursor() string { return e.cursors(e.place) }

// Connection is a page of a list.
type Connection[T any] struct {
	Edges    []*Edge[T]
	PageInfo Info
}

// Build makes the page of a window from the rows that a store has read for it: in the order of reading (from the end
// of the list when the window is Backward), at most w.Limit() of them. Cursor returns an item's cursor.
func Build[T any](w Window, rows []T, cursor func(T) string) Connection[T] {
	more := len(rows) > w.Size
	if more {
		rows = rows[:w.Size]
	}
	if w.Backward {
		rows = slices.Clone(rows)
		slices.Reverse(rows)
	}
	cursors := func(i int) string { return cursor(rows[i]) }
	c := Connection[T]{Edges: make([]*Edge[T], len(rows)), PageInfo: Info{size: len(rows), cursors: cursors}}
	edges := make([]Edge[T], len(rows))
	for i, row := range rows {
		edges[i] = Edge[T]{row, i, cursors}
		c.Edges[i] = &edges[i]
	}
	// Behind a cursor there is at least the item that it was made for, unless that was deleted since; looking would cost a
	// statement, which the Relay specification spares servers.
	if w.Backward {
		c.PageInfo.HasPreviousPage, c.PageInfo.HasNextPage = more, w.Before != nil
	} else {
		c.PageInfo.HasNextPage, c.PageInfo.HasPreviousPage = more, w.After != nil
	}
	return c
}

// Of returns the page with something of each item in its place.
func Of[T, U any](c Connection[T], of func(T) U) Connection[U] {
	edges, pointers := make([]Edge[U], len(c.Edges)), make([]*Edge[U], len(c.Edges))
	for i, e := range c.Edges {
		edges[i] = Edge[U]{of(e.Node), e.place, e.cursors}
		pointers[i] = &edges[i]
	}
	return Connection[U]{Edges: pointers, PageInfo: c.PageInfo}
}

// Nodes returns the items of the page.
func (c *Connection[T]) Nodes() []T {
	nodes := make([]T, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

// owned is what guarded types implement; see auth.Owned.
type owned interface{ OwnedBy(owner uuid.UUID) bool }

// OwnedBy reports whether the item belongs to the owner; an item that nobody owns belongs to nobody.
func (e *Edge[T]) OwnedBy(owner uuid.UUID) bool {
	o, ok := any(e.Node).(owned)
	return ok && o.OwnedBy(owner)
}

// OwnedBy reports whether every item of the page belongs to the owner.
func (c *Connection[T]) OwnedBy(owner uuid.UUID) bool {
	for _, e := range c.Edges {
		if !e.OwnedBy(owner) {
			return false
		}
	}
	return true
}

// Direction is the direction of a sort.
type Direction string

const (
	Ascending  Direction = "ASC"
	Descending Direction = "DESC"
)

// TimeRange is a span of time; both ends are optional, From is inclusive and Until exclusive.
type TimeRange struct {
	From  *time.Time
	Until *time.Time
}
