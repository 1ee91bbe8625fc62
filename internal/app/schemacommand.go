package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v3"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/graph"
	"emporium/internal/contract"
)

// schemaFile is where the contract is written, seen from the top of the repository.
const schemaFile = "schema.graphqls"

func loadSchema(file string) (*ast.Schema, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return contract.Load(file, string(text)) // its errors name the file and the line
}

func (p *program) schemaLint(_ context.Context, c *cli.Command) error {
	file := schemaFile
	if c.Args().Present() {
		file = c.Args().First()
	}
	s, err := loadSchema(file)
	if err != nil {
		return err
	}
	found := contract.Lint(s)
	for _, f := range found {
		fmt.Fprintf(p.out, "%s: %s: %s\n", f.Place, f.Coordinate, f.What)
	}
	if len(found) > 0 {
		return fmt.Errorf("%d findings", len(found))
	}
	return nil
}

func (p *program) schemaPrint(context.Context, *cli.Command) error {
	return contract.Print(p.out, graph.Schema())
}

func (p *program) schemaDiff(_ context.Context, c *cli.Command) error {
	if n := c.Args().Len(); n < 1 || n > 2 {
		return errors.New("name the file of the old schema, and perhaps that of the new one")
	}
	today := time.Now()
	if c.IsSet("on") {
		today = c.Timestamp("on")
	}
	old, err := loadSchema(c.Args().First())
	if err != nil {
		return err
	}
	new := graph.Schema()
	if file := c.Args().Get(1); file != "" {
		if new, err = loadSchema(file); err != nil {
			return err
		}
	}
	breaks := 0
	for _, change := range contract.Diff(old, new, today.UTC()) {
		fmt.Fprintf(p.out, "%-9s  %s: %s: %s\n", change.Level, change.Coordinate, change.What, change.Why)
		if change.Level == contract.Breaking {
			breaks++
		}
	}
	if breaks > 0 {
		return fmt.Errorf("%d changes break clients", breaks)
	}
	return nil
}
