package payment

import (
	"context"

	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/reseal"
	"emporium/internal/seal"
)

var sealedTables = []reseal.Table{
	{
		Name: "payments.payments",
		Find: postgres.Stmt{Name: "payments.stale_seals", Reads: postgres.All("payments.payments"), SQL: `
			SELECT owner_id, id, reference, action, request FROM payments.payments
			WHERE (owner_id, id) > ($1, $2) AND (substring(reference FROM 1 FOR 5) <> $3
				OR substring(action FROM 1 FOR 5) <> $3 OR substring(request FROM 1 FOR 5) <> $3)
			ORDER BY owner_id, id LIMIT $4`},
		Update: postgres.Stmt{Name: "payments.reseal", SQL: `
			UPDATE payments.payments p SET reference = v.reference1, action = v.action1, request = v.request1
			FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])
				v (owner_id, id, reference0, action0, request0, reference1, action1, request1)
			WHERE p.owner_id = v.owner_id AND p.id = v.id AND p.reference IS NOT DISTINCT FROM v.reference0
				AND p.action IS NOT DISTINCT FROM v.action0 AND p.request IS NOT DISTINCT FROM v.request0`},
		Fields: func(k id.Key) []seal.Field {
			return []seal.Field{field("reference", k.Owner, k.ID), field("action", k.Owner, k.ID), field("request", k.Owner, k.ID)}
		},
	},
	{
		Name: "payments.inbox",
		Find: postgres.Stmt{Name: "payments.stale_inbox_seals", Reads: postgres.All("payments.inbox"), SQL: `
			SELECT id, id, payload FROM payments.inbox
			WHERE (id, id) > ($1, $2) AND substring(payload FROM 1 FOR 5) <> $3 ORDER BY id LIMIT $4`},
		Update: postgres.Stmt{Name: "payments.reseal_inbox", SQL: `
			UPDATE payments.inbox i SET payload = v.becomes
			FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[]) v (owner_id, id, was, becomes)
			WHERE i.id = v.id AND i.payload = v.was`},
		Fields: func(k id.Key) []seal.Field { return []seal.Field{inboxField(k.ID)} },
	},
	{
		Name: "payments.differences",
		Find: postgres.Stmt{Name: "payments.stale_difference_seals", Reads: postgres.All("payments.differences"), SQL: `
			SELECT id, id, reference FROM payments.differences
			WHERE (id, id) > ($1, $2) AND substring(reference FROM 1 FOR 5) <> $3 ORDER BY id LIMIT $4`},
		Update: postgres.Stmt{Name: "payments.reseal_differences", SQL: `
			UPDATE payments.differences d SET reference = v.becomes
			FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[]) v (owner_id, id, was, becomes)
			WHERE d.id = v.id AND d.reference = v.was`},
		Fields: func(k id.Key) []seal.Field { return []seal.Field{differenceField(k.ID)} },
	},
}

// Reseal seals anew what providers have said and are asked with, where it is sealed under another key than the primary one; see [reseal.Run].
//
// It is for programs that an operator runs: no viewer is asked for.
func (s *Service) Reseal(ctx context.Context, progress func(done int)) (int, error) {
	return reseal.Run(ctx, s.db, s.sealer, sealedTables, progress)
}
