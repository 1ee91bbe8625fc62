package exec

import (
	"bytes"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
)

// AppendString appends a JSON string (RFC 8259, section 7) in the form that graphql.MarshalString writes.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// AppendInt appends a number.
func AppendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// AppendBoolean appends true or false.
func AppendBoolean(b []byte, v bool) []byte { return strconv.AppendBool(b, v) }

// AppendMarshaler appends what a marshaler of gqlgen writes, for scalars that can not be appended directly.
func AppendMarshaler(b []byte, m graphql.Marshaler) []byte {
	w := bytes.NewBuffer(b)
	m.MarshalGQL(w)
	return w.Bytes()
}

// AppendList appends a list, element by element.
func AppendList[T any](b []byte, list []T, element func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = element(b, v)
	}
	return append(b, ']')
}

// One appends an object to objects; false when there is none.
func One[T any](objects []any, object *T) ([]any, bool) {
	if object == nil {
		return objects, false
	}
	return append(objects, object), true
}

// Pointers appends the elements of a list to objects; a list that is nil is null if that is allowed.
func Pointers[T any](objects []any, list []*T, nullable bool) ([]any, bool) {
	if list == nil && nullable {
		return objects, false
	}
	for _, o := range list {
		if o == nil {
			objects = append(objects, nil)
		} else {
			objects = append(objects, o)
		}
	}
	return objects, true
}

// Structs is Pointers for a list of structs.
func Structs[T any](objects []any, list []T, nullable bool) ([]any, bool) {
	if list == nil && nullable {
		return objects, false
	}
	for i := range list {
		objects = append(objects, &list[i])
	}
	return objects, true
}

// Interfaces is Pointers for a list of values of an interface.
func Interfaces[T any](objects []any, list []T, nullable bool) ([]any, bool) {
	if list == nil && nullable {
		return objects, false
	}
	for _, o := range list {
		objects = append(objects, any(o))
	}
	return objects, true
}
