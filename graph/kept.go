package graph

import (
	"context"

	"github.com/maypok86/otter/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/lexer"
)

// What is kept of documents is bounded by what it takes rather than by how many there are: one at the limit of tokens, or with
// a long comment, takes a hundred times what most do.
const (
	keptParsed    = 32 << 20 // bytes of documents that were parsed and are valid
	keptPlans     = 64 << 20 // of compiled operations, with the documents that these belong to
	keptQuestions = 32 << 20 // of requests that ask for an answer that can be kept

	// What these take, as TestKeptDocuments measures it.
	tokenBytes    = 150
	fieldBytes    = 500   // of a plan
	planBytes     = 2_000 // besides its fields
	questionBytes = 2_000 // besides the request
)

// documentBytes is about what a parsed document takes with its text, which it refers to.
func documentBytes(text string) int {
	tokens := 0
	for l := lexer.New(&ast.Source{Input: text}); ; tokens++ {
		if t, err := l.ReadToken(); err != nil || t.Kind == lexer.EOF {
			return len(text) + tokens*tokenBytes
		}
	}
}

// parsed are the documents that gqlgen need not parse and validate again.
type parsed struct {
	documents *otter.Cache[string, *ast.QueryDocument]
}

func newParsed() (parsed, error) {
	documents, err := otter.New(&otter.Options[string, *ast.QueryDocument]{
		MaximumWeight: keptParsed,
		Weigher:       func(text string, _ *ast.QueryDocument) uint32 { return uint32(documentBytes(text)) },
	})
	return parsed{documents}, err
}

// Get is of graphql.Cache.
func (p parsed) Get(_ context.Context, text string) (*ast.QueryDocument, bool) {
	return p.documents.GetIfPresent(text)
}

// Add is of graphql.Cache.
func (p parsed) Add(_ context.Context, text string, document *ast.QueryDocument) {
	p.documents.Set(text, document)
}

func newPlans() (*otter.Cache[planKey, *plan], error) {
	return otter.New(&otter.Options[planKey, *plan]{
		MaximumWeight: keptPlans,
		Weigher: func(key planKey, p *plan) uint32 {
			return uint32(documentBytes(key.operation.Position.Src.Input) + len(key.conditions) + planBytes + p.Fields()*fieldBytes)
		},
	})
}
