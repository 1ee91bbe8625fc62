package exec

import "errors"

// begin makes room for the answer's data.
func (x *execution) begin() {
	size := x.plan.size.Load()
	x.buffer = append(make([]byte, 0, size+size/4+64), '{')
}

// end completes the data and returns it.
func (x *execution) end() []byte {
	if x.void {
		x.buffer = []byte("null")
	} else {
		x.buffer = append(x.buffer, '}')
	}
	x.plan.size.Store((3*x.plan.size.Load() + int64(len(x.buffer))) / 4)
	return x.buffer
}

// write writes fields of the root. Fields are not written under a recover of their own, which would cost more than most
// of them: after a panic, which nothing here is meant to do, all are written once more with that care.
func (x *execution) write(fields []*field) {
	if len(x.buffer) > 1 {
		x.buffer = append(x.buffer, ',')
	}
	buffer, failures, written, weight, stopped := len(x.buffer), len(x.failures), x.written, x.weight, x.stopped
	whole, done := x.attempt(fields)
	if !done {
		x.buffer, x.failures, x.written, x.weight, x.stopped = x.buffer[:buffer], x.failures[:failures], written, weight, stopped
		x.path, x.stack = x.path[:0], x.stack[:0]
		x.careful = true
		whole, _ = x.attempt(fields)
		x.careful = false
	}
	x.void = x.void || !whole
}

func (x *execution) attempt(fields []*field) (whole, done bool) {
	defer caught(func(error) { done = false })
	return x.fields(fields, nil, 0), true
}

// object writes an object, which stands at the given place among those of its selection if they are kept. False: it is
// null, because a field of it is that may not be; then nothing was written.
func (x *execution) object(sel *selection, o any, at int) bool {
	if x.written++; x.written%256 == 0 && x.stopped == nil {
		// Nothing else would look at the deadline once all is loaded.
		if x.stopped = x.ctx.Err(); x.stopped != nil {
			x.fail(nil, x.stopped)
		}
	}
	if x.stopped != nil {
		return false
	}
	start := len(x.buffer)
	x.buffer = append(x.buffer, '{')
	if !x.fields(sel.fields, o, at) {
		x.buffer = x.buffer[:start]
		return false
	}
	x.buffer = append(x.buffer, '}')
	return true
}

// fields writes the fields of an object. False: one is null that may not be.
func (x *execution) fields(fields []*field, o any, at int) (whole bool) {
	whole = true
	for i, f := range fields {
		if i > 0 {
			x.buffer = append(x.buffer, ',')
		}
		x.buffer = append(x.buffer, f.key...)
		if !x.field(f, o, at) {
			// The other fields are written all the same, for the sake of their errors.
			whole = whole && !f.nonNull
			x.buffer = append(x.buffer, "null"...)
		}
	}
	return whole
}

// field writes the value of a field. False: it is null, and nothing was written.
func (x *execution) field(f *field, o any, at int) (some bool) {
	if x.careful {
		buffer, path, stack := len(x.buffer), len(x.path), len(x.stack)
		defer caught(func(err error) {
			x.buffer, x.path, x.stack = x.buffer[:buffer], x.path[:path], x.stack[:stack]
			x.fail(f, err)
			some = false
		})
	}
	switch {
	case f.typename != nil:
		x.buffer = append(x.buffer, f.typename...)
		return true
	case f.id >= 0:
		x.weight += f.def.Weight
		v := &x.values[f.id]
		r := &v.results[at]
		switch {
		case v.refused:
			x.fail(f, wrongArguments{})
			return false
		case r.Err != nil:
			x.fail(f, r.Err)
			return false
		case f.def.Spread != nil:
			if c := v.children[at]; c.from >= 0 {
				return x.kept(f, v, c)
			}
		case r.Value != nil:
			if x.buffer, some = f.def.Append(x.buffer, r.Value); some {
				return true
			}
		}
	case f.def.Leaf != nil:
		if f.guard >= 0 {
			allowed, err := x.allowed(f, o)
			if allowed && x.decisions[f.guard].check.Result != nil {
				err = errUnjudged
			}
			if err != nil {
				x.fail(f, err)
				return false
			}
			if !allowed {
				break
			}
		}
		if x.buffer, some = f.def.Leaf(x.buffer, o); some {
			return true
		}
	default:
		value, err := x.held(f, o)
		if err != nil {
			x.fail(f, err)
			return false
		}
		if value != nil {
			base := len(x.stack)
			if x.stack, some = f.def.Spread(x.stack, value); some {
				some = x.composite(f, len(x.stack)-base, func(i int) (*selection, any, int) {
					element := x.stack[base+i]
					if f.sub != nil {
						return f.sub, element, -1
					}
					if sel := x.schema.member(f, element); sel != nil {
						return sel, element, -1
					}
					return nil, nil, -1
				})
				x.stack = x.stack[:base]
				return some
			}
		}
	}
	if f.nonNull {
		x.fail(f, invalidNull{})
	}
	return false
}

// errUnjudged refuses a leaf that is written without being a value in between.
var errUnjudged = errors.New("exec: a guard can not judge a leaf that its object holds")

// allowed reports whether a field may be had of an object that holds it.
func (x *execution) allowed(f *field, o any) (bool, error) {
	if f.guard < 0 {
		return true, nil
	}
	d := &x.decisions[f.guard]
	if d.err != nil {
		return false, d.err
	}
	return d.check.Parent == nil || d.check.Parent(o), nil
}

// held returns a composite that the object holds, or nil where the guard hides it.
func (x *execution) held(f *field, o any) (any, error) {
	allowed, err := x.allowed(f, o)
	if !allowed {
		return nil, err
	}
	value := f.def.Get(o)
	if f.guard >= 0 && value != nil && x.decisions[f.guard].check.Result != nil {
		return x.decisions[f.guard].check.Result(value)
	}
	return value, nil
}

// kept writes a composite whose objects are kept.
func (x *execution) kept(f *field, v *values, c run) bool {
	return x.composite(f, c.to-c.from, func(i int) (*selection, any, int) {
		at := c.from + i
		if f.sub != nil {
			return f.sub, x.objects[f.sub.id][at], at
		}
		t := v.elements[at]
		if t.sel == nil {
			return nil, nil, 0
		}
		return t.sel, x.objects[t.sel.id][t.at], t.at
	})
}

// composite writes an object, or a list of n; element returns each with what is selected on it.
func (x *execution) composite(f *field, n int, element func(i int) (*selection, any, int)) bool {
	x.path = append(x.path, step{field: f})
	start, whole := len(x.buffer), true
	if f.list {
		x.buffer = append(x.buffer, '[')
	}
	for i := range n {
		if f.list {
			x.path = append(x.path, step{index: i})
			if i > 0 {
				x.buffer = append(x.buffer, ',')
			}
		}
		sel, o, at := element(i)
		some := o != nil
		if some {
			some = x.object(sel, o, at)
		} else if f.list && !f.elementOK || !f.list && f.nonNull {
			x.fail(nil, invalidNull{})
		}
		if f.list {
			x.path = x.path[:len(x.path)-1]
		}
		if !some {
			whole = whole && f.list && f.elementOK
			x.buffer = append(x.buffer, "null"...)
		}
	}
	x.path = x.path[:len(x.path)-1]
	if !whole {
		x.buffer = x.buffer[:start]
		return false
	}
	if f.list {
		x.buffer = append(x.buffer, ']')
	}
	return true
}
