package order

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/postgres"
)

// sealedColumns are the sealed columns, in the order of the statements below.
var sealedColumns = [...]string{"email", "shipping_address", "billing_address"}

const (
	resealBatch = 500

	selectStale = `SELECT owner_id, id, email, shipping_address, billing_address FROM orders.orders
		WHERE (owner_id, id) > ($1, $2) AND (substring(email FROM 1 FOR 5) <> $3
			OR substring(shipping_address FROM 1 FOR 5) <> $3 OR substring(billing_address FROM 1 FOR 5) <> $3)
		ORDER BY owner_id, id LIMIT $4`

	// A value that was changed since it was read is left alone.
	updateSealed = `UPDATE orders.orders o SET email = v.email1, shipping_address = v.shipping1, billing_address = v.billing1
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])
			v (owner_id, id, email0, shipping0, billing0, email1, shipping1, billing1)
		WHERE o.owner_id = v.owner_id AND o.id = v.id AND o.email IS NOT DISTINCT FROM v.email0
			AND o.shipping_address IS NOT DISTINCT FROM v.shipping0 AND o.billing_address IS NOT DISTINCT FROM v.billing0`
)

type sealedRow struct {
	key    id.Key
	values [len(sealedColumns)][]byte
}

// Reseal seals what is not under the primary key again, in small batches, and returns how many orders it has changed.
// Progress, which may be nil, is told that number after each batch. Orders may be read and written meanwhile, no write
// is lost. It can be stopped, by the context, and started again at any time. Without an error nothing is left that was
// sealed by another key when it began; orders that can not be opened are passed over and make an error in the end.
//
// It is for programs that an operator runs: no viewer is asked for.
func (s *Service) Reseal(ctx context.Context, progress func(done int)) (int, error) {
	done := 0
	for {
		var changed, unopened int
		var reason error
		for after := (id.Key{}); ; {
			if err := ctx.Err(); err != nil {
				return done, fmt.Errorf("reseal orders: %w", err)
			}
			rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
				Name: "orders.stale_seals", SQL: selectStale, Reads: postgres.All("orders.orders"),
			}, func(row pgx.CollectableRow) (r sealedRow, err error) {
				return r, row.Scan(&r.key.Owner, &r.key.ID, &r.values[0], &r.values[1], &r.values[2])
			}, after.Owner, after.ID, s.sealer.PrimaryPrefix(), resealBatch)
			if err != nil {
				return done, fmt.Errorf("reseal orders: %w", err)
			}
			if len(rows) == 0 {
				break
			}
			after = rows[len(rows)-1].key

			var owners, ids []uuid.UUID
			var was, becomes [len(sealedColumns)][][]byte
			for _, r := range rows {
				fresh, err := s.reseal(r)
				if err != nil {
					if unopened++; reason == nil {
						reason = fmt.Errorf("order %s: %w", r.key.ID, err)
					}
					continue
				}
				owners, ids = append(owners, r.key.Owner), append(ids, r.key.ID)
				for i := range sealedColumns {
					was[i], becomes[i] = append(was[i], r.values[i]), append(becomes[i], fresh[i])
				}
			}
			var touched int64
			err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
				touched, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.reseal", SQL: updateSealed},
					owners, ids, was[0], was[1], was[2], becomes[0], becomes[1], becomes[2])
				return err
			})
			if err != nil {
				return done, fmt.Errorf("reseal orders: %w", err)
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
			return done, fmt.Errorf("reseal orders: %d can not be opened, the first of them: %w", unopened, reason)
		default:
			return done, nil
		}
	}
}

func (s *Service) reseal(r sealedRow) (fresh [len(sealedColumns)][]byte, err error) {
	for i, column := range sealedColumns {
		plain, err := s.sealer.Open(field(column, r.key), r.values[i])
		if err != nil {
			return fresh, err
		}
		fresh[i] = s.sealer.Seal(field(column, r.key), plain)
	}
	return fresh, nil
}
