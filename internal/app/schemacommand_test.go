package app_test

import (
	"path/filepath"
	"strings"
	"testing"

	"emporium/internal/postgres/pgtest"
)

// TestSchemaCommands lints, prints and compares schemas, without any configuration.
func TestSchemaCommands(t *testing.T) {
	t.Parallel()
	const contract = "../../schema.graphqls"
	if out := must(t, nil, "schema", "lint", contract); out != "" {
		t.Errorf("lint: %s", out)
	}
	dir := t.TempDir()
	write := func(name, text string) string { return writeFile(t, dir, name, text) }
	printed := must(t, nil, "schema", "print")
	if !strings.Contains(printed, "\ntype Query {\n") || must(t, nil, "schema", "print") != printed {
		t.Error("what is printed is not the schema, or not the same twice")
	}
	served := write("served.graphqls", printed)
	for _, args := range [][]string{{served}, {contract}, {served, contract}} {
		if out := must(t, nil, append([]string{"schema", "diff"}, args...)...); out != "" {
			t.Errorf("%v differ: %s", args, out)
		}
	}

	const from = "type Query { a: Int b: Int @deprecated(reason: \"Use `a`. Removed after 2027-03-31.\") }"
	old, new := write("old.graphqls", from), write("new.graphqls", "type Query { a: Int c: [Int }")
	if out, err := command(t, nil, "schema", "diff", old, new); err == nil || !strings.Contains(err.Error(), "new.graphqls:1:") || out != "" {
		t.Errorf("a document that is none: %v\n%s", err, out)
	}
	new = write("new.graphqls", "type Query { a: Int c: [Int] }")
	const added = "safe       Query.c: field was added: nobody can have asked for it\n"
	out, err := command(t, nil, "schema", "diff", "--on", "2027-03-31", old, new)
	if want := "breaking   Query.b: field was removed: documents that name it become invalid\n" + added; err == nil || !strings.HasPrefix(err.Error(), "1 changes break clients\n") || out != want {
		t.Errorf("on the last day: %v\n%s", err, out)
	}
	out = must(t, nil, "schema", "diff", "--on", "2027-04-01", old, new)
	if want := "safe       Query.b: field was removed: its deprecation announced it: Use `a`. Removed after 2027-03-31.\n" + added; out != want {
		t.Errorf("on the day after: %s", out)
	}
	out, err = command(t, nil, "schema", "lint", new)
	if err == nil || !strings.HasPrefix(err.Error(), "3 findings\n") || !strings.HasPrefix(out, new+":1: Query: it has no description\n") {
		t.Errorf("lint of a bad one: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"diff"}, {"diff", old, new, new}, {"diff", filepath.Join(dir, "none")}, {"lint", filepath.Join(dir, "none")}} {
		if _, err := command(t, nil, append([]string{"schema"}, args...)...); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// TestSchemaUsage counts at a server, which writes when it stops, and asks by the command.
func TestSchemaUsage(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t))
	if out := must(t, env, "schema", "usage"); strings.Count(out, "\n") != 1 {
		t.Errorf("before anything was counted:\n%s", out)
	}
	s := start(t, env)
	s.untilReady()
	for range 3 {
		s.ask("", `{ categories { name } product(slug: "none") { title } }`)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	table := func(args ...string) string { // without what differs from run to run
		t.Helper()
		var lines []string
		for line := range strings.Lines(must(t, env, append([]string{"schema", "usage"}, args...)...)) {
			fields := strings.Fields(line)
			lines = append(lines, strings.Join(fields[:min(4, len(fields))], " "))
		}
		return strings.Join(lines, "\n")
	}
	const head = "COORDINATE CLIENT VERSION COUNT\n"
	if got := table(); got != head+"Category.name (unnamed) - 3\nProduct.title (unnamed) - 3\nQuery.categories (unnamed) - 3\nQuery.product (unnamed) - 3\nQuery.product(slug:) (unnamed) - 3" {
		t.Errorf("all:\n%s", got)
	}
	if got := table("Query.product", "CategoryFacet"); got != head+"CategoryFacet.category (nobody) - 0\nCategoryFacet.count (nobody) - 0\n"+
		"Query.product (unnamed) - 3\nQuery.product(id:) (nobody) - 0\nQuery.product(slug:) (unnamed) - 3" {
		t.Errorf("some:\n%s", got)
	}
	if got := table("--unused", "Query.product", "Query.products", "SortDirection", "CategoryFacet", "UserErrorCode"); got !=
		"CategoryFacet.category\nCategoryFacet.count\nQuery.product(id:)\nQuery.products\nSortDirection.ASC\nSortDirection.DESC" {
		t.Errorf("unused:\n%s", got)
	}
	if got := table("--deprecated"); got != strings.TrimSpace(head) {
		t.Errorf("deprecated:\n%s", got)
	}
	if _, err := command(t, env, "schema", "usage", "Query.prod"); err == nil || !strings.Contains(err.Error(), `"Query.prod"`) {
		t.Errorf("what there is not: %v", err)
	}
}
