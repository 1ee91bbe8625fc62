// Package reseal seals anew, under the primary key, what tables hold under other keys, while they are read and written.
package reseal

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const (
	batchSize = 500 // rows that one statement seals anew
	passes    = 5   // how often a table is gone over at most because rows were changed meanwhile
)

// Table is a table with sealed columns. Where its key is the owner alone, the ID is the owner once more.
type Table struct {
	Name string

	// Find returns the owner, the ID and the sealed columns of rows behind the key ($1, $2) in which a value does not begin
	// with $3, by key, at most $4.
	Find postgres.Stmt

	// Update changes the rows of the keys ($1[], $2[]). The parameters after these are the old values of each sealed column,
	// then the new ones of each. A row with another value than the old ones is left alone: it was changed meanwhile.
	Update postgres.Stmt

	// Fields returns what the sealed columns of a row are sealed for, in the order of the statements.
	Fields func(key id.Key) []seal.Field
}

// Run seals each row of the tables anew that holds a value under another key than the primary one, and returns how many
// rows that were; progress (which may be nil) is told on the way. It works in small batches and may run beside everything
// else: a row that is changed meanwhile keeps the change, and is looked at once more. When ctx ends, or when the run was
// cut off otherwise, the next one goes on from there. Without an error nothing is left that was sealed under another key
// when it began.
//
// Rows that can not be opened are left as they are and hold up no other; the error in the end says how many and names the
// first.
func Run(
	ctx context.Context, db *postgres.DB, sealer *seal.Sealer, tables []Table, progress func(done int),
) (done int, err error) {
	unopened, first := 0, error(nil)
	for _, t := range tables {
		for try := 1; ; try++ {
			p := pass{table: t, db: db, sealer: sealer}
			err := p.run(ctx, func(n int) {
				if done += n; progress != nil {
					progress(done)
				}
			})
			if err == nil && p.missed > 0 {
				if try < passes {
					continue
				}
				err = fmt.Errorf("%d rows are changed again and again; run it once more", p.missed)
			}
			if err != nil {
				return done, fmt.Errorf("seal %s anew: %w", t.Name, err)
			}
			unopened += p.unopened
			first = cmp.Or(first, p.first)
			break
		}
	}
	if unopened > 0 {
		return done, fmt.Errorf("%d rows were not sealed anew, the first of them: %w", unopened, first)
	}
	return done, nil
}

// pass goes over a table once. It counts the rows that it has found and not sealed anew.
type pass struct {
	table    Table
	db       *postgres.DB
	sealer   *seal.Sealer
	missed   int   // were changed meanwhile
	unopened int   // can not be opened
	first    error // of those
}

// stored is a row as it was found.
type stored struct {
	key    id.Key
	values [][]byte
}

func scan(row pgx.CollectableRow) (s stored, err error) {
	s.values = make([][]byte, len(row.FieldDescriptions())-2)
	into := []any{&s.key.Owner, &s.key.ID}
	for i := range s.values {
		into = append(into, &s.values[i])
	}
	return s, row.Scan(into...)
}

func (p *pass) run(ctx context.Context, sealed func(n int)) error {
	prefix := p.sealer.PrimaryPrefix()
	for after := (id.Key{}); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ctx := context.WithoutCancel(ctx) // a batch that was begun is finished
		rows, err := postgres.Select(ctx, p.db, p.table.Find, scan, after.Owner, after.ID, prefix, batchSize)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1].key
		touched, err := p.update(ctx, prefix, rows)
		if err != nil {
			return err
		}
		if touched > 0 {
			sealed(touched)
		}
	}
}

// update seals the rows anew that can be opened, and returns how many of them nobody has changed since they were found.
func (p *pass) update(ctx context.Context, prefix []byte, rows []stored) (touched int, err error) {
	var owners, ids []uuid.UUID
	columns := len(rows[0].values)
	values := make([][][]byte, 2*columns) // the old ones of each column, then the new ones
	for _, row := range rows {
		fresh, err := p.reseal(prefix, row)
		if err != nil {
			p.unopened++
			p.first = cmp.Or(p.first, fmt.Errorf("row %s %s of %s: %w", row.key.Owner, row.key.ID, p.table.Name, err))
			continue
		}
		owners, ids = append(owners, row.key.Owner), append(ids, row.key.ID)
		for i := range columns {
			values[i], values[columns+i] = append(values[i], row.values[i]), append(values[columns+i], fresh[i])
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	args := []any{owners, ids}
	for _, v := range values {
		args = append(args, v)
	}
	err = p.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		n, err := postgres.Exec(ctx, tx, p.table.Update, args...)
		touched = int(n)
		return err
	})
	p.missed += len(ids) - touched
	return touched, err
}

func (p *pass) reseal(prefix []byte, row stored) ([][]byte, error) {
	fresh := make([][]byte, len(row.values))
	for i, f := range p.table.Fields(row.key) {
		if fresh[i] = row.values[i]; fresh[i] == nil || bytes.HasPrefix(fresh[i], prefix) {
			continue
		}
		plain, err := p.sealer.Open(f, row.values[i])
		if err != nil {
			return nil, err
		}
		fresh[i] = p.sealer.Seal(f, plain)
	}
	return fresh, nil
}
