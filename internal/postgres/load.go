package postgres

import (
	"context"
	"errors"
	"iter"

	"github.com/jackc/pgx/v5"
)

// LoadChunks gives write what the sequence hands out, so many items at a time, in one transaction: all of it is written
// or nothing. A chunk is used again for the next one. Progress, which may be nil, is told how many items are written so
// far.
//
// The sequence is gone through once. A transaction that loses to another one is an error and not tried again: what was
// handed out was rolled back, and the sequence may go on where it was.
func LoadChunks[T any](
	ctx context.Context, db *DB, items iter.Seq[T], size int,
	write func(ctx context.Context, tx *Tx, chunk []T) error, progress func(done int),
) error {
	began := false
	return db.InTx(ctx, func(ctx context.Context, tx *Tx) error {
		if began {
			return errors.New("another transaction stood in the way; try again")
		}
		began = true
		done, chunk := 0, make([]T, 0, size)
		flush := func() error {
			if err := write(ctx, tx, chunk); err != nil {
				return err
			}
			done += len(chunk)
			chunk = chunk[:0]
			if progress != nil {
				progress(done)
			}
			return nil
		}
		for item := range items {
			if chunk = append(chunk, item); len(chunk) == size {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if len(chunk) == 0 {
			return nil
		}
		return flush()
	})
}

// Part is the rows of a table that CopyParts writes.
type Part struct {
	Table   string
	Columns []string
	Rows    [][]any
}

// CopyParts writes rows of tables of a schema by COPY, one table after the other.
func CopyParts(ctx context.Context, tx *Tx, schema string, parts []Part) error {
	for _, p := range parts {
		if len(p.Rows) == 0 {
			continue
		}
		if _, err := Copy(ctx, tx, [2]string{schema, p.Table}, p.Columns, pgx.CopyFromRows(p.Rows)); err != nil {
			return err
		}
	}
	return nil
}
