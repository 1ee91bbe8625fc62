// Emporium is a GraphQL backend-for-frontend for shops. `go run .` serves it; `go run . --help` lists what else it does.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"emporium/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := app.Command(ctx, os.Args, os.Environ(), os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "emporium:", err)
		os.Exit(1)
	}
}
