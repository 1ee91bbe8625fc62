package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Table tells how rows of a table become structs of type T: which column fills which field. Of these a read asks for no
// more than its context wants; see [WithWanted].
type Table[T any] struct {
	columns []column[T]
}

// Unseal fills a field from what is sealed in a column, nil for NULL. Keys of the row, which stand before it, are there
// already.
type Unseal[T any] func(ctx context.Context, row *T, sealed []byte) error

// column is one of the columns of a Table.
type column[T any] struct {
	sql   string
	owner reflect.Type // the struct that the field is declared in
	field string       // its name there
	key   bool         // read whether it is wanted or not
	index []int
	store store
	open  Unseal[T]
}

// TableOf reads the list of columns, as it stands in a SELECT, and finds the field of each by its name: without
// underscores and in any case, "o.placed_at" is PlacedAt; `p.method_kind AS "method.kind"` is the field Kind of Method.
// Columns of keys, which are UUIDs, are read whether they are wanted or not: edges begin there. Those that are opened
// are named by their field. A column without a field is a mistake of the program and panics.
func TableOf[T any](columns string, opened map[string]Unseal[T]) *Table[T] {
	r := &Table[T]{}
	for _, sql := range splitColumns(columns) {
		c := column[T]{sql: sql}
		name := sql[strings.LastIndexAny(sql, " \t\n")+1:]
		if !strings.HasPrefix(name, `"`) {
			name = name[strings.LastIndexByte(name, '.')+1:]
		}
		t := reflect.TypeFor[T]()
		for part := range strings.SplitSeq(strings.Trim(name, `"`), ".") {
			f, ok := t.FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, strings.ReplaceAll(part, "_", "")) })
			if !ok {
				panic(fmt.Sprintf("postgres: %s has no field for the column %s", reflect.TypeFor[T](), name))
			}
			if c.owner == nil {
				c.owner, c.field = t, f.Name
				for _, i := range f.Index[:len(f.Index)-1] { // embedded structs
					c.owner = c.owner.Field(i).Type
				}
			}
			c.index, t = append(c.index, f.Index...), f.Type
		}
		c.key = t == reflect.TypeFor[uuid.UUID]() || t == reflect.TypeFor[*uuid.UUID]()
		if c.open = opened[c.field]; c.open == nil {
			c.store = storeOf(t)
		}
		r.columns = append(r.columns, c)
	}
	return r
}

// splitColumns splits a list at its commas outside of parentheses.
func splitColumns(list string) (columns []string) {
	depth, start := 0, 0
	for i := range len(list) {
		switch list[i] {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ',':
			if depth == 0 {
				columns, start = append(columns, strings.TrimSpace(list[start:i])), i+1
			}
		}
	}
	return append(columns, strings.TrimSpace(list[start:]))
}

// Wanted says which fields of structs a read has to fill. Others may be left as they are.
type Wanted struct {
	fields map[reflect.Type]map[string]bool
	chosen sync.Map // of choiceKey: *choice
}

// NewWanted makes a Wanted that is used for many reads. Structs that are not named are filled whole.
func NewWanted(fields map[reflect.Type]map[string]bool) *Wanted { return &Wanted{fields: fields} }

type wantedKey struct{}

// WithWanted returns a context whose reads need not fill more than what is wanted. It is a hint for verbs that pass rows
// on as they are: one that looks at what it has read says so (see In).
func WithWanted(ctx context.Context, w *Wanted) context.Context {
	return context.WithValue(ctx, wantedKey{}, w)
}

// Reading are those columns of a Table that a read asks for. It is for one read.
type Reading[T any] struct {
	SQL     string // the list of columns
	ctx     context.Context
	columns []column[T]
	stores  []storeRaw // nil until the first row; empty: the rows are not read by them
	spare   []T
	room    int // how many rows there were in the latest spare
}

type choiceKey struct {
	table  any
	needed string
}

// choice is a part of a Table.
type choice[T any] struct {
	sql     string
	columns []column[T]
}

