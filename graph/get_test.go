package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// keepDocument sends a document, which can then be asked for by its digest.
func (k *keeping) keepDocument(document string) (digest string) {
	k.t.Helper()
	sum := sha256.Sum256([]byte(document))
	digest = hex.EncodeToString(sum[:])
	a := k.send(k.request("", fmt.Appendf(nil, `{"query":%s,"extensions":{"persistedQuery":{"version":1,"sha256Hash":%q}}}`, encode(document), digest)))
	if a.status != http.StatusOK || strings.Contains(a.body, "PERSISTED") {
		k.t.Fatalf("%s is not kept: %d %s", document, a.status, a.body)
	}
	return digest
}

// getKept asks for a document that is kept; known is the entity tag of what the client has, or empty.
func (k *keeping) getKept(who, digest, known, accepted string) looked {
	k.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/graphql?documentId=sha256:"+digest, nil)
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+k.tokens[who])
	}
	if known != "" {
		r.Header.Set("If-None-Match", known)
	}
	if accepted != "" {
		r.Header.Set("Accept-Encoding", accepted)
	}
	return k.lookAt(r)
}

// tagged gets a document until its answer comes with an entity tag, which is once it can be kept.
func (k *keeping) tagged(who, digest string) (a looked, etag string) {
	k.t.Helper()
	until(k.t, "the answer has an entity tag", func() bool {
		a = k.getKept(who, digest, "", "")
		etag = a.header.Get("ETag")
		return etag != ""
	})
	return a, etag
}

// TestWhatHasChangedIsNotSaidToBeUnmodified asks two processes with the entity tag of what was true before: 304 is for what is
// still the same, and for the same viewer.
func TestWhatHasChangedIsNotSaidToBeUnmodified(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 12) // products, whose answer is long enough to be compressed
	other := k.beside(t, nil)
	products := `{ products(first: 20) { nodes { id title description variants { id sku price { amount } } } } }`
	for _, c := range []struct {
		document string
		viewers  []string
		control  string
	}{
		{k.titles(), []string{"", "ada", "manager"}, "public"},
		{products, []string{"", "bob", "service"}, "public"},
		{`{ viewer { email } ` + strings.Trim(k.titles(), "{}") + ` }`, []string{"ada", "bob", "manager"}, "private"},
	} {
		digest := k.keepDocument(c.document)
		other.keepDocument(c.document)
		for n := range 6 {
			type known struct {
				who, etag, body string
			}
			var all []known
			for _, who := range c.viewers {
				for _, p := range []*keeping{k, other} {
					a, etag := p.tagged(who, digest)
					all = append(all, known{who, etag, a.body})
					if same := p.getKept(who, digest, etag, ""); same.status != http.StatusNotModified || same.body != "" || same.header.Get("ETag") != etag {
						t.Errorf("as %q what has not changed is answered by %d, %s, %q", who, same.status, same.header.Get("ETag"), same.body)
					}
					control, vary := a.header.Get("Cache-Control"), a.header.Get("Vary")
					if staff := who == "manager" || who == "service"; staff && !strings.HasPrefix(control, "private") || !staff && !strings.HasPrefix(control, c.control) ||
						!strings.Contains(control, "no-cache") || !strings.Contains(vary, "Authorization") {
						t.Errorf("as %q: Cache-Control: %s, Vary: %s", who, control, vary)
					}
				}
			}
			title := fmt.Sprintf("Title %d of %s", n, digest[:4])
			if n%2 == 0 {
				k.rename(title)
			} else {
				other.rename(title)
			}
			for _, had := range all {
				for _, p := range []*keeping{k, other} {
					for _, etag := range []string{had.etag, "W/" + had.etag, `"another", ` + had.etag} {
						if a := p.getKept(had.who, digest, etag, ""); a.status != http.StatusOK || !strings.Contains(a.body, title) {
							t.Fatalf("as %q after %q was answered: %s %d %s", had.who, title, a.level, a.status, a.body)
						}
					}
				}
			}
		}
	}

	// What somebody else has is not what the viewer has.
	mine := k.keepDocument(`{ viewer { email } }`)
	_, adas := k.tagged("ada", mine)
	if a := k.getKept("bob", mine, adas, ""); a.status != http.StatusOK || !strings.Contains(a.body, "bob@example.com") {
		t.Errorf("Bob, who has what is Ada's: %d %s", a.status, a.body)
	}
	if a := k.getKept("", mine, adas, ""); a.status == http.StatusNotModified || strings.Contains(a.body, "ada@") {
		t.Errorf("nobody, who has what is Ada's: %d %s", a.status, a.body)
	}

	// Another form of the same is another entity.
	digest := k.keepDocument(products)
	_, plain := k.tagged("", digest)
	small := k.getKept("", digest, plain, "gzip")
	if etag := small.header.Get("ETag"); small.status != http.StatusOK || small.header.Get("Content-Encoding") != "gzip" || etag == plain {
		t.Errorf("compressed: %d %s, %s", small.status, small.header.Get("Content-Encoding"), etag)
	} else if a := k.getKept("", digest, etag, "gzip"); a.status != http.StatusNotModified {
		t.Errorf("compressed once more: %d", a.status)
	}
}

