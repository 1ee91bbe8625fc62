package user

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

// resealBatch is how many rows one transaction seals anew.
const resealBatch = 500

// sealedTable is a table with up to three sealed columns. Both statements treat the ID of a row whose key is the owner
// alone as the owner once more.
type sealedTable struct {
	name   string
	find   postgres.Stmt // rows behind the key ($1, $2) with a value that does not begin with $3, at most $4
	update postgres.Stmt // of keys ($1[], $2[]) from the values ($3[], $4[], $5[]) to ($6[], $7[], $8[])
	fields func(key id.Key) []seal.Field
}

// The guard of an update is all of the row's old values: what was changed since it was read is left alone.
var sealedTables = []sealedTable{{
	name: "users.users",
	find: postgres.Stmt{Name: "users.reseal_find_users", Reads: postgres.All("users.users"), SQL: `
		SELECT owner_id, owner_id, name, email, phone FROM users.users
		WHERE (owner_id, owner_id) > ($1::uuid, $2::uuid)
			AND ($3 <> substring(name FOR 5) OR $3 <> substring(email FOR 5) OR $3 <> substring(phone FOR 5))
		ORDER BY owner_id LIMIT $4`},
	update: postgres.Stmt{Name: "users.reseal_users", SQL: `
		UPDATE users.users t SET name = n.name, email = n.email, phone = n.phone
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])
			AS n (owner_id, id, old_name, old_email, old_phone, name, email, phone)
		WHERE t.owner_id = n.owner_id AND t.name IS NOT DISTINCT FROM n.old_name
			AND t.email IS NOT DISTINCT FROM n.old_email AND t.phone IS NOT DISTINCT FROM n.old_phone`},
	fields: func(k id.Key) []seal.Field {
		return []seal.Field{userField(k.Owner, "name"), userField(k.Owner, "email"), userField(k.Owner, "phone")}
	},
}, {
	name: "users.addresses",
	find: postgres.Stmt{Name: "users.reseal_find_addresses", Reads: postgres.All("users.addresses"), SQL: `
		SELECT owner_id, id, details, NULL::bytea, NULL::bytea FROM users.addresses
		WHERE (owner_id, id) > ($1::uuid, $2::uuid) AND $3 <> substring(details FOR 5)
		ORDER BY owner_id, id LIMIT $4`},
	update: postgres.Stmt{Name: "users.reseal_addresses", SQL: `
		UPDATE users.addresses t SET details = n.details
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])
			AS n (owner_id, id, old_details, x1, x2, details, x3, x4)
		WHERE t.owner_id = n.owner_id AND t.id = n.id AND t.details = n.old_details`},
	fields: func(k id.Key) []seal.Field { return []seal.Field{addressField(k)} },
}}

// sealedRow is a row as it is stored.
type sealedRow struct {
	Owner, ID uuid.UUID
	A, B, C   []byte
}

// resealPasses bounds how often a table is gone over because rows were changed meanwhile.
const resealPasses = 5

// Reseal seals anew, under the primary key, each row that holds a value under another one, and returns how many rows that
// were; progress (which may be nil) is told on the way. It works in short transactions and may run beside everything
// else: a row that is changed meanwhile keeps the change, and is looked at once more. When ctx ends, or when the run was
// cut off otherwise, the next one goes on from there.
//
// Rows that can not be opened are left as they are; the error then says how many and names the first.
func (s *Service) Reseal(ctx context.Context, progress func(done int)) (int, error) {
	done, broken := 0, 0
	var first error
	for _, t := range sealedTables {
		for try := 1; ; try++ {
			pass, err := s.resealPass(ctx, t, func(n int) {
				if done += n; progress != nil {
					progress(done)
				}
			})
			if err != nil {
				return done, fmt.Errorf("seal %s anew: %w", t.name, err)
			}
			if pass.missed > 0 && try == resealPasses {
				return done, fmt.Errorf("seal %s anew: %d rows are changed again and again; run it once more", t.name, pass.missed)
			}
			if pass.missed == 0 {
				broken += pass.broken
				first = cmp.Or(first, pass.first)
				break
			}
		}
	}
	if broken > 0 {
		return done, fmt.Errorf("%d rows were not sealed anew, the first of them: %w", broken, first)
	}
	return done, nil
}

// resealPass is what became of the rows that one pass over a table has found, but for those that it has sealed anew.
type resealPass struct {
	missed int // were changed meanwhile
	broken int // can not be opened
	first  error
}

func (s *Service) resealPass(ctx context.Context, t sealedTable, sealed func(n int)) (pass resealPass, err error) {
	prefix := s.sealer.PrimaryPrefix()
	for after, more := (id.Key{}), true; more; {
		if ctx.Err() != nil {
			return pass, context.Cause(ctx)
		}
		var b resealBatchRows
		var touched int64
		// A batch that was begun is finished.
		err := s.db.InTx(context.WithoutCancel(ctx), func(ctx context.Context, tx *postgres.Tx) error {
			found, err := postgres.Select(ctx, tx, t.find, pgx.RowToStructByPos[sealedRow], after.Owner, after.ID, prefix, resealBatch)
			if err != nil {
				return err
			}
			b = s.resealRows(t, prefix, found)
			touched = 0
			if len(b.owners) > 0 {
				touched, err = postgres.Exec(ctx, tx, t.update, b.owners, b.ids, b.old[0], b.old[1], b.old[2], b.fresh[0], b.fresh[1], b.fresh[2])
			}
			return err
		})
		if err != nil {
			return pass, err
		}
		pass.missed += len(b.owners) - int(touched)
		pass.broken += b.broken
		pass.first = cmp.Or(pass.first, b.first)
		after, more = b.last, b.last != (id.Key{})
		if touched > 0 {
			sealed(int(touched))
		}
	}
	return pass, nil
}

// resealBatchRows are the rows of a batch that could be opened, as the arguments of an update.
type resealBatchRows struct {
	owners, ids []uuid.UUID
	old, fresh  [3][][]byte
	last        id.Key // of the batch; zero when it is empty
	broken      int
	first       error
}

func (s *Service) resealRows(t sealedTable, prefix []byte, rows []sealedRow) (b resealBatchRows) {
	for _, row := range rows {
		b.last = id.Key{Owner: row.Owner, ID: row.ID}
		old := [3][]byte{row.A, row.B, row.C}
		fresh := old
		var err error
		for i, f := range t.fields(b.last) {
			if old[i] == nil || bytes.HasPrefix(old[i], prefix) {
				continue
			}
			var plain []byte
			if plain, err = s.sealer.Open(f, old[i]); err != nil {
				break
			}
			fresh[i] = s.sealer.Seal(f, plain)
		}
		if err != nil {
			b.broken++
			b.first = cmp.Or(b.first, fmt.Errorf("row %s %s: %w", row.Owner, row.ID, err))
			continue
		}
		b.owners, b.ids = append(b.owners, row.Owner), append(b.ids, row.ID)
		for i := range old {
			b.old[i], b.fresh[i] = append(b.old[i], old[i]), append(b.fresh[i], fresh[i])
		}
	}
	return b
}
