package user

import (
	"context"

	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/reseal"
	"emporium/internal/seal"
)

var sealedTables = []reseal.Table{{
	Name: "users.users",
	Find: postgres.Stmt{Name: "users.reseal_find_users", Reads: postgres.All("users.users"), SQL: `
		SELECT owner_id, owner_id, name, email, phone FROM users.users
		WHERE (owner_id, owner_id) > ($1::uuid, $2::uuid)
			AND ($3 <> substring(name FOR 5) OR $3 <> substring(email FOR 5) OR $3 <> substring(phone FOR 5))
		ORDER BY owner_id LIMIT $4`},
	Update: postgres.Stmt{Name: "users.reseal_users", SQL: `
		UPDATE users.users t SET name = n.name, email = n.email, phone = n.phone
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])
			AS n (owner_id, id, old_name, old_email, old_phone, name, email, phone)
		WHERE t.owner_id = n.owner_id AND t.name IS NOT DISTINCT FROM n.old_name
			AND t.email IS NOT DISTINCT FROM n.old_email AND t.phone IS NOT DISTINCT FROM n.old_phone`},
	Fields: func(k id.Key) []seal.Field {
		return []seal.Field{userField(k.Owner, "name"), userField(k.Owner, "email"), userField(k.Owner, "phone")}
	},
}, {
	Name: "users.addresses",
	Find: postgres.Stmt{Name: "users.reseal_find_addresses", Reads: postgres.All("users.addresses"), SQL: `
		SELECT owner_id, id, details FROM users.addresses
		WHERE (owner_id, id) > ($1::uuid, $2::uuid) AND $3 <> substring(details FOR 5)
		ORDER BY owner_id, id LIMIT $4`},
	Update: postgres.Stmt{Name: "users.reseal_addresses", SQL: `
		UPDATE users.addresses t SET details = n.details
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[]) AS n (owner_id, id, old_details, details)
		WHERE t.owner_id = n.owner_id AND t.id = n.id AND t.details = n.old_details`},
	Fields: func(k id.Key) []seal.Field { return []seal.Field{addressField(k)} },
}, {
	Name: "users.email_changes",
	Find: postgres.Stmt{Name: "users.reseal_find_email_changes", Reads: postgres.All("users.email_changes"), SQL: `
		SELECT owner_id, owner_id, email FROM users.email_changes
		WHERE (owner_id, owner_id) > ($1::uuid, $2::uuid) AND $3 <> substring(email FOR 5)
		ORDER BY owner_id LIMIT $4`},
	Update: postgres.Stmt{Name: "users.reseal_email_changes", SQL: `
		UPDATE users.email_changes t SET email = n.email
		FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[]) AS n (owner_id, id, old_email, email)
		WHERE t.owner_id = n.owner_id AND t.email = n.old_email`},
	Fields: func(k id.Key) []seal.Field { return []seal.Field{changeField(k.Owner)} },
}}

// Reseal seals users, addresses and changes of e-mail addresses anew that hold a value under another key than the primary one; see [reseal.Run].
// Access is not checked: this is for the command line.
func (s *Service) Reseal(ctx context.Context, progress func(done int)) (int, error) {
	return reseal.Run(ctx, s.db, s.sealer, sealedTables, progress)
}
