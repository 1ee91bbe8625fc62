package app_test

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"emporium/internal/app"
)

func TestMain(m *testing.M) {
	// A server on private servers starts its own binary as the test provider.
	if len(os.Args) > 1 && os.Args[1] == "testprovider" {
		if err := app.Command(context.Background(), os.Args, os.Environ(), os.Stdout, os.Stderr); err != nil {
			slog.Error(err.Error())
			os.Exit(1)
		}
		return
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}
