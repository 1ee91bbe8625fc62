package exec_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"

	"emporium/graph/exec"
)

func marshaled(m graphql.Marshaler) string {
	var b bytes.Buffer
	m.MarshalGQL(&b)
	return b.String()
}

// FuzzAppendString compares with gqlgen's form of a string, and wants it to be JSON of that string.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", `"`, `\`, "\t\r\n\b\f\x00\x1f\x7f", "Ärger €", "\u2028\u2029", "😀", `</script>&`, "a\"b\\c\nd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		got := exec.AppendString([]byte("before"), s)
		if expected := "before" + marshaled(graphql.MarshalString(s)); string(got) != expected {
			t.Errorf("got  %s\nwant %s", got, expected)
		}
		var back string
		if err := json.Unmarshal(got[len("before"):], &back); err != nil || back != s {
			t.Errorf("%q came back as %q: %v", s, back, err)
		}
	})
}

func TestAppend(t *testing.T) {
	t.Parallel()
	raw := graphql.WriterFunc(func(w io.Writer) { _, _ = w.Write([]byte(`{"raw":1}`)) })
	for want, got := range map[string][]byte{
		`>0`:                    exec.AppendInt([]byte(">"), 0),
		`>-9223372036854775808`: exec.AppendInt([]byte(">"), math.MinInt64),
		`>9223372036854775807`:  exec.AppendInt([]byte(">"), math.MaxInt64),
		`>true`:                 exec.AppendBoolean([]byte(">"), true),
		`>false`:                exec.AppendBoolean([]byte(">"), false),
		`>{"raw":1}`:            exec.AppendMarshaler([]byte(">"), raw),
		`>[]`:                   exec.AppendList([]byte(">"), nil, exec.AppendString),
		`>["a"]`:                exec.AppendList([]byte(">"), []string{"a"}, exec.AppendString),
		`>[1,2,3]`:              exec.AppendList([]byte(">"), []int{1, 2, 3}, exec.AppendInt),
		`>[{"raw":1},{"raw":1}]`: exec.AppendList([]byte(">"), []graphql.Marshaler{raw, raw}, func(b []byte, m graphql.Marshaler) []byte {
			return exec.AppendMarshaler(b, m)
		}),
	} {
		if string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, n := range []int{0, 7, -7, math.MaxInt32, math.MinInt64} {
		if got, expected := string(exec.AppendInt(nil, n)), marshaled(graphql.MarshalInt(n)); got != expected {
			t.Errorf("got %s, gqlgen writes %s", got, expected)
		}
	}
}

// Objects are spread as pointers, or nil; a list that is nil is null where it may be.
func TestSpread(t *testing.T) {
	t.Parallel()
	a, b := &person{values{"name": "a"}}, &person{values{"name": "b"}}
	structs := []person{*a, *b}
	before := []any{"before"}
	type spread struct {
		objects []any
		some    bool
	}
	of := func(objects []any, some bool) spread { return spread{objects, some} }
	for name, e := range map[string]struct{ got, want spread }{
		"one":                        {of(exec.One(before, a)), spread{[]any{"before", a}, true}},
		"none":                       {of(exec.One(before, (*person)(nil))), spread{before, false}},
		"pointers":                   {of(exec.Pointers(before, []*person{a, nil, b}, true)), spread{[]any{"before", a, nil, b}, true}},
		"no pointers":                {of(exec.Pointers(before, []*person{}, true)), spread{before, true}},
		"nil pointers":               {of(exec.Pointers(before, []*person(nil), true)), spread{before, false}},
		"nil pointers, not null":     {of(exec.Pointers(before, []*person(nil), false)), spread{before, true}},
		"structs":                    {of(exec.Structs(before, structs, true)), spread{[]any{"before", &structs[0], &structs[1]}, true}},
		"nil structs":                {of(exec.Structs(before, []person(nil), true)), spread{before, false}},
		"nil structs, not null":      {of(exec.Structs(before, []person(nil), false)), spread{before, true}},
		"interfaces":                 {of(exec.Interfaces(before, []any{a, nil, b}, true)), spread{[]any{"before", a, nil, b}, true}},
		"interfaces of another kind": {of(exec.Interfaces(before, []interface{ get(string) any }{a, nil}, true)), spread{[]any{"before", a, nil}, true}},
		"nil interfaces":             {of(exec.Interfaces(before, []any(nil), true)), spread{before, false}},
		"nil interfaces, not null":   {of(exec.Interfaces(before, []any(nil), false)), spread{before, true}},
	} {
		if !reflect.DeepEqual(e.got, e.want) {
			t.Errorf("%s: got %v, want %v", name, e.got, e.want)
		}
	}
	if got, _ := exec.Structs(nil, structs, true); got[1] != any(&structs[1]) {
		t.Error("structs are passed on as copies")
	}
	if got, _ := exec.Pointers(nil, []*person{nil}, true); got[0] != nil {
		t.Error("a nil pointer is no nil")
	}
}
