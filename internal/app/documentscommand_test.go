package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"emporium/internal/postgres/pgtest"
)

// TestDocumentsCheck holds manifests against the schema, and has the server refuse to start with what it finds bad.
func TestDocumentsCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string { return writeFile(t, dir, name, text) }
	good := write("relay.json", `{"c1": "query Names { categories { name } }"}`)
	if out := must(t, nil, "documents", "check", good); out != good+": 1 documents (map of IDs)\n1 different documents, all good\n" {
		t.Errorf("a good one:\n%s", out)
	}
	bad := write("bad.json", "{\n  \"c1\": \"query Names {\\n  nothing\\n}\",\n  \"c2\": \"query Names { categories { slug } }\"\n}")
	out, err := command(t, nil, "documents", "check", good, bad)
	if err == nil || !strings.HasPrefix(err.Error(), "2 problems") || !strings.Contains(out, bad+":2: \"c1\": line 2 of the document: Cannot query field") ||
		!strings.Contains(out, "another document has this ID, at "+good+":1") || !strings.Contains(out, bad+": 2 documents") {
		t.Errorf("a bad one: %v\n%s", err, out)
	}
	if _, err := command(t, nil, "documents", "check", good, filepath.Join(dir, "none")); err == nil {
		t.Error("a file that there is not: no error")
	}
	if _, err := command(t, nil, "documents", "check"); err == nil {
		t.Error("nothing to check: no error")
	}
	if out, err := command(t, []string{"LIMIT_TOKENS=5"}, "documents", "check", good); err == nil || !strings.Contains(out, "token limit") {
		t.Errorf("beyond a limit: %v\n%s", err, out)
	}

	env := environment(t, pgtest.New(t), "TRUSTED_DOCUMENTS="+dir)
	if _, err := command(t, env, "serve"); err == nil || !strings.Contains(err.Error(), "TRUSTED_DOCUMENTS:\n"+bad+":2: \"c1\"") {
		t.Errorf("the server has started, or: %v", err)
	}
	s := start(t, append(env, "TRUSTED_DOCUMENTS="+good, "TRUSTED_DOCUMENTS_MODE=require"))
	s.untilReady()
	if got := s.ask("", `query Names { categories { name } }`); got != `{"data":{"categories":[]}}` {
		t.Errorf("a trusted document: %s", got)
	}
	if got := s.ask("", `{ categories { name } }`); !strings.Contains(got, `"FORBIDDEN"`) {
		t.Errorf("another one: %s", got)
	}
}

// writeFile writes a file and returns its path.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
