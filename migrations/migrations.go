// Package migrations holds the database schema of each domain as numbered SQL files and applies them. A migration that
// was ever applied anywhere is not edited: the next one mends it.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the database/sql driver that goose speaks through
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed */*.sql
var files embed.FS

// Domains are the Postgres schemas, in the order in which they are migrated. None refers to another.
var Domains = []string{"users", "products", "orders", "payments"}

// Step is a migration of a domain and when it was applied; zero if it was not.
type Step struct {
	Domain  string
	Version int64
	Name    string
	Applied time.Time
}

// Up applies what is missing of a domain and returns what it applied. Any number of processes may call it at once: a
// session lock lets one work while the others wait. The URL must lead to a session, not to a transaction pooler.
func Up(ctx context.Context, url, domain string) ([]Step, error) {
	return with(ctx, url, domain, func(p *goose.Provider) ([]Step, error) {
		results, err := p.Up(ctx)
		return steps(domain, results), err
	})
}

// Down takes the latest migration of a domain back and returns it.
func Down(ctx context.Context, url, domain string) ([]Step, error) {
	return with(ctx, url, domain, func(p *goose.Provider) ([]Step, error) {
		result, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return steps(domain, []*goose.MigrationResult{result}), nil
	})
}

// Status returns every migration of a domain.
func Status(ctx context.Context, url, domain string) ([]Step, error) {
	return with(ctx, url, domain, func(p *goose.Provider) ([]Step, error) {
		all, err := p.Status(ctx)
		if err != nil {
			return nil, err
		}
		found := make([]Step, len(all))
		for i, s := range all {
			found[i] = Step{Domain: domain, Version: s.Source.Version, Name: s.Source.Path, Applied: s.AppliedAt}
		}
		return found, nil
	})
}

// Hash changes whenever a migration changes. Databases that were made by the same migrations share it.
func Hash() (string, error) {
	h := fnv.New64a()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(path)
		fmt.Fprintf(h, "%d:%s%d:%s", len(path), path, len(text), text)
		return err
	})
	return fmt.Sprintf("%016x", h.Sum64()), err
}

func steps(domain string, results []*goose.MigrationResult) []Step {
	found := make([]Step, 0, len(results))
	for _, r := range results {
		found = append(found, Step{Domain: domain, Version: r.Source.Version, Name: r.Source.Path, Applied: time.Now()})
	}
	return found
}

func with(ctx context.Context, url, domain string, do func(*goose.Provider) ([]Step, error)) ([]Step, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", domain, err)
	}
	defer func() { _ = db.Close() }()
	if err := createSchema(ctx, db, domain); err != nil {
		return nil, fmt.Errorf("migrate %s: %w", domain, err)
	}
	folder, err := fs.Sub(files, domain)
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", domain, err)
	}
	// Whoever comes second asks each second for two minutes whether the first is done.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID(domain)), lock.WithLockTimeout(1, 120))
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", domain, err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, folder,
		goose.WithTableName(domain+".schema_migrations"), goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", domain, err)
	}
	found, err := do(p)
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", domain, err)
	}
	return found, nil
}

// createSchema makes the schema that the domain's version table lives in. IF NOT EXISTS loses a race between two
// sessions with a unique violation; then the schema is there.
func createSchema(ctx context.Context, db *sql.DB, domain string) error {
	_, err := db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+domain)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" {
		return nil
	}
	return err
}

func lockID(domain string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("emporium migrations " + domain))
	return int64(h.Sum64() >> 1)
}
