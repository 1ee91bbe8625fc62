package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/cache/remote"
)

// documents are those that clients have asked to keep, so that they can be asked for by their digest: in a URL, where caches
// on the way understand it. Apollo calls the protocol automatic persisted queries. What is kept here is also kept in Redis,
// where other processes find it, and may be lost at any time: clients then send the document again.
type documents struct {
	local  *lru.Cache[[sha256.Size]byte, string]
	remote *remote.Store // nil: each process knows its own
}

const (
	keptDocuments  = 2_000
	largestKeptDoc = 16 << 10 // bytes; a longer one is sent each time
)

func newDocuments(r *remote.Store) (*documents, error) {
	local, err := lru.New[[sha256.Size]byte, string](keptDocuments)
	return &documents{local, r}, err
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

// persisted is what a request says of a document by its digest.
type persisted struct {
	digest [sha256.Size]byte
	keep   bool // the document came along
}

// persistedQuery reads the extension persistedQuery of a request; nil if there is none.
func persistedQuery(params *graphql.RawParams) (*persisted, bool) {
	extension, ok := params.Extensions["persistedQuery"]
	if !ok {
		return nil, true
	}
	fields, _ := extension.(map[string]any)
	text, _ := fields["sha256Hash"].(string)
	digest, ok := parseDigest(text)
	return &persisted{digest, params.Query != ""}, ok
}

func parseDigest(text string) (digest [sha256.Size]byte, ok bool) {
	b, err := hex.DecodeString(strings.ToLower(text))
	if err != nil || len(b) != sha256.Size {
		return digest, false
	}
	return [sha256.Size]byte(b), true
}

// errNotPersisted is what Apollo's clients answer by sending the document.
func errNotPersisted() *gqlerror.Error {
	return &gqlerror.Error{Message: "PersistedQueryNotFound", Extensions: map[string]any{"code": "PERSISTED_QUERY_NOT_FOUND"}}
}
