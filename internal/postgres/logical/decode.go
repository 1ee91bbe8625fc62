package logical

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// errMalformed says that a message ends before what it should hold, goes on after it, or holds something else.
var errMalformed = errors.New("malformed message of the replication stream")

// decoder turns the messages of a stream into calls of a sink. It is used by one goroutine.
type decoder struct {
	wants     func(schema, table string) []string
	relations map[uint32]*Relation
	last      *Relation // of the row before, because rows of a relation come in runs

	inside   bool // a transaction
	xid      uint32
	commit   LSN
	position LSN
}

// reader takes a message apart. Once something is missing all it gives is zero, and bad is set.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint8() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text reads a string that ends with a zero byte.
func (r *reader) text() string {
	end := bytes.IndexByte(r.rest, 0)
	if end < 0 {
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:end])
	r.rest = r.rest[end+1:]
	return s
}

// end is the error of a message that has been read.
func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return errMalformed
	}
	return nil
}

// message decodes what a CopyData of the server holds; asked tells that the server wants an answer.
func (d *decoder) message(data []byte, sink Sink) (asked bool, err error) {
	r := reader{rest: data}
	switch kind := r.uint8(); kind {
	case 'w': // XLogData: where it starts, where the log ends, when it was sent
		r.bytes(24)
		if r.bad {
			return false, errMalformed
		}
		return false, d.change(r, sink)
	case 'k': // keepalive: everything before that end has been sent, when, whether to answer
		end := LSN(r.uint64())
		r.bytes(8)
		asked := r.uint8() != 0
		if err := r.end(); err != nil {
			return false, err
		}
		d.reached(end, sink)
		return asked, nil
	default:
		return false, fmt.Errorf("unknown message %q of the replication stream", kind)
	}
}

// reached tells a position. A keepalive that the server sends amid or right after a transaction may name one from before.
func (d *decoder) reached(end LSN, sink Sink) {
	d.position = max(d.position, end)
	sink.Position(d.position)
}

// change decodes a message of pgoutput.
func (d *decoder) change(r reader, sink Sink) error {
	switch kind := r.uint8(); kind {
	case 'I', 'U', 'D':
		return d.row(kind, r, sink)
	case 'B': // commit, when, transaction
		commit := LSN(r.uint64())
		r.bytes(8)
		xid := r.uint32()
		if err := r.end(); err != nil {
			return err
		}
		if d.inside {
			return errors.New("a transaction begins within another one")
		}
		d.inside, d.xid, d.commit = true, xid, commit
		sink.Begin(xid, commit)
		return nil
	case 'C': // flags, commit, its end, when
		r.uint8()
		commit, end := LSN(r.uint64()), LSN(r.uint64())
		r.bytes(8)
		if err := r.end(); err != nil {
			return err
		}
		if !d.inside || commit != d.commit {
			return fmt.Errorf("a transaction ends at %s that has not begun", commit)
		}
		d.inside = false
		sink.Commit(d.xid, commit, end)
		d.reached(end, sink)
		return nil
	case 'T': // number, options, relations
		n := r.uint32()
		r.uint8()
		if r.bad || uint64(len(r.rest)) != uint64(n)*4 {
			return errMalformed
		}
		if !d.inside {
			return errors.New("a relation is truncated outside of a transaction")
		}
		for range n {
			relation, err := d.relation(r.uint32())
			if err != nil {
				return err
			}
			sink.Truncate(relation)
		}
		return nil
	case 'R':
		return d.describe(r, sink)
	case 'Y', 'O', 'M': // a type, an origin, a message for somebody else
		return nil
	default:
		return fmt.Errorf("unknown message %q of pgoutput", kind)
	}
}

func (d *decoder) relation(oid uint32) (*Relation, error) {
	if d.last != nil && d.last.oid == oid {
		return d.last, nil
	}
	relation := d.relations[oid]
	if relation == nil {
		return nil, fmt.Errorf("relation %d has not been described", oid)
	}
	d.last = relation
	return relation, nil
}