// TestDocumentsByTheirDigest wants nothing but what was sent, and found good, under a digest, and no mutation by GET.
func TestDocumentsByTheirDigest(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 1)
	unknown := strings.Repeat("0", 64)
	if a := k.getKept("", unknown, "", ""); !strings.Contains(a.body, "PERSISTED_QUERY_NOT_FOUND") {
		t.Errorf("a document that nobody has sent: %d %s", a.status, a.body)
	}
	for name, document := range map[string]string{"what does not fit the schema": `{ nothing }`, "what does not parse": `{`} {
		sum := sha256.Sum256([]byte(document))
		digest := hex.EncodeToString(sum[:])
		k.send(k.request("", fmt.Appendf(nil, `{"query":%s,"extensions":{"persistedQuery":{"version":1,"sha256Hash":%q}}}`, encode(document), digest)))
		if a := k.getKept("", digest, "", ""); !strings.Contains(a.body, "PERSISTED_QUERY_NOT_FOUND") {
			t.Errorf("%s is kept: %d %s", name, a.status, a.body)
		}
	}
	swapped := k.keepDocument(k.titles())
	a := k.send(k.request("", fmt.Appendf(nil, `{"query":"{ categories { name } }","extensions":{"persistedQuery":{"version":1,"sha256Hash":%q}}}`, swapped)))
	if a.status < 400 || strings.Contains(a.body, `"data"`) {
		t.Errorf("a document under the digest of another one: %d %s", a.status, a.body)
	}
	if a, _ := k.tagged("", swapped); !strings.Contains(a.body, `"title"`) || strings.Contains(a.body, `"name"`) {
		t.Errorf("the other one is: %s", a.body)
	}
	for url, status := range map[string]int{"documentId=sha256:" + swapped: 200, "documentId=sha256:" + swapped + "&extensions={}}": 422,
		"documentId=sha256:" + swapped + "&variables={}]": 422} {
		r := httptest.NewRequest(http.MethodGet, "/graphql?"+url, nil)
		if a := k.send(r); a.status != status {
			t.Errorf("GET %s: %d %s", url, a.status, a.body)
		}
		r = k.request("", []byte("?"+url))
		if a := k.send(r); a.status != http.StatusBadRequest {
			t.Errorf("the same as the body of a POST: %d %s", a.status, a.body)
		}
	}
	out := k.keepDocument(`mutation { signOut { sessionsEnded } }`)
	if a := k.getKept("ada", out, "", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("a mutation by GET: %d %s", a.status, a.body)
	}
	if a := k.ask("ada", `{ viewer { email } }`, nil); !strings.Contains(a.body, "ada@example.com") {
		t.Errorf("a mutation by GET was done: %s", a.body)
	}
}

// TestALostDocumentIsKeptAgain loses a document while its answer is still there: a client that sends it once more can ask by its digest.
func TestALostDocumentIsKeptAgain(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 1)
	digest := k.keepDocument(k.titles())
	k.keepDocument(k.titles()) // its answer is there from now on
	for n := range keptDocuments {
		k.keepDocument(fmt.Sprintf("{ categories { name } } #%d", n))
	}
	if a := k.getKept("", digest, "", ""); !strings.Contains(a.body, "PERSISTED_QUERY_NOT_FOUND") {
		t.Fatalf("the document is not lost: %d %s", a.status, a.body)
	}
	k.keepDocument(k.titles())
	if a := k.getKept("", digest, "", ""); !strings.Contains(a.body, `"title"`) {
		t.Errorf("after it was sent again: %d %s", a.status, a.body)
	}
}
