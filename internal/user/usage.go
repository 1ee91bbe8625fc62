package user

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"emporium/internal/postgres"
	"emporium/internal/usage"
)

const (
	// Those that are there already need no room.
	admitClients = `
		INSERT INTO users.schema_clients (name, version)
		SELECT '', '' UNION SELECT 'other', '' UNION (
			SELECT DISTINCT g.name, g.version FROM unnest($1::text[], $2::text[]) AS g(name, version)
			WHERE NOT EXISTS (SELECT FROM users.schema_clients c WHERE (c.name, c.version) = (g.name, g.version))
			ORDER BY 1, 2 LIMIT greatest(0, $3 - (SELECT count(*) FROM users.schema_clients)))
		ON CONFLICT DO NOTHING`

	// In one order, so that processes that write at once wait for each other and do not block each other.
	recordUsage = `
		INSERT INTO users.schema_usage AS u (coordinate, client_name, client_version, count, first_seen, last_seen)
		SELECT g.coordinate, coalesce(c.name, 'other'), coalesce(c.version, ''), sum(g.count), $5, $5
		FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS g(coordinate, name, version, count)
		LEFT JOIN users.schema_clients c ON (c.name, c.version) = (g.name, g.version)
		GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
		ON CONFLICT (coordinate, client_name, client_version) DO UPDATE SET count = u.count + excluded.count,
			first_seen = least(u.first_seen, excluded.first_seen), last_seen = greatest(u.last_seen, excluded.last_seen)`

	selectUsage = `
		SELECT client_name, client_version, coordinate, count, first_seen, last_seen FROM users.schema_usage
		ORDER BY coordinate, count DESC, client_name, client_version`

	forgetUsage = `DELETE FROM users.schema_usage WHERE last_seen < $1`

	forgetClients = `
		DELETE FROM users.schema_clients c WHERE NOT EXISTS (
			SELECT FROM users.schema_usage u WHERE (u.client_name, u.client_version) = (c.name, c.version))`
)

// RecordUsage adds up what clients have used of the schema. Beyond [usage.MaxClients] new ones count as [usage.Other]; processes that
// meet new ones at the same moment may find room for a few more. Access is not checked: this is for the server itself.
func (s *Service) RecordUsage(ctx context.Context, uses []usage.Use) error {
	coordinates, names, versions := make([]string, len(uses)), make([]string, len(uses)), make([]string, len(uses))
	counts := make([]int64, len(uses))
	for i, u := range uses {
		coordinates[i], names[i], versions[i], counts[i] = u.Coordinate, u.Name, u.Version, u.Count
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.admit_schema_clients", SQL: admitClients,
			Reads: postgres.All("users.schema_clients")}, names, versions, usage.MaxClients); err != nil {
			return err
		}
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.record_schema_usage", SQL: recordUsage,
			Reads: postgres.All("users.schema_clients", "users.schema_usage")}, coordinates, names, versions, counts, s.now())
		return err
	})
}

// SchemaUsage returns what clients have used of the schema, in the order of coordinates, of each the one who has used it most first.
// Access is not checked: this is for an operator at the machine.
func (s *Service) SchemaUsage(ctx context.Context) ([]usage.Seen, error) {
	return postgres.Select(ctx, s.db, postgres.Stmt{Name: "users.schema_usage", SQL: selectUsage, Reads: postgres.All("users.schema_usage")},
		func(row pgx.CollectableRow) (seen usage.Seen, err error) {
			err = row.Scan(&seen.Name, &seen.Version, &seen.Coordinate, &seen.Count, &seen.FirstSeen, &seen.LastSeen)
			return seen, err
		})
}

// ForgetUsage deletes what was last used before an instant, and the clients of which nothing is left. Access is not checked: this is
// for jobs.
func (s *Service) ForgetUsage(ctx context.Context, before time.Time) error {
	if _, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "users.forget_schema_usage", SQL: forgetUsage,
		Reads: postgres.All("users.schema_usage")}, before); err != nil {
		return err
	}
	_, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "users.forget_schema_clients", SQL: forgetClients,
		Reads: postgres.All("users.schema_clients", "users.schema_usage")})
	return err
}
