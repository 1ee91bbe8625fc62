package cache_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/cache"
	"emporium/internal/postgres/pgtest"
)

// TestMeasureFollower tells how fast changes are followed: many of one commit, and commit by commit while rows are loaded.
func TestMeasureFollower(t *testing.T) {
	if os.Getenv("EMPORIUM_RACE_MEASURE") == "" {
		t.Skip("it measures for minutes: EMPORIUM_RACE_MEASURE=1 make race-cache runs it")
	}
	c := pgtest.NewCluster(t)
	s := newShop(t, c)
	p := s.start(cache.Options{})
	pool := c.Pool(t, s.url)
	const insert = "INSERT INTO shop.things (id, owner_id, color, n) SELECT gen_random_uuid(), gen_random_uuid(), 'c' || i % 1000, i FROM generate_series(1, $1::int) AS i"
	follow(t, pool, p, insert, 1000)
	t.Logf("200,000 rows of one commit are followed after %v", follow(t, pool, p, insert, 200_000))
	var most, sum time.Duration
	began := time.Now()
	for range 200 {
		took := follow(t, pool, p, insert, 1000)
		most, sum = max(most, took), sum+took
	}
	t.Logf("200 commits of 1,000 rows took %v; each is followed after %v on average, %v at most", time.Since(began), sum/200, most)
}

// follow inserts rows and returns how long after the commit they are followed.
func follow(t *testing.T, pool *pgxpool.Pool, p *process, insert string, rows int) time.Duration {
	t.Helper()
	if _, err := pool.Exec(t.Context(), insert, rows); err != nil {
		t.Fatal(err)
	}
	committed := time.Now()
	var to string
	if err := pool.QueryRow(t.Context(), "SELECT pg_current_wal_flush_lsn()::text").Scan(&to); err != nil {
		t.Fatal(err)
	}
	p.until("they are followed", func() bool {
		var reached bool
		err := pool.QueryRow(context.WithoutCancel(t.Context()), "SELECT coalesce(bool_and(replay_lsn >= $1::text::pg_lsn), false) FROM pg_stat_replication", to).Scan(&reached)
		return err == nil && reached
	})
	return time.Since(committed)
}
