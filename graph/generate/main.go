// Generate turns schema.graphqls into graph/*.generated.go: gqlgen's code, and beside it, in exec.generated.go, what
// package exec reads the graph by: for each field a function that takes its value from the Go type behind it, and which
// Go fields that reads. Resolvers of fields that are edges are generated too: they go along the edge.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
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
	log.SetOutput(withoutResolvers{os.Stderr})
	return api.Generate(cfg, api.AddPlugin(&bindings{file: "graph/exec.generated.go"}))
}

// withoutResolvers is a log that leaves out what gqlgen says of each edge: that it has found no method for it.
type withoutResolvers struct{ io.Writer }

// Write writes a line.
func (w withoutResolvers) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("adding resolver method")) {
		return len(line), nil
	}
	return w.Writer.Write(line)
}
