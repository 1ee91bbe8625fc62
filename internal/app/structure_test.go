package app_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport says for each package which packages of this module it may import; "…" at the end stands for all below. What
// is not listed may import nothing of the module, and what is not here at all fails the test.
var mayImport = map[string][]string{
	"emporium":                               {"internal/app"},
	"bench":                                  {"internal/devstack", "internal/seal", "internal/id", "internal/money", "bench/…"},
	"e2e/crash":                              {},
	"bench/handwritten":                      {"internal/seal", "internal/id", "internal/money"},
	"graph":                                  {"graph/…", "internal/user", "internal/product", "internal/order", "internal/payment", "internal/auth", "internal/fault", "internal/id", "internal/jobs", "internal/money", "internal/page", "internal/postgres", "internal/telemetry"},
	"graph/exec":                             {},
	"graph/generate":                         {},
	"graph/loader":                           {"internal/user", "internal/product", "internal/order", "internal/payment", "internal/fault", "internal/id", "internal/page"},
	"graph/scalar":                           {"graph/exec", "internal/fault", "internal/id", "internal/seal"},
	"internal/app":                           {"graph", "graph/loader", "internal/…", "migrations"},
	"internal/user":                          domain(),
	"internal/product":                       domain("internal/markup"),
	"internal/order":                         domain("internal/product", "internal/user"),
	"internal/payment":                       domain("internal/order", "internal/payment/provider"),
	"internal/payment/provider":              {"internal/money"},
	"internal/payment/provider/providertest": {"internal/payment/provider"},
	"internal/payment/stripe":                {"internal/money", "internal/payment/provider"},
	"internal/payment/webhook":               {"internal/fault"},
	"internal/payment/testprovider":          {"internal/httpserver", "internal/money", "internal/payment/provider"},
	"internal/markup":                        {},
	"internal/productcsv":                    {"internal/product", "internal/fault", "internal/id", "internal/markup", "internal/money"},
	"internal/seed":                          {"internal/user", "internal/product", "internal/order", "internal/payment", "internal/auth", "internal/fault", "internal/id", "internal/money", "internal/page", "internal/postgres"},
	"internal/auth":                          {"internal/fault"},
	"internal/config":                        {"internal/auth", "internal/mail", "internal/money"},
	"internal/devstack":                      {},
	"internal/devstack/withservers":          {"internal/devstack"},
	"internal/fault":                         {},
	"internal/httpserver":                    {"internal/telemetry"},
	"internal/httpserver/playground":         {},
	"internal/id":                            {"internal/fault"},
	"internal/idempotency":                   {"internal/fault", "internal/postgres"},
	"internal/jobs":                          {"internal/auth", "internal/fault", "internal/id", "internal/page", "internal/postgres"},
	"internal/mail":                          {},
	"internal/money":                         {"internal/fault"},
	"internal/page":                          {"internal/fault"},
	"internal/postgres":                      {"internal/fault", "internal/id", "internal/page"},
	"internal/postgres/pgtest":               {"internal/devstack", "internal/postgres", "migrations"},
	"internal/reseal":                        {"internal/id", "internal/postgres", "internal/seal"},
	"internal/seal":                          {"internal/fault"},
	"internal/telemetry":                     {"internal/auth", "internal/fault", "internal/postgres"},
	"migrations":                             {},
}

// domain returns what the package of a domain may import.
func domain(others ...string) []string {
	return append(others, "internal/auth", "internal/fault", "internal/id", "internal/idempotency", "internal/jobs", "internal/mail", "internal/money", "internal/page",
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
