package app_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayImport says for each package which packages of this module it may import; "…" at the end stands for all below. What
// is not listed may import nothing of the module, and what is not here at all fails the test.
var mayImport = map[string][]string{
	"emporium":                               {"internal/app"},
	"bench":                                  {"internal/cache", "internal/devstack", "internal/httpserver", "internal/postgres", "internal/redisclient", "internal/seal", "internal/id", "internal/money", "bench/…"},
	"e2e/attack":                             {},
	"e2e/crash":                              {},
	"e2e/race":                               {},
	"e2e/shop":                               {"internal/postgres/pgtest", "internal/redisclient/redistest"},
	"e2e/soak":                               {},
	"bench/handwritten":                      {"internal/seal", "internal/id", "internal/money"},
	"graph":                                  {"graph/…", "internal/user", "internal/product", "internal/order", "internal/payment", "internal/audit", "internal/auth", "internal/cache", "internal/cache/remote", "internal/fault", "internal/httpserver", "internal/id", "internal/intake", "internal/jobs", "internal/manifest", "internal/money", "internal/page", "internal/postgres", "internal/telemetry", "internal/usage"},
	"graph/exec":                             {},
	"graph/generate":                         {},
	"graph/loader":                           {"internal/user", "internal/product", "internal/order", "internal/payment", "internal/fault", "internal/id", "internal/page"},
	"graph/scalar":                           {"graph/exec", "internal/fault", "internal/id", "internal/intake", "internal/seal"},
	"internal/app":                           {"graph", "graph/loader", "internal/…", "migrations"},
	"internal/user":                          domain("internal/usage"),
	"internal/product":                       domain("internal/intake", "internal/markup"),
	"internal/order":                         domain("internal/intake", "internal/product", "internal/user"),
	"internal/payment":                       domain("internal/order", "internal/payment/provider"),
	"internal/payment/provider":              {"internal/money"},
	"internal/payment/provider/providertest": {"internal/payment/provider"},
	"internal/payment/stripe":                {"internal/money", "internal/payment/provider"},
	"internal/payment/webhook":               {"internal/fault"},
	"internal/payment/testprovider":          {"internal/httpserver", "internal/money", "internal/payment/provider"},
	"internal/markup":                        {"internal/intake"},
	"internal/productcsv":                    {"internal/product", "internal/fault", "internal/id", "internal/intake", "internal/markup", "internal/money"},
	"internal/seed":                          {"internal/user", "internal/product", "internal/order", "internal/payment", "internal/auth", "internal/fault", "internal/id", "internal/money", "internal/page", "internal/postgres"},
	"internal/audit":                         {"internal/auth", "internal/id", "internal/money"},
	"internal/auth":                          {"internal/fault"},
	"internal/cache":                         {"internal/cache/remote", "internal/postgres", "internal/postgres/logical"},
	"internal/cache/cachetest":               {},
	"internal/cache/cdn":                     {},
	"internal/cache/remote":                  {"internal/seal"},
	"internal/contract":                      {},
	"internal/config":                        {"internal/auth", "internal/cache/cdn", "internal/mail", "internal/money", "internal/redisclient"},
	"internal/devstack":                      {},
	"internal/devstack/withservers":          {"internal/devstack"},
	"internal/fault":                         {},
	"internal/feed":                          {"internal/fault"},
	"internal/httpserver":                    {"internal/telemetry"},
	"internal/httpserver/playground":         {},
	"internal/id":                            {"internal/fault"},
	"internal/idempotency":                   {"internal/fault", "internal/postgres"},
	"internal/intake":                        {"internal/fault"},
	"internal/jobs":                          {"internal/audit", "internal/auth", "internal/fault", "internal/id", "internal/page", "internal/postgres"},
	"internal/mail":                          {},
	"internal/manifest":                      {},
	"internal/money":                         {"internal/fault"},
	"internal/page":                          {"internal/fault"},
	"internal/postgres":                      {"internal/fault", "internal/id", "internal/page"},
	"internal/postgres/logical":              {},
	"internal/postgres/pgtest":               {"internal/devstack", "internal/postgres", "migrations"},
	"internal/redisclient":                   {},
	"internal/redisclient/redistest":         {"internal/devstack"},
	"internal/reseal":                        {"internal/id", "internal/postgres", "internal/seal"},
	"internal/seal":                          {"internal/fault"},
	"internal/telemetry":                     {"internal/auth", "internal/fault", "internal/postgres"},
	"internal/usage":                         {},
	"migrations":                             {},
}

// domain returns what the package of a domain may import.
func domain(others ...string) []string {
	return append(others, "internal/audit", "internal/auth", "internal/fault", "internal/feed", "internal/id", "internal/idempotency", "internal/jobs", "internal/mail", "internal/money", "internal/page",
		"internal/postgres", "internal/reseal", "internal/seal")
}

// TestStructureDependenciesPointOneWay holds every import against the layout: server → app → graph → loader → domains →
// small packages.
func TestStructureDependenciesPointOneWay(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "emporium/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(p.ImportPath, "emporium/")
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s has no place in the layout: add it to mayImport", name)
			continue
		}
		for _, i := range p.Imports {
			i, ours := strings.CutPrefix(i, "emporium/")
			if ours && !slices.ContainsFunc(allowed, func(a string) bool {
				prefix, all := strings.CutSuffix(a, "…")
				return a == i || all && strings.HasPrefix(i, prefix)
			}) {
				t.Errorf("%s must not import %s", name, i)
			}
		}
	}
	if seen < len(mayImport) {
		t.Errorf("%d packages were looked at, %d are in the layout: remove what is gone from mayImport", seen, len(mayImport))
	}
}

// TestStructureChangesAreTold wants every statement that updates what can be followed to say so in changed_in.
func TestStructureChangesAreTold(t *testing.T) {
	untold := map[string]int{"internal/order/drive.go": 2, "internal/order/reseal.go": 1} // the lease, and other bytes of the same
	found := map[string]int{}
	for _, domain := range []string{"order", "product"} {
		files, err := filepath.Glob("../" + domain + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				text, ok := n.(*ast.BasicLit)
				if ok && changes.MatchString(text.Value) {
					name := "internal" + strings.TrimPrefix(file, "..")
					if found["all"]++; !strings.Contains(text.Value, "changed_in = pg_current_xact_id()") {
						found[name]++
					}
				}
				return true
			})
		}
	}
	all := found["all"]
	delete(found, "all")
	if !maps.Equal(found, untold) || all < 14 {
		t.Errorf("statements without changed_in: %v, not %v; %d statements were seen", found, untold, all)
	}
}

var changes = regexp.MustCompile(`(?i)UPDATE (orders\.orders|products\.stock)\b|INTO products\.stock AS s[^;]*DO UPDATE`)
