// Package manifest reads the manifests in which frontends list the documents that they send: Apollo's, and the map from ID to
// document that relay-compiler and the client preset of graphql-codegen write.
package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Set is the documents of manifests. A nil one is empty.
type Set struct {
	Files    []File
	ids      map[string]entry
	digests  map[[sha256.Size]byte]string
	texts    map[string]bool // and whether they were found good
	problems []error
}

// File is a manifest that was read.
type File struct {
	Name      string
	Format    string
	Documents int
}

// The formats, as they are named to people.
const (
	Apollo = "Apollo"
	Map    = "map of IDs" // Relay, graphql-codegen
)

// entry is a document of a manifest.
type entry struct {
	id, name, text string
	offset         int64
	place          string // FILE:LINE
}

// Load reads manifests: files, or directories with files that end in .json. Check says what is wrong with a document. Each
// problem names the file, the line, and the ID; all are returned.
func Load(paths []string, check func(document string) error) (*Set, []error) {
	s := &Set{ids: map[string]entry{}, digests: map[[sha256.Size]byte]string{}, texts: map[string]bool{}}
	for _, path := range paths {
		files, err := filesOf(strings.TrimSpace(path))
		if err != nil {
			s.problems = append(s.problems, err)
		}
		for _, file := range files {
			s.read(file, check)
		}
	}
	for id, e := range s.ids {
		if digest, ok := ParseDigest(id); ok {
			if of, ok := s.digests[digest]; ok && of != e.text {
				s.fail(e, "it is the SHA-256 of another document")
			}
		}
	}
	return s, s.problems
}

func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	files, err := filepath.Glob(filepath.Join(escaped.Replace(path), "*.json"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: no file in it ends in .json", path)
	}
	return files, err
}

var escaped = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func (s *Set) fail(e entry, what string) {
	name := fmt.Sprintf("%q", e.id)
	if e.name != "" {
		name += " (" + e.name + ")"
	}
	s.problems = append(s.problems, fmt.Errorf("%s: %s: %s", e.place, name, what))
}

// read adds the documents of a file.
func (s *Set) read(file string, check func(string) error) {
	b, err := os.ReadFile(file)
	if err != nil {
		s.problems = append(s.problems, err)
		return
	}
	at := func(offset int64) string { return fmt.Sprintf("%s:%d", file, 1+bytes.Count(b[:offset], []byte("\n"))) }
	format, entries, err := parse(b)
	if err != nil {
		offset := int64(0)
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			offset = min(syntax.Offset, int64(len(b)))
		}
		s.problems = append(s.problems, fmt.Errorf("%s: %w", at(offset), err))
		return
	}
	s.Files = append(s.Files, File{file, format, len(entries)})
	for _, e := range entries {
		e.place = at(e.offset)
		s.add(e, check)
	}
}

func (s *Set) add(e entry, check func(string) error) {
	sum := sha256.Sum256([]byte(e.text))
	prefixed, isPrefixed := strings.CutPrefix(e.id, Prefix)
	digest, _ := ParseDigest(prefixed)
	before, again := s.ids[e.id]
	switch {
	case e.id == "" || e.text == "":
		s.fail(e, "an ID and a document are needed")
		return
	case isPrefixed && digest != sum:
		s.fail(e, "it is not the SHA-256 of the document")
	case again && before.text != e.text:
		s.fail(e, "another document has this ID, at "+before.place)
	}
	good, known := s.texts[e.text]
	if !known {
		err := check(e.text)
		if good = err == nil; !good {
			s.fail(e, err.Error())
		}
		s.texts[e.text] = good
	} else if !good {
		s.fail(e, "its document is bad, as was said before")
	}
	if !again {
		s.ids[e.id] = e
	}
	s.digests[sum] = e.text
}

// parse returns what a manifest holds. What sets Apollo's apart is its member format, beside a list of operations.
func parse(b []byte) (format string, entries []entry, err error) {
	all, err := elements(b)
	if err == nil && bytes.TrimSpace(b)[0] != '{' {
		err = errNoObject
	}
	if err != nil {
		return "", nil, err
	}
	for _, member := range all {
		if member.id == "operations" && member.text != "" && member.text[0] == '[' {
			entries, err = apollo(all, member)
			return Apollo, entries, err
		}
	}
	for i, member := range all {
		if json.Unmarshal([]byte(member.text), &all[i].text) != nil {
			return "", nil, fmt.Errorf("%q is not a text: manifests are Apollo's, or an object of documents by ID", member.id)
		}
	}
	return Map, all, nil
}

func apollo(all []entry, operations entry) ([]entry, error) {
	said := map[string]string{}
	for _, member := range all {
		said[member.id] = member.text
	}
	if said["format"] != `"apollo-persisted-query-manifest"` || said["version"] != "1" {
		return nil, errors.New("a list of operations has the format apollo-persisted-query-manifest and the version 1")
	}
	entries, err := elements([]byte(operations.text))
	for i := range entries {
		e := &entries[i]
		var o struct{ ID, Name, Body string }
		if json.Unmarshal([]byte(e.text), &o) != nil {
			o.ID, o.Body = "", "" // which is told of its line
		}
		*e = entry{id: o.ID, name: o.Name, text: o.Body, offset: operations.offset + e.offset}
	}
	return entries, err
}

var errNoObject = errors.New("it is no JSON object")

// elements returns the members of a JSON object, or the elements of a list, in order, as the JSON that they are. Unlike a map it
// keeps those with the same name.
func elements(b []byte) (all []entry, err error) {
	if err := json.Unmarshal(b, &json.RawMessage{}); err != nil { // so that nothing below fails for the syntax
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	open, err := d.Token()
	if open != json.Delim('{') && open != json.Delim('[') {
		return nil, errors.Join(errNoObject, err)
	}
	for d.More() {
		var e entry
		if open == json.Delim('{') {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			e.id, _ = name.(string)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		e.text, e.offset = string(value), d.InputOffset()-int64(len(value))
		all = append(all, e)
	}
	return all, nil
}

// Prefix begins an ID that is the SHA-256 of its document (GraphQL over HTTP, "Persisted Documents").
const Prefix = "sha256:"

// ParseDigest reads a SHA-256 in hexadecimal.
func ParseDigest(text string) (digest [sha256.Size]byte, ok bool) {
	b, err := hex.DecodeString(strings.ToLower(text))
	if err != nil || len(b) != sha256.Size {
		return digest, false
	}
	return [sha256.Size]byte(b), true
}

// Find returns the document with an ID, which may be its SHA-256 whatever the manifest calls it.
func (s *Set) Find(id string) (document string, ok bool) {
	if s == nil {
		return "", false
	}
	if e, ok := s.ids[id]; ok {
		return e.text, true
	}
	if digest, ok := ParseDigest(strings.TrimPrefix(id, Prefix)); ok {
		document, ok = s.digests[digest]
		return document, ok
	}
	return "", false
}

// Has reports whether the text is that of a document.
func (s *Set) Has(text string) bool { return s != nil && s.texts[text] }

// Len returns how many documents there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.texts)
}