// In returns the columns to read on behalf of a context: those that are wanted, the keys, and the fields that are needed
// besides.
func (r *Table[T]) In(ctx context.Context, needed ...string) *Reading[T] {
	w, _ := ctx.Value(wantedKey{}).(*Wanted)
	if w == nil {
		w = &everything
	}
	return r.in(ctx, w, needed)
}

// Whole returns all columns, for a verb that looks at what it has read.
func (r *Table[T]) Whole(ctx context.Context) *Reading[T] { return r.in(ctx, &everything, nil) }

func (r *Table[T]) in(ctx context.Context, w *Wanted, needed []string) *Reading[T] {
	key := choiceKey{r, strings.Join(needed, " ")}
	found, ok := w.chosen.Load(key)
	if !ok {
		found, _ = w.chosen.LoadOrStore(key, r.choose(w, needed))
	}
	c := found.(*choice[T])
	return &Reading[T]{SQL: c.sql, ctx: ctx, columns: c.columns}
}

var everything Wanted

func (r *Table[T]) choose(w *Wanted, needed []string) *choice[T] {
	c := &choice[T]{}
	for _, column := range r.columns {
		fields, known := w.fields[column.owner]
		if known && !column.key && !fields[column.field] && !slices.Contains(needed, column.field) {
			continue
		}
		if len(c.columns) > 0 {
			c.sql += ", "
		}
		c.sql += column.sql
		c.columns = append(c.columns, column)
	}
	return c
}

// Scan reads a row. It is for [Select].
func (r *Reading[T]) Scan(row pgx.CollectableRow) (*T, error) {
	if len(r.spare) == 0 {
		// One at first, since many reads find one; then more and more at a time.
		r.room = min(max(1, 2*r.room), 32)
		r.spare = make([]T, r.room)
	}
	into := &r.spare[0]
	r.spare = r.spare[1:]
	if r.stores == nil {
		r.stores = r.choose(row)
	}
	fields := reflect.ValueOf(into).Elem()
	if len(r.stores) == 0 {
		return into, r.scanSlowly(row, into, fields)
	}
	for i, raw := range row.RawValues() {
		c := &r.columns[i]
		var err error
		if c.open != nil {
			err = c.open(r.ctx, into, raw)
		} else {
			err = r.stores[i](fieldOf(fields, c.index), raw)
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.sql, err)
		}
	}
	return into, nil
}

func fieldOf(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		v = v.Field(i)
	}
	return v
}

// choose finds what stores the columns as they have come; nothing if one of them has come in another form than expected,
// as text for example.
func (r *Reading[T]) choose(row pgx.CollectableRow) []storeRaw {
	descriptions := row.FieldDescriptions()
	if len(descriptions) != len(r.columns) {
		return []storeRaw{} // pgx says what is wrong
	}
	stores := make([]storeRaw, len(r.columns))
	for i, c := range r.columns {
		d := descriptions[i]
		if c.open != nil && d.DataTypeOID == pgtype.ByteaOID && d.Format == pgtype.BinaryFormatCode {
			continue
		}
		if c.open != nil {
			return []storeRaw{}
		}
		if stores[i] = c.store(d.DataTypeOID, d.Format); stores[i] == nil {
			return []storeRaw{}
		}
	}
	return stores
}

// scanSlowly leaves it to pgx, which knows every type and form.
func (r *Reading[T]) scanSlowly(row pgx.CollectableRow, into *T, fields reflect.Value) error {
	targets, sealed := make([]any, len(r.columns)), make([][]byte, len(r.columns))
	for i, c := range r.columns {
		if c.open != nil {
			targets[i] = &sealed[i]
		} else {
			targets[i] = target(fieldOf(fields, c.index))
		}
	}
	if err := row.Scan(targets...); err != nil {
		return err
	}
	for i, c := range r.columns {
		if c.open != nil {
			if err := c.open(r.ctx, into, sealed[i]); err != nil {
				return fmt.Errorf("column %s: %w", c.sql, err)
			}
		}
	}
	return nil
}

