package page_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/page"
)

// The graph asks pages for their owner.
var (
	_ auth.Owned = (*page.Connection[int])(nil)
	_ auth.Owned = (*page.Edge[int])(nil)
)

func TestWindow(t *testing.T) {
	t.Parallel()
	cursor := page.Cursor("newest", "5", "b")
	for name, c := range map[string]struct {
		args page.Args
		want page.Window
	}{
		"nothing":           {page.Args{First: new(0)}, page.Window{Size: 0}},
		"one":               {page.Args{First: new(1)}, page.Window{Size: 1}},
		"the most":          {page.Args{First: new(100)}, page.Window{Size: 100}},
		"nothing, backward": {page.Args{Last: new(0)}, page.Window{Size: 0, Backward: true}},
		"the most backward": {page.Args{Last: new(100)}, page.Window{Size: 100, Backward: true}},
		"after":             {page.Args{First: new(3), After: &cursor}, page.Window{Size: 3, After: []string{"5", "b"}}},
		"before":            {page.Args{Last: new(3), Before: &cursor}, page.Window{Size: 3, Backward: true, Before: []string{"5", "b"}}},
		"between": {page.Args{First: new(3), After: &cursor, Before: &cursor},
			page.Window{Size: 3, After: []string{"5", "b"}, Before: []string{"5", "b"}}},
		"between, backward": {page.Args{Last: new(3), After: &cursor, Before: &cursor},
			page.Window{Size: 3, Backward: true, After: []string{"5", "b"}, Before: []string{"5", "b"}}},
	} {
		got, err := c.args.Window("newest", 2)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
		if got.Limit() != c.want.Size+1 {
			t.Errorf("%s: %d rows are read for %d", name, got.Limit(), c.want.Size)
		}
	}
}

func TestWindowRefuses(t *testing.T) {
	t.Parallel()
	cursor := page.Cursor("newest", "5", "b")
	raw := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	first := func(after string) page.Args { return page.Args{First: new(3), After: &after} }
	for name, c := range map[string]struct {
		args    page.Args
		field   string
		message string
	}{
		"neither":                {page.Args{}, "first", "give `first` or `last`"},
		"both":                   {page.Args{First: new(1), Last: new(1)}, "first", "give `first` or `last`, not both"},
		"too many":               {page.Args{First: new(101)}, "first", "`first` is between 0 and 100"},
		"less than 0":            {page.Args{First: new(-1)}, "first", "`first` is between 0 and 100"},
		"too many, backward":     {page.Args{Last: new(101)}, "last", "`last` is between 0 and 100"},
		"less than 0, backward":  {page.Args{Last: new(-1)}, "last", "`last` is between 0 and 100"},
		"far too many":           {page.Args{Last: new(1 << 40)}, "last", "`last` is between 0 and 100"},
		"a cursor that is empty": {first(""), "after", "`after` is not a cursor of this list"},
		"not base64":             {first("not a cursor!"), "after", "`after` is not a cursor of this list"},
		"padded":                 {first(raw(`["newest","5","bb"]`) + "="), "after", "`after` is not a cursor of this list"},
		"cut":                    {first(cursor[:len(cursor)-2]), "after", "`after` is not a cursor of this list"},
		"longer":                 {first(cursor + cursor), "after", "`after` is not a cursor of this list"},
		"not JSON":               {first(raw("newest,5,b")), "after", "`after` is not a cursor of this list"},
		"not a list":             {first(raw(`{"newest":5}`)), "after", "`after` is not a cursor of this list"},
		"null":                   {first(raw(`null`)), "after", "`after` is not a cursor of this list"},
		"numbers":                {first(raw(`["newest",5,6]`)), "after", "`after` is not a cursor of this list"},
		"no keys":                {first(page.Cursor("newest")), "after", "`after` is not a cursor of this list"},
		"a key too few":          {first(page.Cursor("newest", "5")), "after", "`after` is not a cursor of this list"},
		"a key too many":         {first(page.Cursor("newest", "5", "b", "c")), "after", "`after` is not a cursor of this list"},
		"of another list":        {first(page.Cursor("oldest", "5", "b")), "after", "`after` is not a cursor of this list"},
		"too long":               {first(page.Cursor("newest", "5", strings.Repeat("b", 4096))), "after", "`after` is not a cursor of this list"},
		"before":                 {page.Args{Last: new(3), Before: new("x")}, "before", "`before` is not a cursor of this list"},
		"before, of another list": {page.Args{First: new(3), After: &cursor, Before: new(page.Cursor("oldest", "5", "b"))}, "before",
			"`before` is not a cursor of this list"},
	} {
		_, err := c.args.Window("newest", 2)
		var coded *fault.Error
		if !errors.As(err, &coded) || coded.Code != fault.BadUserInput || !slices.Equal(coded.Field, []string{c.field}) ||
			coded.Message != c.message {
			t.Errorf("%s: %+v; want %q about %s", name, err, c.message, c.field)
		}
	}
}

