package exec

import (
	"errors"
	"testing"
)

// What an execution has looked at is not kept alive by the pool, not even beyond the length of what it is kept in: a
// first attempt at writing may have been given up.
func TestReleaseForgets(t *testing.T) {
	t.Parallel()
	o := any(new(int))
	x := &execution{
		objects:   make([][]any, maxKept+1), // so that no other test gets it from the pool
		values:    []values{{results: []Result{{Value: o, Err: errors.New("kept")}}, elements: []target{{sel: &selection{}}}, refused: true}},
		decisions: []decision{{err: errors.New("kept")}},
		stack:     []any{o}[:0],
		path:      []step{{field: &field{}}}[:0],
		failures:  []failure{{err: errors.New("kept")}}[:0],
		buffer:    []byte("kept"), careful: true, written: 1, void: true, stopped: errors.New("kept"),
	}
	x.objects[0] = []any{o}
	x.release()
	v := x.values[0]
	switch {
	case x.objects[0][:1][0] != nil:
		t.Error("an object is kept")
	case v.results[:1][0] != Result{} || v.elements[:1][0] != target{} || v.refused || len(v.results)+len(v.elements) > 0:
		t.Error("a value is kept")
	case x.decisions[:1][0].err != nil || len(x.decisions) > 0:
		t.Error("a decision is kept")
	case x.stack[:1][0] != nil:
		t.Error("an element is kept")
	case x.path[:1][0].field != nil:
		t.Error("a path is kept")
	case x.failures[:1][0].err != nil || len(x.failures) > 0:
		t.Error("a failure is kept")
	case x.buffer != nil || x.careful || x.written > 0 || x.void || x.stopped != nil || x.ctx != nil || x.plan != nil:
		t.Error("the state of the run is kept")
	}
}
