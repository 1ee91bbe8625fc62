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
	"path/filepath"
	"regexp"
	"strings"

	"github.com/99designs/gqlgen/api"
	"github.com/99designs/gqlgen/codegen/config"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
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
	if cfg.Sources, err = sections(cfg.Sources); err != nil {
		return err
	}
	log.SetOutput(withoutResolvers{os.Stderr})
	return api.Generate(cfg, api.AddPlugin(&bindings{file: "graph/exec.generated.go"}))
}

// heading begins a section of the contract.
var heading = regexp.MustCompile(`(?m)^# -+\n# (\w+)[^\n]*\n# -+\n`)

// sections makes a source of each section of the contract, since gqlgen writes a file of code for each source: one for all
// would have well over a megabyte. What stands before the first heading goes with it.
func sections(sources []*ast.Source) ([]*ast.Source, error) {
	if _, err := gqlparser.LoadSchema(sources...); err != nil { // here the lines are still those of the file
		return nil, err
	}
	var all []*ast.Source
	for _, source := range sources {
		found := heading.FindAllStringSubmatchIndex(source.Input, -1)
		for i, at := range found {
			from, to := at[0], len(source.Input)
			if i == 0 {
				from = 0
			}
			if i+1 < len(found) {
				to = found[i+1][0]
			}
			name := strings.ToLower(source.Input[at[2]:at[3]])
			all = append(all, &ast.Source{Name: filepath.Join(filepath.Dir(source.Name), name+".graphqls"), Input: source.Input[from:to]})
		}
	}
	return all, nil
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