// row decodes an insert (relation, 'N', tuple), an update (relation, 'O', tuple, 'N', tuple) or a delete (relation, 'O',
// tuple).
func (d *decoder) row(kind byte, r reader, sink Sink) error {
	relation, err := d.relation(r.uint32())
	if r.bad {
		return errMalformed
	} else if err != nil {
		return err
	}
	if !d.inside {
		return errors.New("a row changes outside of a transaction")
	}
	part := r.uint8()
	if kind != 'I' {
		if part != 'O' {
			return notFull(relation.Schema, relation.Name)
		}
		if err := relation.tuple(&r, relation.old, nil); err != nil {
			return err
		}
	}
	if kind == 'U' {
		part = r.uint8()
	}
	if kind != 'D' {
		if part != 'N' {
			return errMalformed
		}
		// A large value that an update leaves as it was is not sent again.
		before := relation.old
		if kind == 'I' {
			before = nil
		}
		if err := relation.tuple(&r, relation.new, before); err != nil {
			return err
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	sink.Changed(relation)
	for i := range relation.Columns {
		if kind != 'I' && relation.old[i] != nil {
			sink.Row(relation, i, relation.old[i])
		}
		if kind != 'D' && relation.new[i] != nil && (kind == 'I' || relation.old[i] == nil || !bytes.Equal(relation.old[i], relation.new[i])) {
			sink.Row(relation, i, relation.new[i])
		}
	}
	return nil
}

// tuple reads the wanted values of a row, nil for NULL. Those that did not change and are not sent are taken from before,
// which is nil if there must be none.
func (rel *Relation) tuple(r *reader, into, before [][]byte) error {
	if int(r.uint16()) != len(rel.wanted) || r.bad {
		return errMalformed
	}
	for _, wanted := range rel.wanted {
		var value []byte
		switch r.uint8() {
		case 'b', 't': // binary, text
			value = r.bytes(int(int32(r.uint32())))
		case 'n':
		case 'u':
			if before == nil {
				return errMalformed
			}
			if wanted >= 0 {
				value = before[wanted]
			}
		default:
			return errMalformed
		}
		if r.bad {
			return errMalformed
		}
		if wanted >= 0 {
			into[wanted] = value
		}
	}
	return nil
}

// describe reads a relation: its number, schema, name, replica identity, and of each column flags, name, type, modifier.
func (d *decoder) describe(r reader, sink Sink) error {
	description := r.rest
	oid := r.uint32()
	known := d.relations[oid]
	if known != nil && bytes.Equal(known.description, description) {
		return nil
	}
	relation := &Relation{oid: oid, Schema: r.text(), Name: r.text(), description: slices.Clone(description)}
	if relation.Schema == "" {
		relation.Schema = "pg_catalog"
	}
	identity := r.uint8()
	names := make([]string, 0, 16)
	for range r.uint16() {
		r.uint8()
		names = append(names, r.text())
		r.bytes(8)
		if r.bad {
			break
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	if identity != 'f' {
		return notFull(relation.Schema, relation.Name)
	}
	relation.Columns = slices.Clone(d.wants(relation.Schema, relation.Name))
	if err := lacks(relation.Schema, relation.Name, names, relation.Columns); err != nil {
		return err
	}
	for _, name := range names {
		relation.wanted = append(relation.wanted, slices.Index(relation.Columns, name))
	}
	relation.old, relation.new = make([][]byte, len(relation.Columns)), make([][]byte, len(relation.Columns))

	changed := known != nil
	for other, r := range d.relations {
		if other != oid && r.Schema == relation.Schema && r.Name == relation.Name {
			changed = true // the other one was dropped or renamed
		}
	}
	if d.relations == nil {
		d.relations = map[uint32]*Relation{}
	}
	d.relations[oid], d.last = relation, nil
	if changed {
		sink.Schema(relation)
	}
	return nil
}

// appendStatus appends a standby status update: written, flushed and applied up to a position, the sender's clock,
// whether it wants an answer.
func appendStatus(b []byte, position LSN, at int64, ask bool) []byte {
	b = append(b, 'd', 0, 0, 0, 4+34, 'r')
	for range 3 {
		b = binary.BigEndian.AppendUint64(b, uint64(position))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	if ask {
		return append(b, 1)
	}
	return append(b, 0)
}
