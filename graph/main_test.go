package graph

import (
	"log/slog"
	"os"
	"testing"

	"emporium/internal/postgres/pgtest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	os.Exit(pgtest.Main(m))
}
