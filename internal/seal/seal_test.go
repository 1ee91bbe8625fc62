package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"

	"emporium/internal/fault"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func sealer(t testing.TB, ks *Keyset) *Sealer {
	t.Helper()
	s, err := NewSealer(ks)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var email = Field{Table: "users", Column: "email", Row: []byte("row-1")}

func TestSealRoundTrip(t *testing.T) {
	s := sealer(t, New())
	for _, pt := range [][]byte{{}, []byte("a"), []byte("kim@example.com"), bytes.Repeat([]byte{0}, 1<<16)} {
		ct := s.Seal(email, pt)
		if len(ct) != len(pt)+33 {
			t.Errorf("sealed %d bytes into %d", len(pt), len(ct))
		}
		got, err := s.Open(email, ct)
		if err != nil || got == nil || !bytes.Equal(got, pt) {
			t.Errorf("Open = %q, %v; want %q", got, err, pt)
		}
		if bytes.Equal(ct, s.Seal(email, pt)) {
			t.Error("sealed twice into the same bytes")
		}
	}
	if s.Seal(email, nil) != nil {
		t.Error("nil did not stay nil")
	}
	if got, err := s.Open(email, nil); got != nil || err != nil {
		t.Errorf("Open(nil) = %v, %v", got, err)
	}
	if got, err := s.OpenString(email, s.SealString(email, "")); got != "" || err != nil {
		t.Errorf("OpenString = %q, %v", got, err)
	}
	if got, err := s.OpenString(email, nil); got != "" || err != nil {
		t.Errorf("OpenString(nil) = %q, %v", got, err)
	}
	if s.SealNullable(email, nil) != nil {
		t.Error("SealNullable(nil) is not nil")
	}
	if got, err := s.OpenNullable(email, nil); got != nil || err != nil {
		t.Errorf("OpenNullable(nil) = %v, %v", got, err)
	}
	for _, v := range []string{"", "x"} {
		if got, err := s.OpenNullable(email, s.SealNullable(email, &v)); err != nil || got == nil || *got != v {
			t.Errorf("OpenNullable = %v, %v; want %q", got, err, v)
		}
	}
}

func TestSealJSON(t *testing.T) {
	type address struct {
		Line string
		Zip  *string
	}
	s := sealer(t, New())
	want := address{Line: "1 High Street", Zip: new("12345")}
	ct, err := SealJSON(s, email, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenJSON[address](s, email, ct)
	if err != nil || got.Line != want.Line || *got.Zip != *want.Zip {
		t.Errorf("OpenJSON = %+v, %v", got, err)
	}
	if ct, err := SealJSON(s, email, (*address)(nil)); ct != nil || err != nil {
		t.Errorf("SealJSON(nil) = %x, %v", ct, err)
	}
	if got, err := OpenJSON[*address](s, email, nil); got != nil || err != nil {
		t.Errorf("OpenJSON(nil) = %v, %v", got, err)
	}
	if _, err := SealJSON(s, email, func() {}); err == nil {
		t.Error("sealed a func")
	}
	_, err = OpenJSON[int](s, email, ct)
	if err == nil || strings.Contains(err.Error(), "High Street") {
		t.Errorf("OpenJSON of another type: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	s := sealer(t, New())
	ct := s.SealString(email, "kim@example.com")
	for name, f := range map[string]Field{
		"table":    {Table: "user", Column: email.Column, Row: email.Row},
		"column":   {Table: email.Table, Column: "name", Row: email.Row},
		"row":      {Table: email.Table, Column: email.Column, Row: []byte("row-2")},
		"boundary": {Table: "user", Column: "semail", Row: email.Row},
		"shifted":  {Table: email.Table, Column: "emailrow", Row: []byte("-1")},
	} {
		if pt, err := s.Open(f, ct); !errors.Is(err, ErrOpen) || pt != nil {
			t.Errorf("%s: Open = %q, %v", name, pt, err)
		}
	}
	for i := range ct {
		bad := bytes.Clone(ct)
		bad[i] ^= 1
		if _, err := s.Open(email, bad); !errors.Is(err, ErrOpen) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for _, bad := range [][]byte{{}, {1}, ct[:5], ct[:len(ct)-1], append(bytes.Clone(ct), 0)} {
		if _, err := s.Open(email, bad); !errors.Is(err, ErrOpen) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	if _, err := sealer(t, New()).Open(email, ct); !errors.Is(err, ErrOpen) {
		t.Errorf("another keyset: %v", err)
	}
	for _, f := range []Field{{}, {Table: "t", Column: "c"}, {Table: "t", Row: []byte("r")}, {Column: "c", Row: []byte("r")}} {
		if _, err := s.Open(f, ct); err == nil {
			t.Errorf("%+v: opened", f)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: sealed", f)
				}
			}()
			s.Seal(f, []byte("x"))
		}()
	}
}

func TestRotation(t *testing.T) {
	first := New()
	old := sealer(t, first)
	ct := old.SealString(email, "v1")
	index := old.Index("email", "kim@example.com")

	added, id, err := first.Add()
	if err != nil {
		t.Fatal(err)
	}
	staged := sealer(t, added)
	if staged.PrimaryKeyID() != old.PrimaryKeyID() || id == old.PrimaryKeyID() {
		t.Fatal("Add moved the primary key")
	}
	promoted, err := added.Promote(id)
	if err != nil {
		t.Fatal(err)
	}
	// Through the document, as another process gets it.
	promoted = must(Parse(must(promoted.Marshal())))
	next := sealer(t, promoted)
	if next.PrimaryKeyID() != id {
		t.Fatalf("primary key %d, want %d", next.PrimaryKeyID(), id)
	}
	if !bytes.Equal(next.Index("email", "kim@example.com"), index) {
		t.Error("the blind index changed")
	}
	ct2 := next.SealString(email, "v2")
	for _, s := range []*Sealer{next, staged} {
		if got, err := s.OpenString(email, ct); err != nil || got != "v1" {
			t.Errorf("old value: %q, %v", got, err)
		}
		if got, err := s.OpenString(email, ct2); err != nil || got != "v2" {
			t.Errorf("new value: %q, %v", got, err)
		}
	}
	if KeyIDOf(ct) != old.PrimaryKeyID() || KeyIDOf(ct2) != id {
		t.Errorf("key IDs %d, %d", KeyIDOf(ct), KeyIDOf(ct2))
	}
	if p := next.PrimaryPrefix(); len(p) != 5 || !bytes.HasPrefix(ct2, p) || bytes.HasPrefix(ct, p) {
		t.Errorf("prefix %x of %x", p, ct2)
	}
	next.PrimaryPrefix()[0] = 9
	if next.PrimaryPrefix()[0] != 1 {
		t.Error("the prefix can be written to")
	}

	pruned, err := promoted.Prune()
	if err != nil {
		t.Fatal(err)
	}
	last := sealer(t, pruned)
	if got, err := last.OpenString(email, ct2); err != nil || got != "v2" {
		t.Errorf("after pruning: %q, %v", got, err)
	}
	if _, err := last.Open(email, ct); !errors.Is(err, ErrOpen) {
		t.Errorf("a pruned key opened: %v", err)
	}
	if !bytes.Equal(last.Index("email", "kim@example.com"), index) {
		t.Error("pruning changed the blind index")
	}
	if got, err := next.OpenString(email, ct); err != nil || got != "v1" {
		t.Errorf("pruning changed the keyset it came from: %q, %v", got, err)
	}

	rotated, err := pruned.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if s := sealer(t, rotated); s.PrimaryKeyID() == id {
		t.Error("Rotate kept the primary key")
	} else if _, err := s.Open(email, ct2); err != nil {
		t.Errorf("after Rotate: %v", err)
	}
	if _, err := first.Promote(1); err == nil {
		t.Error("promoted a key that is not there")
	}
	for _, b := range [][]byte{nil, {1, 2, 3, 4}, {0, 1, 2, 3, 4, 5}} {
		if KeyIDOf(b) != 0 {
			t.Errorf("KeyIDOf(%x) = %d", b, KeyIDOf(b))
		}
	}
}

func TestIndex(t *testing.T) {
	ks := New()
	a, b := sealer(t, ks), sealer(t, must(Parse(must(ks.Marshal()))))
	want := a.Index("email", "kim@example.com")
	if len(want) != 32 {
		t.Fatalf("%d bytes", len(want))
	}
	if !bytes.Equal(want, b.Index("email", "kim@example.com")) {
		t.Error("not stable")
	}
	for _, v := range [][2]string{{"phone", "kim@example.com"}, {"email", "kim@example.org"}, {"emailk", "im@example.com"}, {"", ""}} {
		if bytes.Equal(want, a.Index(v[0], v[1])) {
			t.Errorf("%q has the same index", v)
		}
	}
	if bytes.Equal(want, sealer(t, New()).Index("email", "kim@example.com")) {
		t.Error("the index does not depend on the key")
	}
}

func TestConcurrentUse(t *testing.T) {
	ks := New()
	s := sealer(t, ks)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			f := Field{Table: "users", Column: "name", Row: fmt.Append(nil, "row", g)}
			for i := range 100 {
				want := fmt.Sprint(g, i)
				if got, err := s.OpenString(f, s.SealString(f, want)); err != nil || got != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
					return
				}
				s.Index("name", want)
			}
			if _, err := ks.Rotate(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestParseRefuses(t *testing.T) {
	good := must(New().Marshal())
	var d document
	if err := json.Unmarshal(good, &d); err != nil {
		t.Fatal(err)
	}
	tink := func(h *keyset.Handle, err error) json.RawMessage {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	doc := func(a, p json.RawMessage) []byte { return must(json.Marshal(document{AEAD: a, PRF: p})) }
	for name, b := range map[string][]byte{
		"empty":            nil,
		"no JSON":          []byte("secret=hunter2"),
		"no object":        []byte(`["hunter2"]`),
		"no parts":         []byte(`{}`),
		"no prf":           must(json.Marshal(map[string]any{"aead": d.AEAD})),
		"swapped":          doc(d.PRF, d.AEAD),
		"broken part":      doc([]byte(`{"primaryKeyId":1}`), d.PRF),
		"AES-128":          doc(tink(keyset.NewHandle(aead.AES128GCMKeyTemplate())), d.PRF),
		"no prefix":        doc(tink(keyset.NewHandle(aead.AES256GCMNoPrefixKeyTemplate())), d.PRF),
		"another cipher":   doc(tink(keyset.NewHandle(aead.ChaCha20Poly1305KeyTemplate())), d.PRF),
		"another prf":      doc(d.AEAD, tink(keyset.NewHandle(prf.HKDFSHA256PRFKeyTemplate()))),
		"another hash":     doc(d.AEAD, tink(keyset.NewHandle(prf.HMACSHA512PRFKeyTemplate()))),
		"far too long":     append(bytes.Repeat([]byte(" "), maxKeysetBytes), good...),
		"trailing garbage": append(bytes.Clone(good), "hunter2"...),
	} {
		if ks, err := Parse(b); err == nil || ks != nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes the document: %v", name, err)
		}
	}
}

func TestLoad(t *testing.T) {
	ks := New()
	doc := must(ks.Marshal())
	id := sealer(t, ks).PrimaryKeyID()
	dir := t.TempDir()
	file := func(name string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, doc, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
		return path
	}
	for name, in := range map[string][2]string{
		"raw":        {"\n" + string(doc) + "\n", ""},
		"base64":     {base64.StdEncoding.EncodeToString(doc), ""},
		"raw base64": {base64.RawURLEncoding.EncodeToString(doc), ""},
		"file 0600":  {"", file("a", 0o600)},
		"file 0400":  {"", file("b", 0o400)},
		"value wins": {string(doc), filepath.Join(dir, "absent")},
	} {
		got, err := Load(in[0], in[1])
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if sealer(t, got).PrimaryKeyID() != id {
			t.Errorf("%s: another keyset", name)
		}
	}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o660, 0o700} {
		_, err := Load("", file("open", mode))
		if err == nil || !strings.Contains(err.Error(), "chmod 600") || !strings.Contains(err.Error(), fmt.Sprintf("%#o", mode)) {
			t.Errorf("mode %#o: %v", mode, err)
		}
		os.Remove(filepath.Join(dir, "open"))
	}
	if _, err := Load("", filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := Load("", dir); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("directory: %v", err)
	}
	if _, err := Load("", ""); err == nil {
		t.Error("nothing given: accepted")
	}
	if _, err := Load("hunter2 hunter2", ""); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("garbage: %v", err)
	}
}

func TestNothingPrintsKeys(t *testing.T) {
	ks := New()
	s := sealer(t, ks)
	doc := string(must(ks.Marshal()))
	_, rest, _ := strings.Cut(doc, `"value": "`)
	secret, _, _ := strings.Cut(rest, `"`)
	if len(secret) < 40 {
		t.Fatalf("no key found in the document")
	}
	raw := must(base64.StdEncoding.DecodeString(secret))
	var out bytes.Buffer
	for _, v := range []any{ks, s} {
		fmt.Fprintf(&out, "%v %+v %#v %s %x %d\n", v, v, v, v, v, v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	key := raw[len(raw)-32:]
	for _, bad := range []string{secret, fmt.Sprintf("%x", key), fmt.Sprint(key)[1:60]} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("printed a key: %s", out.String())
		}
	}
}

func TestNormalizeEmail(t *testing.T) {
	for in, want := range map[string]string{
		"kim@example.com":              "kim@example.com",
		"  Kim.Lee+Shop@Example.COM\n": "kim.lee+shop@example.com",
		"u\u0308ber@example.com":       "über@example.com",
		"ÜBER@BÜCHER.example":          "über@xn--bcher-kva.example",
		"kim@xn--bcher-kva.example":    "kim@xn--bcher-kva.example",
		"o'neil@example.co.uk":         "o'neil@example.co.uk",
	} {
		got, err := NormalizeEmail(in)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "kim", "@example.com", "kim@", "kim@localhost", "kim@example.", "kim@example.com.", "kim@@example.com",
		"Kim <kim@example.com>", "<kim@example.com>", "kim@example.com, lee@example.com", "kim(x)@example.com",
		`"k m"@example.com`, "kim@[127.0.0.1]", "k im@example.com", "kim@exa mple.com", "kim@-example.com", "kim@exa_mple.com",
		"kim@example..com", "kim..lee@example.com", "kim@example.com\x00", "kim\r\nBcc: x@example.com",
		"k\u200bim@example.com", "k\u202eim@example.com", "kim@example.com\xff",
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("b.", 130) + "com", strings.Repeat("x", 1<<20),
	} {
		if got, err := NormalizeEmail(in); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("%.40q: %q, %v", in, got, err)
		}
	}
}

func TestNormalizePhone(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"030 123456", "DE"}:        "+4930123456",
		{"030 123456", "de"}:        "+4930123456",
		{"+1 (650) 253-0000", ""}:   "+16502530000",
		{" +1 650 253 0000 ", "DE"}: "+16502530000",
		{"(650) 253-0000", "US"}:    "+16502530000",
	} {
		got, err := NormalizePhone(in[0], in[1])
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range [][2]string{
		{"", "DE"}, {"030 123456", ""}, {"030 123456", "XX"}, {"12", "US"}, {"+999 123456789", ""}, {"hello", "US"},
		{"+1 650 253 0000 ext. 5", ""}, {strings.Repeat("1", 65), "US"}, {strings.Repeat("+1", 1<<20), "US"},
	} {
		if got, err := NormalizePhone(in[0], in[1]); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("%.40q: %q, %v", in, got, err)
		}
	}
}