func TestCursorsComeBack(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]string{
		{"0190a5d0-0000-7000-8000-000000000001"},
		{"1990", "0190a5d0-0000-7000-8000-000000000001"},
		{"", "x"},
		{`quotes " and \ and , and [`, "x"},
		{"Ärmel <ß> & 衬衫 🧥\u2028\n", "x"},
		{strings.Repeat("<", 255), "0190a5d0-0000-7000-8000-000000000001"}, // as long as titles are, and JSON takes six bytes each
	} {
		text := page.Cursor("by title", keys...)
		if strings.ContainsAny(text, "+/= ") {
			t.Errorf("the cursor %q is not URL-safe", text)
		}
		w, err := page.Args{First: new(1), After: &text, Before: &text}.Window("by title", len(keys))
		if err != nil || !slices.Equal(w.After, keys) || !slices.Equal(w.Before, keys) {
			t.Errorf("%q came back as %q and %q, %v", keys, w.After, w.Before, err)
		}
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	cursor := func(n int) string { return fmt.Sprint("c", n) }
	type info struct {
		HasNextPage, HasPreviousPage bool
		StartCursor, EndCursor       *string
	}
	for name, c := range map[string]struct {
		window page.Window
		rows   []int // as read
		want   []int // as shown
		info   info
	}{
		"an empty list":              {page.Window{Size: 2}, nil, []int{}, info{}},
		"an empty list, backward":    {page.Window{Size: 2, Backward: true}, nil, []int{}, info{}},
		"less than a page":           {page.Window{Size: 2}, []int{1}, []int{1}, info{StartCursor: new("c1"), EndCursor: new("c1")}},
		"exactly a page":             {page.Window{Size: 2}, []int{1, 2}, []int{1, 2}, info{StartCursor: new("c1"), EndCursor: new("c2")}},
		"more than a page":           {page.Window{Size: 2}, []int{1, 2, 3}, []int{1, 2}, info{HasNextPage: true, StartCursor: new("c1"), EndCursor: new("c2")}},
		"in the middle":              {page.Window{Size: 2, After: []string{"0"}}, []int{1, 2, 3}, []int{1, 2}, info{HasNextPage: true, HasPreviousPage: true, StartCursor: new("c1"), EndCursor: new("c2")}},
		"the last page":              {page.Window{Size: 2, After: []string{"0"}}, []int{1}, []int{1}, info{HasPreviousPage: true, StartCursor: new("c1"), EndCursor: new("c1")}},
		"behind the end":             {page.Window{Size: 2, After: []string{"9"}}, nil, []int{}, info{HasPreviousPage: true}},
		"from the end":               {page.Window{Size: 2, Backward: true}, []int{9, 8, 7}, []int{8, 9}, info{HasPreviousPage: true, StartCursor: new("c8"), EndCursor: new("c9")}},
		"exactly a page, backward":   {page.Window{Size: 2, Backward: true}, []int{9, 8}, []int{8, 9}, info{StartCursor: new("c8"), EndCursor: new("c9")}},
		"in the middle, backward":    {page.Window{Size: 2, Backward: true, Before: []string{"9"}}, []int{8, 7, 6}, []int{7, 8}, info{HasNextPage: true, HasPreviousPage: true, StartCursor: new("c7"), EndCursor: new("c8")}},
		"the first page, backward":   {page.Window{Size: 2, Backward: true, Before: []string{"9"}}, []int{8}, []int{8}, info{HasNextPage: true, StartCursor: new("c8"), EndCursor: new("c8")}},
		"nothing asked, there is":    {page.Window{Size: 0}, []int{1}, []int{}, info{HasNextPage: true}},
		"nothing asked, there isn't": {page.Window{Size: 0}, nil, []int{}, info{}},
		"nothing asked, backward":    {page.Window{Size: 0, Backward: true}, []int{9}, []int{}, info{HasPreviousPage: true}},
	} {
		read := slices.Clone(c.rows)
		got := page.Build(c.window, c.rows, cursor)
		if nodes := got.Nodes(); nodes == nil || !slices.Equal(nodes, c.want) {
			t.Errorf("%s: %v, want %v", name, nodes, c.want)
		}
		for _, e := range got.Edges {
			if e.Cursor() != cursor(e.Node) {
				t.Errorf("%s: the cursor of %d is %q", name, e.Node, e.Cursor())
			}
		}
		at := got.PageInfo
		if is := (info{at.HasNextPage, at.HasPreviousPage, at.StartCursor(), at.EndCursor()}); got.Edges == nil || !reflect.DeepEqual(is, c.info) {
			t.Errorf("%s: %+v, want %+v", name, is, c.info)
		}
		texts := page.Of(got, func(n int) string { return fmt.Sprint(n) })
		for i, e := range texts.Edges {
			if e.Node != fmt.Sprint(c.want[i]) || e.Cursor() != cursor(c.want[i]) || texts.PageInfo.HasNextPage != at.HasNextPage {
				t.Errorf("%s: turned into %q at %q", name, e.Node, e.Cursor())
			}
		}
		if !slices.Equal(c.rows, read) {
			t.Errorf("%s: the rows that were read are now %v", name, c.rows)
		}
	}
}

