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
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the database/sql driver that goose speaks through
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed */*.sql
var files embed.FS

// Domains are the Postgres schemas, in the order in which they are migrated. None refers to another.
var Domains = []string{"users", "products", "orders", "payments"}

// jobs are the migrations that bring the tables of River, the job queue, into the schema of a domain: its version there,
// and the version of River's tables. A newer River adds a line with the next version of the domain.
var jobs = map[string][]jobTables{
	"users": {{3, 8}}, "products": {{3, 8}}, "orders": {{2, 8}}, "payments": {{2, 8}},
}

type jobTables struct{ version, river int }

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
			found[i] = Step{Domain: domain, Version: s.Source.Version, Name: name(s.Source), Applied: s.AppliedAt}
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
	fmt.Fprint(h, jobs)
	return fmt.Sprintf("%016x", h.Sum64()), err
}

func steps(domain string, results []*goose.MigrationResult) []Step {
	found := make([]Step, 0, len(results))
	for _, r := range results {
		found = append(found, Step{Domain: domain, Version: r.Source.Version, Name: name(r.Source), Applied: time.Now()})
	}
	return found
}

// name is that of the file, for those that are no file that of what they bring.
func name(s *goose.Source) string {
	if s.Type == goose.TypeGo {
		return fmt.Sprintf("%04d_river", s.Version)
	}
	return s.Path
}

// jobMigrations are those of the job queue of a domain. They run outside of a transaction, since River makes one for each
// of its versions: one of them uses a value of an enum that another has added.
func jobMigrations(domain string) []*goose.Migration {
	var all []*goose.Migration
	before := -1 // what River calls "nothing at all"
	for _, m := range jobs[domain] {
		run := func(direction rivermigrate.Direction, target int) *goose.GoFunc {
			return &goose.GoFunc{RunDB: func(ctx context.Context, db *sql.DB) error {
				river, err := rivermigrate.New(riverdatabasesql.New(db), &rivermigrate.Config{Schema: domain, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					return err
				}
				_, err = river.Migrate(ctx, direction, &rivermigrate.MigrateOpts{TargetVersion: target})
				return err
			}}
		}
		all = append(all, goose.NewGoMigration(int64(m.version), run(rivermigrate.DirectionUp, m.river), run(rivermigrate.DirectionDown, before)))
		before = m.river
	}
	return all
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
	p, err := goose.NewProvider(goose.DialectPostgres, db, folder, goose.WithGoMigrations(jobMigrations(domain)...),
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