// target returns what pgx stores a field by. It refuses what storeRaw refuses too: pgx takes NULL for the nil UUID, and
// makes one list of several dimensions.
func target(f reflect.Value) any {
	switch f.Interface().(type) {
	case uuid.UUID:
		return (*uuidTarget)(f.Addr().Interface().(*uuid.UUID))
	case []uuid.UUID:
		return listTarget{f}
	}
	if f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String {
		return listTarget{f}
	}
	return f.Addr().Interface()
}

// uuidTarget is a UUID that is not NULL.
type uuidTarget uuid.UUID

// ScanUUID makes it a target.
func (u *uuidTarget) ScanUUID(v pgtype.UUID) error {
	if !v.Valid {
		return fmt.Errorf("NULL can not be stored in %T", uuid.UUID{})
	}
	*u = v.Bytes
	return nil
}

// listTarget is a list of one dimension.
type listTarget struct{ reflect.Value }

// SetDimensions makes room for the elements; nil stands for NULL.
func (l listTarget) SetDimensions(dimensions []pgtype.ArrayDimension) error {
	switch {
	case dimensions == nil:
		l.SetZero()
		return nil
	case len(dimensions) > 1:
		return fmt.Errorf("an array of %d dimensions can not be stored in %s", len(dimensions), l.Type())
	}
	n := 0
	for _, d := range dimensions {
		n = int(d.Length)
	}
	l.Set(reflect.MakeSlice(l.Type(), n, n))
	return nil
}

// ScanIndex returns the target of an element.
func (l listTarget) ScanIndex(i int) any { return target(l.Value.Index(i)) }

// ScanIndexType returns a target like those of the elements.
func (l listTarget) ScanIndexType() any { return target(reflect.New(l.Type().Elem()).Elem()) }

// store returns what stores a value of a Postgres type that has come in a format in a field, or nil if it does not know
// how.
type store func(oid uint32, format int16) storeRaw

// storeRaw stores a value as it has come: in its binary form (PostgreSQL's *_send functions), except for texts and JSON,
// which pgx asks for as text; nil for NULL.
type storeRaw func(field reflect.Value, raw []byte) error

// storeOf returns the store of a type of field. Going by the form of the value spares pgx's way, which looks for a plan
// for each column of each query.
func storeOf(t reflect.Type) store {
	if t.Kind() == reflect.Pointer {
		element := storeOf(t.Elem())
		return func(oid uint32, format int16) storeRaw {
			below := element(oid, format)
			if below == nil {
				return nil
			}
			return func(f reflect.Value, raw []byte) error {
				if raw == nil {
					return nil
				}
				f.Set(reflect.New(t.Elem()))
				return below(f.Elem(), raw)
			}
		}
	}
	only := func(s storeRaw, format int16, oids ...uint32) store {
		return func(oid uint32, came int16) storeRaw {
			if came != format || !slices.Contains(oids, oid) {
				return nil
			}
			return s
		}
	}
	switch {
	case t == reflect.TypeFor[uuid.UUID]():
		return only(storeUUID, pgtype.BinaryFormatCode, pgtype.UUIDOID)
	case t == reflect.TypeFor[time.Time]():
		return only(storeTime, pgtype.BinaryFormatCode, pgtype.TimestamptzOID)
	case t == reflect.TypeFor[map[string]any]():
		return only(storeJSON, pgtype.TextFormatCode, pgtype.JSONBOID)
	case t == reflect.TypeFor[[]uuid.UUID]():
		return only(storeArray(storeUUID), pgtype.BinaryFormatCode, pgtype.UUIDArrayOID)
	}
	switch t.Kind() {
	case reflect.String:
		return only(storeText, pgtype.TextFormatCode, pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID)
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		return only(storeInt, pgtype.BinaryFormatCode, pgtype.Int8OID, pgtype.Int4OID, pgtype.Int2OID)
	case reflect.Bool:
		return only(storeBool, pgtype.BinaryFormatCode, pgtype.BoolOID)
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.Struct:
			return only(storeJSON, pgtype.TextFormatCode, pgtype.JSONBOID)
		case reflect.String:
			return only(storeArray(storeText), pgtype.BinaryFormatCode, pgtype.TextArrayOID, pgtype.VarcharArrayOID)
		}
		if t.Elem().Kind() == reflect.Struct {
			return only(storeJSON, pgtype.TextFormatCode, pgtype.JSONBOID)
		}
	}
	return func(uint32, int16) storeRaw { return nil }
}

