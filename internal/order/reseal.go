package order

import (
	"context"

	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/reseal"
	"emporium/internal/seal"
)

var sealedTables = []reseal.Table{{
	Name: "orders.orders",
	Find: postgres.Stmt{Name: "orders.stale_seals", Reads: postgres.All("orders.orders"), SQL: `
		SELECT owner_id, id, email, shipping_address, billing_address, note, payment_method FROM orders.orders
		WHERE (owner_id, id) > ($1, $2) AND (substring(email FROM 1 FOR 5) <> $3
			OR substring(shipping_address FROM 1 FOR 5) <> $3 OR substring(billing_address FROM 1 FOR 5) <> $3
			OR substring(note FROM 1 FOR 5) <> $3 OR substring(payment_method FROM 1 FOR 5) <> $3)
		ORDER BY owner_id, id LIMIT $4`},
	Update: postgres.Stmt{Name: "orders.reseal", SQL: `
		UPDATE orders.orders o SET email = v.email1, shipping_address = v.shipping1, billing_address = v.billing1, note = v.note1,
			payment_method = v.method1
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[],
			$10::bytea[], $11::bytea[], $12::bytea[])
			v (owner_id, id, email0, shipping0, billing0, note0, method0, email1, shipping1, billing1, note1, method1)
		WHERE o.owner_id = v.owner_id AND o.id = v.id AND o.email IS NOT DISTINCT FROM v.email0
			AND o.shipping_address IS NOT DISTINCT FROM v.shipping0 AND o.billing_address IS NOT DISTINCT FROM v.billing0
			AND o.note IS NOT DISTINCT FROM v.note0 AND o.payment_method IS NOT DISTINCT FROM v.method0`},
	Fields: func(k id.Key) []seal.Field {
		return []seal.Field{field("email", k), field("shipping_address", k), field("billing_address", k), field("note", k),
			field("payment_method", k)}
	},
}, {
	Name: "orders.carts",
	Find: postgres.Stmt{Name: "orders.stale_seals_of_carts", Reads: postgres.All("orders.carts"), SQL: `
		SELECT owner_id, id, email, shipping_address, billing_address, note FROM orders.carts
		WHERE (owner_id, id) > ($1, $2) AND (substring(email FROM 1 FOR 5) <> $3 OR substring(shipping_address FROM 1 FOR 5) <> $3
			OR substring(billing_address FROM 1 FOR 5) <> $3 OR substring(note FROM 1 FOR 5) <> $3)
		ORDER BY owner_id, id LIMIT $4`},
	Update: postgres.Stmt{Name: "orders.reseal_carts", SQL: `
		UPDATE orders.carts c SET email = v.email1, shipping_address = v.shipping1, billing_address = v.billing1, note = v.note1
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[],
			$9::bytea[], $10::bytea[]) v (owner_id, id, email0, shipping0, billing0, note0, email1, shipping1, billing1, note1)
		WHERE c.owner_id = v.owner_id AND c.id = v.id AND c.email IS NOT DISTINCT FROM v.email0
			AND c.shipping_address IS NOT DISTINCT FROM v.shipping0 AND c.billing_address IS NOT DISTINCT FROM v.billing0
			AND c.note IS NOT DISTINCT FROM v.note0`},
	Fields: func(k id.Key) []seal.Field {
		return []seal.Field{cartField("email", k), cartField("shipping_address", k), cartField("billing_address", k), cartField("note", k)}
	},
}}

// Reseal seals orders and carts anew that hold a value under another key than the primary one; see [reseal.Run].
//
// It is for programs that an operator runs: no viewer is asked for.
func (s *Service) Reseal(ctx context.Context, progress func(done int)) (int, error) {
	return reseal.Run(ctx, s.db, s.sealer, sealedTables, progress)
}