// belonging is something that a customer owns.
type belonging struct{ owner uuid.UUID }

func (b belonging) OwnedBy(owner uuid.UUID) bool { return owner != uuid.Nil && b.owner == owner }

func TestOwnedBy(t *testing.T) {
	t.Parallel()
	ada, bob := uuid.New(), uuid.New()
	connection := func(owners ...uuid.UUID) page.Connection[belonging] {
		rows := make([]belonging, len(owners))
		for i, o := range owners {
			rows[i] = belonging{o}
		}
		return page.Build(page.Window{Size: len(rows)}, rows, func(belonging) string { return "" })
	}
	for name, c := range map[string]struct {
		owners   []uuid.UUID
		ada, bob bool
	}{
		"all hers":         {[]uuid.UUID{ada, ada}, true, false},
		"one of his":       {[]uuid.UUID{ada, bob, ada}, false, false},
		"one of nobody's":  {[]uuid.UUID{ada, uuid.Nil}, false, false},
		"nothing on it":    {nil, true, true},
		"his alone, first": {[]uuid.UUID{bob}, false, true},
	} {
		page := connection(c.owners...)
		if page.OwnedBy(ada) != c.ada || page.OwnedBy(bob) != c.bob {
			t.Errorf("%s: hers %t, his %t; want %t, %t", name, page.OwnedBy(ada), page.OwnedBy(bob), c.ada, c.bob)
		}
		for i, e := range page.Edges {
			if e.OwnedBy(ada) != (c.owners[i] == ada) || e.OwnedBy(bob) != (c.owners[i] == bob) {
				t.Errorf("%s: item %d: hers %t, his %t", name, i, e.OwnedBy(ada), e.OwnedBy(bob))
			}
		}
	}

	// What can not be owned belongs to nobody.
	open := page.Build(page.Window{Size: 1}, []string{"x"}, func(s string) string { return s })
	if open.OwnedBy(ada) || open.OwnedBy(uuid.Nil) || open.Edges[0].OwnedBy(ada) {
		t.Error("a text belongs to somebody")
	}
}

// FuzzCursor wants a text to be refused as an argument, or to be a cursor that another one with the same keys stands for.
func FuzzCursor(f *testing.F) {
	f.Add(page.Cursor("newest", "5", "b"), "newest", "5", "b")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`["newest",null,"\ud800"]`)), "", "\xff", "\u2028")
	f.Add("", "a", "", "")
	f.Fuzz(func(t *testing.T, text, sort, one, two string) {
		w, err := page.Args{First: new(1), After: &text}.Window(sort, 2)
		var coded *fault.Error
		if err != nil && (!errors.As(err, &coded) || coded.Code != fault.BadUserInput || !slices.Equal(coded.Field, []string{"after"}) || w.After != nil) {
			t.Fatalf("%q: %v, %+v", text, err, w)
		}
		if err == nil {
			again := page.Cursor(sort, w.After...)
			if back, err := (page.Args{First: new(1), After: &again}).Window(sort, 2); len(again) <= 4096 && (err != nil || !slices.Equal(back.After, w.After)) {
				t.Fatalf("%q became %q, %q became %q, %v", text, w.After, again, back.After, err)
			}
		}
		made := page.Cursor(sort, one, two)
		if len(made) > 4096 || !utf8.ValidString(sort) || !utf8.ValidString(one) || !utf8.ValidString(two) {
			return
		}
		if back, err := (page.Args{Last: new(1), Before: &made}).Window(sort, 2); err != nil || !slices.Equal(back.Before, []string{one, two}) {
			t.Fatalf("%q and %q came back as %q, %v", one, two, back.Before, err)
		}
	})
}
