// Generate turns schema.graphqls into graph/*.generated.go: gqlgen's code, and beside it, in exec.generated.go, what
// package exec reads the graph by: for each field a function that takes its value from the Go type behind it, and which
// Go fields that reads. Resolvers of fields that are edges are generated too: they go along the edge.
package main

import (
	"fmt"
	"os"

	"github.com/99designs/gqlgen/api"
	"github.com/99designs/gqlgen/codegen/config"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg, err := config.LoadConfigFromDefaultLocations()
	if err != nil {
		return err
	}
	return api.Generate(cfg, api.AddPlugin(&bindings{file: "graph/exec.generated.go"}))
}
