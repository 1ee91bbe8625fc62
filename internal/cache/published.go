package cache

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"emporium/internal/postgres"
)

var publishedTables = postgres.Stmt{Name: "cache.published_tables", SQL: `
SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = '` + Publication + `'`}

// Unfollowed returns those of the relations whose changes are not told, so that no answer that was read from them can be
// kept. It asks the databases, and needs no Run.
func (c *Cache) Unfollowed(ctx context.Context, relations []string) (unfollowed []string, err error) {
	told := map[string]bool{}
	for _, f := range c.followers {
		tables, err := postgres.Select(ctx, f.db, publishedTables, pgx.RowTo[string])
		if err != nil {
			return nil, fmt.Errorf("cache of %s: %w", f.Name, err)
		}
		for _, table := range tables {
			if domain, _, _ := strings.Cut(table, "."); c.followers[c.of[domain]] == f {
				told[table] = true
			}
		}
	}
	for _, relation := range relations {
		if !told[relation] {
			unfollowed = append(unfollowed, relation)
		}
	}
	return unfollowed, nil
}
