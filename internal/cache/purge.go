package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"emporium/internal/postgres"
)

// purgeTimeout bounds the statements of a purge in one database.
const purgeTimeout = 10 * time.Second

// published reports whether a process that follows the database hears of its migrations.
var published = postgres.Stmt{Name: "cache.published", SQL: `
SELECT EXISTS (SELECT FROM pg_publication_tables WHERE pubname = '` + Publication + `' AND schemaname = $1 AND tablename = 'schema_migrations')`}

// Purged is what a purge has done.
type Purged struct {
	Databases []PurgedDatabase
	Redis     int64 // answers that Redis no longer has
}

// PurgedDatabase is one that the processes who follow it were told by.
type PurgedDatabase struct {
	Database  string // its domains
	Processes int    // that followed it when they were told
}

// Purge makes every process drop what it keeps, and then deletes what Redis keeps. When it returns without an error no
// answer is used any more that was kept when it was called, by whichever process. It needs no Run, and is bounded by about
// 12 s for each database and a minute for Redis; what was done before an error is in Purged, and stays done.
//
// A change of the table of migrations voids everything, for all that follow the database. So it is enough to write one of
// its rows as it is: no process has to be known, and one that was not connected begins with nothing anyway. What Redis
// keeps is void by the same; it is deleted to be rid of it.
func (c *Cache) Purge(ctx context.Context) (done Purged, err error) {
	for i, f := range c.followers {
		processes, err := f.purge(ctx, c.o.Sources[i].Domains[0])
		if err != nil {
			return done, fmt.Errorf("cache of %s: %w", f.Name, err)
		}
		done.Databases = append(done.Databases, PurgedDatabase{f.Name, processes})
	}
	if c.o.Remote != nil {
		done.Redis, err = c.o.Remote.Purge(ctx)
	}
	return done, err
}

// Barrier returns once no process answers with what is older than what was committed in any of the databases up to now.
func (c *Cache) Barrier(ctx context.Context) error {
	var group errgroup.Group
	for _, f := range c.followers {
		group.Go(func() error { return f.Await(ctx) })
	}
	return group.Wait()
}

func (f *Follower) purge(ctx context.Context, domain string) (processes int, err error) {
	limited, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	heard, _, err := postgres.First(limited, f.db, published, pgx.RowTo[bool], domain)
	if err != nil {
		return 0, err
	}
	if !heard {
		return 0, errors.New("nobody would hear of it: " + domain + ".schema_migrations is not in the publication " + Publication + "; run `emporium migrate up`")
	}
	table := pgx.Identifier{domain, "schema_migrations"}.Sanitize()
	written, err := postgres.Exec(limited, f.db, postgres.Stmt{Name: "cache.purge",
		SQL: "UPDATE " + table + " SET id = id WHERE id = (SELECT max(id) FROM " + table + ")"})
	if err != nil {
		return 0, err
	}
	if written == 0 {
		return 0, errors.New(domain + ".schema_migrations is empty")
	}
	found, err := f.look(limited)
	if err != nil {
		return 0, err
	}
	for _, o := range found {
		if o.PID != nil {
			processes++
		}
	}
	return processes, f.Await(ctx)
}
