package manifest_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"emporium/internal/manifest"
)

func sum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// load reads files with these texts, by name; documents with "bad" in them are bad.
func load(t *testing.T, files map[string]string, paths ...string) (*manifest.Set, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range paths {
		paths[i] = filepath.Join(dir, paths[i])
	}
	set, problems := manifest.Load(paths, func(document string) error {
		if strings.Contains(document, "bad") {
			return errors.New("it is bad")
		}
		return nil
	})
	return set, strings.ReplaceAll(fmt.Sprint(errors.Join(problems...)), dir+"/", "")
}

// apollo is what @apollo/generate-persisted-query-manifest writes.
func apollo(operations ...string) string {
	return "{\n  \"format\": \"apollo-persisted-query-manifest\",\n  \"version\": 1,\n  \"operations\": [\n    " + strings.Join(operations, ",\n    ") + "\n  ]\n}\n"
}

func operation(id, body string) string {
	return fmt.Sprintf("{\n      \"id\": %q,\n      \"name\": \"N\",\n      \"type\": \"query\",\n      \"body\": %q\n    }", id, body)
}

func TestFormats(t *testing.T) {
	t.Parallel()
	set, problems := load(t, map[string]string{
		"apollo.json":        apollo(operation(sum("{ a }"), "{ a }"), operation("custom/1", "{ b }")),
		"relay.json":         `{"3be4abb81fa595e25eb725b2c6a87508": "{ c }", "operations": "{ d }", "format": "{ a }"}`,
		"apps/codegen.json":  fmt.Sprintf(`{%q: "{ e }", "sha256:%s": "{ a }"}`, sum("{ e }"), sum("{ a }")),
		"apps/empty.json":    `{}`,
		"apps/manifest.yaml": `x`,
	}, "apollo.json", "relay.json", "apps")
	if problems != "<nil>" {
		t.Fatal(problems)
	}
	for id, want := range map[string]string{
		sum("{ a }"): "{ a }", "sha256:" + sum("{ a }"): "{ a }", strings.ToUpper(sum("{ a }")): "{ a }", "custom/1": "{ b }", sum("{ b }"): "{ b }",
		"3be4abb81fa595e25eb725b2c6a87508": "{ c }", "sha256:" + sum("{ c }"): "{ c }", "operations": "{ d }", "format": "{ a }", sum("{ e }"): "{ e }",
		"": "", "custom": "", "sha256:custom/1": "", sum("{ f }"): "", "sha256:": "",
	} {
		if got, ok := set.Find(id); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v, want %q", id, got, ok, want)
		}
	}
	for text, want := range map[string]bool{"{ a }": true, "{ e }": true, "{ a}": false, "": false} {
		if set.Has(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	var formats []string
	for _, f := range set.Files {
		formats = append(formats, fmt.Sprint(f.Format, " ", f.Documents))
	}
	if got := strings.Join(formats, ", "); got != "Apollo 2, map of IDs 3, map of IDs 2, map of IDs 0" || set.Len() != 5 {
		t.Errorf("%s; %d documents", got, set.Len())
	}
	var none *manifest.Set
	if _, ok := none.Find(sum("")); ok || none.Has("") || none.Len() != 0 {
		t.Error("nothing has documents")
	}
}

func TestProblemsAreNamed(t *testing.T) {
	t.Parallel()
	a, b := sum("{ a }"), sum("{ b }")
	for _, c := range []struct {
		files []string // one.json, two.json
		want  string
	}{
		{[]string{apollo(operation("1", "{ a }"), operation("2", "{ bad }"))}, `one.json:11: "2" (N): it is bad`},
		{[]string{"{\n\n\"1\": \"{ bad }\"}"}, `one.json:3: "1": it is bad`},
		{[]string{`{"1": "{ a }"}`, "{\n\"1\": \"{ b }\"}"}, `two.json:2: "1": another document has this ID, at one.json:1`},
		{[]string{`{"1": "{ a }"}`, apollo(operation("1", "{ a }"))}, `<nil>`},
		{[]string{"{\"1\": \"{ a }\",\n\"1\": \"{ b }\"}"}, `one.json:2: "1": another document has this ID, at one.json:1`},
		{[]string{`{"sha256:` + b + `": "{ a }"}`}, `one.json:1: "sha256:` + b + `": it is not the SHA-256 of the document`},
		{[]string{`{"` + b + `": "{ a }"}`}, `<nil>`}, // a digest of another kind, as long
		{[]string{`{"` + b + `": "{ a }", "x": "{ b }"}`}, `one.json:1: "` + b + `": it is the SHA-256 of another document`},
		{[]string{`{"` + a + `": "{ a }", "x": "{ b }"}`}, `<nil>`},
		{[]string{`{"": "{ a }"}`}, `one.json:1: "": an ID and a document are needed`},
		{[]string{apollo(`{"id": "1"}`)}, `one.json:5: "1": an ID and a document are needed`},
		{[]string{apollo(`{"id": 1}`)}, `one.json:5: "": an ID and a document are needed`},
		{[]string{`{"1": {"query": "{ a }"}}`}, `one.json:1: "1" is not a text: manifests are Apollo's, or an object of documents by ID`},
		{[]string{`{"format": "other", "operations": []}`}, `one.json:1: a list of operations has the format apollo-persisted-query-manifest and the version 1`},
		{[]string{`{"format": "apollo-persisted-query-manifest", "version": 2, "operations": []}`}, `one.json:1: a list of operations has the format apollo-persisted-query-manifest and the version 1`},
		{[]string{"{\n\"1\": }"}, `one.json:2: invalid character '}' looking for beginning of value`},
		{[]string{`[]`}, `one.json:1: it is no JSON object`},
		{[]string{`"{ a }"`}, `one.json:1: it is no JSON object`},
		{[]string{``}, `one.json:1: unexpected end of JSON input`},
		{[]string{`{} {}`}, `one.json:1: invalid character '{' after top-level value`},
	} {
		files, paths := map[string]string{}, []string{}
		for i, text := range c.files {
			name := []string{"one.json", "two.json"}[i]
			files[name], paths = text, append(paths, name)
		}
		if _, got := load(t, files, paths...); got != c.want {
			t.Errorf("%q:\n%s, want\n%s", c.files, got, c.want)
		}
	}
	if _, got := load(t, map[string]string{"d/x.txt": ""}, "d", "none"); !strings.HasPrefix(got, "d: no file in it ends in .json\n") || !strings.Contains(got, "none: no such file") {
		t.Error(got)
	}
}
