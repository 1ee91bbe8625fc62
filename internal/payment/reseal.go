package payment

import (
	"context"

	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/reseal"
	"emporium/internal/seal"
)

var sealedTables = []reseal.Table{{
	Name: "payments.payments",
	Find: postgres.Stmt{Name: "payments.stale_seals", Reads: postgres.All("payments.payments"), SQL: `
		SELECT owner_id, id, reference FROM payments.payments
		WHERE (owner_id, id) > ($1, $2) AND substring(reference FROM 1 FOR 5) <> $3
		ORDER BY owner_id, id LIMIT $4`},
	Update: postgres.Stmt{Name: "payments.reseal", SQL: `
		UPDATE payments.payments p SET reference = v.becomes
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[]) v (owner_id, id, was, becomes)
		WHERE p.owner_id = v.owner_id AND p.id = v.id AND p.reference = v.was`},
	Fields: func(k id.Key) []seal.Field { return []seal.Field{field(k.Owner, k.ID)} },
}}

// Reseal seals the provider's references anew that are sealed under another key than the primary one; see [reseal.Run].
//
// It is for programs that an operator runs: no viewer is asked for.
func (s *Service) Reseal(ctx context.Context, progress func(done int)) (int, error) {
	return reseal.Run(ctx, s.db, s.sealer, sealedTables, progress)
}