func wrongLength(f reflect.Value, raw []byte) error {
	if raw == nil {
		return fmt.Errorf("NULL can not be stored in %s", f.Type())
	}
	return fmt.Errorf("%d bytes can not be stored in %s", len(raw), f.Type())
}

func storeUUID(f reflect.Value, raw []byte) error {
	if len(raw) != 16 {
		return wrongLength(f, raw)
	}
	copy(f.Addr().Interface().(*uuid.UUID)[:], raw)
	return nil
}

func storeText(f reflect.Value, raw []byte) error {
	if raw == nil {
		return wrongLength(f, raw)
	}
	f.SetString(string(raw))
	return nil
}

func storeInt(f reflect.Value, raw []byte) error {
	var n int64
	switch len(raw) {
	case 2:
		n = int64(int16(binary.BigEndian.Uint16(raw)))
	case 4:
		n = int64(int32(binary.BigEndian.Uint32(raw)))
	case 8:
		n = int64(binary.BigEndian.Uint64(raw))
	default:
		return wrongLength(f, raw)
	}
	if f.OverflowInt(n) {
		return fmt.Errorf("%d can not be stored in %s", n, f.Type())
	}
	f.SetInt(n)
	return nil
}

func storeBool(f reflect.Value, raw []byte) error {
	if len(raw) != 1 {
		return wrongLength(f, raw)
	}
	f.SetBool(raw[0] != 0)
	return nil
}

// storeTime reads microseconds since the year 2000, in UTC.
func storeTime(f reflect.Value, raw []byte) error {
	if len(raw) != 8 {
		return wrongLength(f, raw)
	}
	const epoch = 946_684_800 // 2000-01-01 in seconds since 1970
	µs := int64(binary.BigEndian.Uint64(raw))
	if µs == 1<<63-1 || µs == -1<<63 {
		return fmt.Errorf("infinity can not be stored in a time")
	}
	seconds, rest := µs/1e6, µs%1e6
	*f.Addr().Interface().(*time.Time) = time.Unix(epoch+seconds, rest*1000).UTC()
	return nil
}

func storeJSON(f reflect.Value, raw []byte) error {
	if raw == nil {
		f.SetZero()
		return nil
	}
	return json.Unmarshal(raw, f.Addr().Interface())
}

// storeArray reads an array of one dimension without NULLs: dimensions, whether there are NULLs, the type of the
// elements, the length, the lower bound, then each element behind its length.
func storeArray(element storeRaw) storeRaw {
	return func(f reflect.Value, raw []byte) error {
		if raw == nil {
			f.SetZero()
			return nil
		}
		if len(raw) < 12 {
			return wrongLength(f, raw)
		}
		dimensions := binary.BigEndian.Uint32(raw)
		if dimensions == 0 {
			f.Set(reflect.MakeSlice(f.Type(), 0, 0))
			return nil
		}
		if dimensions != 1 || len(raw) < 20 {
			return fmt.Errorf("an array of %d dimensions can not be stored in %s", dimensions, f.Type())
		}
		n := int(binary.BigEndian.Uint32(raw[12:]))
		raw = raw[20:]
		if n > len(raw)/4 {
			return wrongLength(f, raw)
		}
		list := reflect.MakeSlice(f.Type(), n, n)
		for i := range n {
			if len(raw) < 4 {
				return wrongLength(f, raw)
			}
			length := int(int32(binary.BigEndian.Uint32(raw)))
			raw = raw[4:]
			if length < 0 || length > len(raw) {
				return fmt.Errorf("an array with NULLs can not be stored in %s", f.Type())
			}
			if err := element(list.Index(i), raw[:length:length]); err != nil {
				return err
			}
			raw = raw[length:]
		}
		f.Set(list)
		return nil
	}
}
