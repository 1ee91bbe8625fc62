package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/graph"
	"emporium/internal/contract"
	"emporium/internal/usage"
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

func (p *program) schemaUsage(ctx context.Context, c *cli.Command) error {
	return p.with(ctx, func(a *App) error {
		seen, err := a.services.Users.SchemaUsage(ctx)
		if err != nil {
			return err
		}
		elements := contract.Elements(graph.Schema())
		uses := map[string][]usage.Seen{}
		since := time.Time{}
		for _, s := range seen {
			uses[s.Coordinate] = append(uses[s.Coordinate], s)
			if since.IsZero() || s.FirstSeen.Before(since) {
				since = s.FirstSeen
			}
		}
		if since.IsZero() {
			p.say("nothing was counted so far")
		} else {
			p.say("counted since %s, or for as long as SCHEMA_USAGE_RETENTION says", minute(since))
		}
		chosen, err := chosenCoordinates(elements, uses, c.Args().Slice(), c.Bool("deprecated"))
		if err != nil {
			return err
		}
		if c.Bool("unused") {
			p.printUnused(elements, uses, chosen)
			return nil
		}
		return p.printUsage(uses, chosen, c.Args().Present() || c.Bool("deprecated"))
	})
}

// chosenCoordinates returns, in order, what the arguments ask for of what is in the schema or was used: all without any.
func chosenCoordinates(elements []contract.Element, uses map[string][]usage.Seen, asked []string, deprecated bool) ([]string, error) {
	var all []string
	for _, e := range elements {
		if !deprecated || e.Deprecated != nil {
			all = append(all, e.Coordinate)
		}
	}
	if !deprecated {
		for coordinate := range uses { // of what is in the schema no more, too
			all = append(all, coordinate)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(asked) == 0 {
		return all, nil
	}
	within := func(coordinate, of string) bool {
		rest, ok := strings.CutPrefix(coordinate, of)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '(')
	}
	var chosen []string
	for _, of := range asked {
		before := len(chosen)
		for _, coordinate := range all {
			if within(coordinate, of) {
				chosen = append(chosen, coordinate)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("there is no %q, and nobody has used it", of)
		}
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), nil
}

// printUnused lists what was not used; not the arguments of fields that were not, nor what can not be known.
func (p *program) printUnused(elements []contract.Element, uses map[string][]usage.Seen, chosen []string) {
	for _, e := range elements {
		_, isChosen := slices.BinarySearch(chosen, e.Coordinate)
		ofUnused := strings.Contains(e.Owner, ".") && uses[e.Owner] == nil
		if isChosen && uses[e.Coordinate] == nil && !ofUnused && !e.Shown {
			fmt.Fprintln(p.out, e.Coordinate)
		}
	}
}

// printUsage prints who has used what; with never also what nobody has.
func (p *program) printUsage(uses map[string][]usage.Seen, chosen []string, never bool) error {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COORDINATE\tCLIENT\tVERSION\tCOUNT\tFIRST SEEN\tLAST SEEN")
	for _, coordinate := range chosen {
		for _, s := range uses[coordinate] {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", coordinate, cmp.Or(s.Name, "(unnamed)"), cmp.Or(s.Version, "-"), s.Count, minute(s.FirstSeen), minute(s.LastSeen))
		}
		if never && uses[coordinate] == nil {
			fmt.Fprintf(w, "%s\t(nobody)\t-\t0\t-\t-\n", coordinate)
		}
	}
	return w.Flush()
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02T15:04Z") }
