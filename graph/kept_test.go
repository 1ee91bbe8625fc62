package graph

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/usage"
)

// TestKeptDocuments measures what is kept of documents, and holds it against what it is taken for.
func TestKeptDocuments(t *testing.T) {
	root := &Resolver{}
	e, err := newExecutable(NewExecutableSchema(Config{Resolvers: root, Directives: directives()}), root, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	e.usage = usage.NewCounter()
	live := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	for _, c := range []struct{ name, document string }{
		{"as most are", `query Q%d($id: ID!) { product(id: $id) { id title description variants { id sku price { amount currency } availability { inStock } } category { id name } media { url alt } } }`},
		{"short", `query Q%d { categories { id } }`},
		{"at the limit of tokens", `query Q%d { viewer { ` + strings.Repeat("... { id } ", 200) + strings.Repeat("id ", 350) + `} }`},
		{"with a comment", `query Q%d { categories { id } } #` + strings.Repeat("x", 100_000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			const n = 50
			var err error
			if e.plans, err = newPlans(); err != nil {
				t.Fatal(err)
			}
			questions, err := newFront(&answers{schema: e}, nil, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			documents, plans := make([]*ast.QueryDocument, n), make([]*plan, n)
			before, taken := live(), 0
			for i := range documents {
				text := fmt.Sprintf(c.document, i)
				var errs gqlerror.List
				if documents[i], errs = gqlparser.LoadQueryWithRules(e.Schema(), text, nil); len(errs) > 0 {
					t.Fatal(errs)
				}
				taken += documentBytes(text)
			}
			checkBytes(t, "documents", live()-before, taken)
			for i, document := range documents {
				plans[i] = e.plan(&graphql.OperationContext{Operation: document.Operations[0], Variables: map[string]any{"id": "x"}})
				taken += planBytes + plans[i].Fields()*fieldBytes
			}
			checkBytes(t, "documents and plans", live()-before, taken)
			for i, p := range plans {
				questions.remember([]byte(fmt.Sprint(i)), "Q", sha256.Sum256(nil), p.policy, p.uses)
			}
			// What a question refers to stays when its document and its plan are gone.
			e.plans.InvalidateAll()
			clear(plans)
			clear(documents)
			checkBytes(t, "questions", live()-before, n*questionBytes)
			runtime.KeepAlive(questions)
		})
	}
}

func checkBytes(t *testing.T, what string, took, taken int) {
	t.Helper()
	t.Logf("%s take %d KiB, and are taken for %d", what, took>>10, taken>>10)
	if took > taken*5/4 || took < taken/6 {
		t.Errorf("%s take %d bytes, and are taken for %d", what, took, taken)
	}
}
