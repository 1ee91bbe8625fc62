package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

// TestLoadChunks goes through sequences of some lengths in chunks of three. When a transaction loses a race, nothing is
// asked of the sequence again, since it might go on where it was.
func TestLoadChunks(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	for _, c := range []struct {
		items int
		fail  error
		want  string
	}{
		{0, nil, "<nil>"},
		{2, nil, "[0 1] 2 <nil>"},
		{3, nil, "[0 1 2] 3 <nil>"},
		{7, nil, "[0 1 2] 3 [3 4 5] 6 [6] 7 <nil>"},
		{7, &pgconn.PgError{Code: "40P01"}, "[0 1 2] another transaction stood in the way; try again"},
	} {
		var log strings.Builder
		err := postgres.LoadChunks(t.Context(), db, slices.Values([]int{0, 1, 2, 3, 4, 5, 6}[:c.items]), 3,
			func(_ context.Context, _ *postgres.Tx, chunk []int) error {
				fmt.Fprint(&log, chunk, " ")
				return c.fail
			}, func(done int) { fmt.Fprint(&log, done, " ") })
		if fmt.Fprint(&log, err); log.String() != c.want {
			t.Errorf("%d items: %s, want %s", c.items, &log, c.want)
		}
	}
}
