package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
)

// The questions are files of their own because the allocation budgets in package graph are about them too.
//
//go:embed questions
var documents embed.FS

// workload is a question that is asked again and again, with other variables each time.
type workload struct {
	name, title string
	query       string // for the GraphQL server
	staff       bool   // the GraphQL server wants a token
	marker      string // stands in the answer once for each row at its outermost edge; each answer has at least one
	series      string // the series of sizes that it belongs to, which only the GraphQL server is asked about
	first       int    // the size of the page, for those that list orders

	variables []map[string]any // the measured ones
	also      []map[string]any // further ones that both servers have to agree about
}

// questions returns the workloads that both servers answer, without variables.
func questions() []*workload {
	return []*workload{
		{name: "w1", title: "product by ID", query: document("w1"), marker: `"category":{`},
		{name: "w2", title: "20 products of a category", query: document("w2"), marker: `"sku":`},
		{name: "w3", title: "latest 20 orders", query: document("w3"), staff: true, first: 20, marker: `"quantity":`},
		{name: "w4", title: "user with 10 orders", query: document("w4"), staff: true, marker: `"quantity":`},
	}
}

// scaling returns the workloads that show how cost grows: with the rows of one question, and with the depth of a question
// at about the same number of objects.
func scaling() []*workload {
	var all []*workload
	for _, first := range []int{5, 20, 80} {
		all = append(all, &workload{name: fmt.Sprint("orders-", first), title: fmt.Sprintf("w3 with %d orders", first), series: "orders",
			query: document("w3"), staff: true, first: first, marker: `"quantity":`})
	}
	// An order of the bench data has three lines: the deeper the chain, the more objects to each order.
	for _, size := range []struct{ depth, first int }{{2, 100}, {4, 14}, {8, 4}} {
		all = append(all, &workload{name: fmt.Sprint("depth-", size.depth), title: fmt.Sprintf("%d edges deep", size.depth), series: "depth",
			query: chain(size.depth), staff: true, first: size.first, marker: `"id":`})
	}
	return all
}

func document(name string) string {
	text, err := documents.ReadFile("questions/" + name + ".graphql")
	if err != nil {
		panic(err) // it is part of the program
	}
	return string(text)
}

// chain returns a question with one edge in another, as many as depth, and the ID of each object on the way.
func chain(depth int) string {
	edges := []string{"nodes", "lines", "variant", "product", "category", "ancestors", "children"}[:depth-1]
	return "query Chain($first: Int!) { orders(first: $first) { " + strings.Join(edges, " { id ") + " { id }" +
		strings.Repeat(" }", len(edges)+1)
}

// read fills in the variables: at most n for each workload, the same ones for the same seed and data.
func (w *workload) read(ctx context.Context, db *pgx.Conn, n int, seed uint64) error {
	const some = ` ORDER BY md5(id::text || $1::text) LIMIT $2`
	var err error
	if w.first > 0 {
		w.variables = []map[string]any{{"first": w.first}}
	}
	switch w.name {
	case "w1":
		w.variables, err = ids(ctx, db, id.Product, `SELECT id FROM products.products
			WHERE status = 'ACTIVE' AND category_id IS NOT NULL`+some, seed, n)
	case "w2":
		w.variables, err = ids(ctx, db, id.Category, `SELECT id FROM products.categories c WHERE EXISTS (
			SELECT FROM products.products p JOIN products.variants v ON v.product_id = p.id
			WHERE p.category_id = c.id AND p.status = 'ACTIVE')`+some, seed, n)
	case "w3":
		for first := 1; first <= 50; first++ {
			w.also = append(w.also, map[string]any{"first": first})
		}
	case "w4":
		w.variables, err = ids(ctx, db, id.User, `SELECT id FROM (SELECT DISTINCT owner_id AS id FROM orders.orders) o`+some, seed, n)
	}
	if err == nil && len(w.variables) == 0 {
		err = fmt.Errorf("the database has no data for it")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	return nil
}

func ids(ctx context.Context, db *pgx.Conn, kind id.Kind, sql string, seed uint64, n int) ([]map[string]any, error) {
	rows, err := db.Query(ctx, sql, fmt.Sprint(seed), n)
	if err != nil {
		return nil, err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	all := make([]map[string]any, len(keys))
	for i, key := range keys {
		all[i] = map[string]any{"id": id.Of(kind, key).String()}
	}
	return all, err
}

// forGraphQL returns the body of a request to the GraphQL server.
func (w *workload) forGraphQL(variables map[string]any) ([]byte, error) {
	return json.Marshal(struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}{w.query, variables})
}
