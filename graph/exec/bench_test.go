package exec_test

import (
	"context"
	"strings"
	"testing"

	"emporium/graph/exec"
)

// BenchmarkRun measures the executor alone: what it reads costs next to nothing.
func BenchmarkRun(b *testing.B) {
	ann := &person{values{}}
	people := make([]any, 1000)
	for i := range people {
		people[i] = ann
	}
	name := func(f *exec.Field) {
		f.Leaf = func(b []byte, _ any) ([]byte, bool) { return exec.AppendString(b, "some name"), true }
	}
	age := func(f *exec.Field) {
		f.Leaf = func(b []byte, _ any) ([]byte, bool) { return exec.AppendInt(b, 1234), true }
	}
	load := func(f *exec.Field) {
		f.Get, f.Load = nil, func(_ context.Context, parents []any, _ map[string]any, results []exec.Result) {
			for i := range parents {
				results[i].Value = ann
			}
		}
	}
	get := func(f *exec.Field) { f.Get = func(any) any { return ann } }
	y := newToy(b, setup{root: values{"people": people, "ann": ann}, change: map[string]func(*exec.Field){
		"Person.name": name, "Person.age": age, "Person.best": load, "Person.boss": get}})
	for _, e := range []struct{ name, document string }{
		{"wide", `{ people { name age a: name b: age c: name d: age e: name f: age g: name h: age } }`},
		{"wide loaded", `{ people { name best { name age } } }`},
		{"wide held", `{ people { name boss { name age } } }`},
		{"deep", `{ ann ` + strings.Repeat(`{ name best `, 50) + `{ name }` + strings.Repeat(` }`, 50) + ` }`},
	} {
		b.Run(e.name, func(b *testing.B) {
			p, variables := y.compile(b, e.document, nil)
			ctx := y.context(b.Context())
			data, _ := y.schema.Run(ctx, p, variables)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				y.schema.Run(ctx, p, variables)
			}
		})
	}
}