func FuzzNormalizeEmail(f *testing.F) {
	for _, s := range []string{"kim@example.com", " Kim@BÜCHER.example ", `"a b"@c.d`, "İ@example.com", "kim@ß.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		once, err := NormalizeEmail(in)
		if err != nil {
			return
		}
		if twice, err := NormalizeEmail(once); err != nil || twice != once {
			t.Errorf("%q → %q → %q, %v", in, once, twice, err)
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	s := sealer(b, New())
	for b.Loop() {
		if _, err := s.Open(email, s.SealString(email, "kim@example.com")); err != nil {
			b.Fatal(err)
		}
	}
}

func TestUse(t *testing.T) {
	t.Parallel()
	ks := New()
	s := sealer(t, ks)
	f := Field{Table: "t", Column: "c", Row: []byte("row")}
	old := s.SealString(f, "value")
	next := must(ks.Rotate())
	if err := s.Use(next); err != nil {
		t.Fatal(err)
	}
	if got := must(s.OpenString(f, old)); got != "value" {
		t.Errorf("after Use the old ciphertext opens as %q", got)
	}
	if KeyIDOf(s.SealString(f, "value")) == KeyIDOf(old) {
		t.Error("after Use the old key still seals")
	}
	if err := s.Use(New()); err == nil {
		t.Error("a keyset with another index key was taken over")
	}
	if got := must(s.OpenString(f, old)); got != "value" {
		t.Errorf("a refused keyset changed the Sealer: %q", got)
	}
}
