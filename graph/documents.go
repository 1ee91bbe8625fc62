package graph

import (
	"context"
	"crypto/sha256"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/cache/remote"
	"emporium/internal/manifest"
)

// documents are those that clients have asked to keep, so that they can be asked for by their digest: in a URL, where caches
// on the way understand it. Apollo calls the protocol automatic persisted queries. What is kept here is also kept in Redis,
// where other processes find it, and may be lost at any time: clients then send the document again.
type documents struct {
	local  *lru.Cache[[sha256.Size]byte, string]
	remote *remote.Store // nil: each process knows its own
	trust  Trust
}

const (
	keptDocuments  = 2_000
	largestKeptDoc = 16 << 10 // bytes; a longer one is sent each time
)

func newDocuments(r *remote.Store, t Trust) (*documents, error) {
	local, err := lru.New[[sha256.Size]byte, string](keptDocuments)
	return &documents{local, r, t}, err
}

func (d *documents) get(ctx context.Context, digest [sha256.Size]byte) (string, bool) {
	if text, ok := d.local.Get(digest); ok {
		return text, true
	}
	if d.remote == nil {
		return "", false
	}
	text := string(d.remote.Get(ctx, digest, false))
	if text == "" || sha256.Sum256([]byte(text)) != digest {
		return "", false
	}
	d.local.Add(digest, text)
	return text, true
}

// keep keeps a document that was found to be valid.
func (d *documents) keep(digest [sha256.Size]byte, text string) {
	if len(text) > largestKeptDoc || d.local.Contains(digest) {
		return
	}
	d.local.Add(digest, text)
	if d.remote != nil {
		d.remote.Put(digest, []byte(text), false)
	}
}

// persisted is what a request says of a document by its ID.
type persisted struct {
	id     string
	digest [sha256.Size]byte // if the ID is one
	keep   bool              // the document came along
}

// byDocumentID makes parameters ask for a document by documentId (GraphQL over HTTP, "Persisted Documents"), like those that ask by
// Apollo's extension, but for IDs that are no digest.
func byDocumentID(params *graphql.RawParams, id string) {
	if params.Extensions == nil {
		params.Extensions = map[string]any{}
	}
	params.Extensions["persistedQuery"] = map[string]any{"documentId": id}
}

// persistedQuery reads by which ID a request asks for its document, and reports whether it is a digest; nil if there is none.
func persistedQuery(params *graphql.RawParams) (*persisted, bool) {
	extension, ok := params.Extensions["persistedQuery"]
	if !ok {
		return nil, true
	}
	fields, _ := extension.(map[string]any)
	p := &persisted{keep: params.Query != ""}
	var digest string
	if p.id, ok = fields["documentId"].(string); ok {
		if digest, ok = strings.CutPrefix(p.id, manifest.Prefix); !ok {
			return p, false
		}
	} else {
		p.id, _ = fields["sha256Hash"].(string)
		digest = p.id
	}
	p.digest, ok = manifest.ParseDigest(digest)
	return p, ok
}

// errNotPersisted is what Apollo's clients answer by sending the document.
func errNotPersisted() *gqlerror.Error {
	return &gqlerror.Error{Message: "PersistedQueryNotFound", Extensions: map[string]any{"code": "PERSISTED_QUERY_NOT_FOUND"}}
}
