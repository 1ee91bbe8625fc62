package payment

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/postgres"
)

const (
	resealBatch = 500

	selectStale = `SELECT owner_id, id, reference FROM payments.payments
		WHERE (owner_id, id) > ($1, $2) AND substring(reference FROM 1 FOR 5) <> $3 ORDER BY owner_id, id LIMIT $4`

	// A value that was changed since it was read is left alone.
	updateSealed = `UPDATE payments.payments p SET reference = v.becomes
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[]) v (owner_id, id, was, becomes)
		WHERE p.owner_id = v.owner_id AND p.id = v.id AND p.reference = v.was`
)

type sealedRow struct {
	key       id.Key
	reference []byte
}

// Reseal seals what is not under the primary key again, in small batches, and returns how many payments it has changed.
// Progress, which may be nil, is told that number after each batch. Payments may be read and written meanwhile, no
// write is lost. It can be stopped, by the context, and started again at any time. Without an error nothing is left
// that was sealed by another key when it began; payments that can not be opened are passed over and make an error in
// the end.
//
// It is for programs that an operator runs: no viewer is asked for.
func (s *Service) Reseal(ctx context.Context, progress func(done int)) (int, error) {
	done := 0
	for {
		var changed, unopened int
		var reason error
		for after := (id.Key{}); ; {
			if err := ctx.Err(); err != nil {
				return done, fmt.Errorf("reseal payments: %w", err)
			}
			rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
				Name: "payments.stale_seals", SQL: selectStale, Reads: postgres.All("payments.payments"),
			}, func(row pgx.CollectableRow) (r sealedRow, err error) {
				return r, row.Scan(&r.key.Owner, &r.key.ID, &r.reference)
			}, after.Owner, after.ID, s.sealer.PrimaryPrefix(), resealBatch)
			if err != nil {
				return done, fmt.Errorf("reseal payments: %w", err)
			}
			if len(rows) == 0 {
				break
			}
			after = rows[len(rows)-1].key

			var owners, ids []uuid.UUID
			var was, becomes [][]byte
			for _, r := range rows {
				plain, err := s.sealer.Open(field(r.key.Owner, r.key.ID), r.reference)
				if err != nil {
					if unopened++; reason == nil {
						reason = fmt.Errorf("payment %s: %w", r.key.ID, err)
					}
					continue
				}
				owners, ids, was = append(owners, r.key.Owner), append(ids, r.key.ID), append(was, r.reference)
				becomes = append(becomes, s.sealer.Seal(field(r.key.Owner, r.key.ID), plain))
			}
			var touched int64
			err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
				touched, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.reseal", SQL: updateSealed},
					owners, ids, was, becomes)
				return err
			})
			if err != nil {
				return done, fmt.Errorf("reseal payments: %w", err)
			}
			done += int(touched)
			changed += len(ids) - int(touched)
			if progress != nil {
				progress(done)
			}
		}
		switch {
		case changed > 0: // by somebody else, maybe under the old key: look again
		case reason != nil:
			return done, fmt.Errorf("reseal payments: %d can not be opened, the first of them: %w", unopened, reason)
		default:
			return done, nil
		}
	}
}
