package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
)

// workload is a question that is asked again and again, with other variables each time.
type workload struct {
	name, title string
	query       string // for the GraphQL server
	staff       bool   // the GraphQL server wants a token
	marker      string // stands in the answer once for each row at its outermost edge; each answer has at least one

	variables []map[string]any // the measured ones
	also      []map[string]any // further ones that both servers have to agree about
}

// questions returns the workloads without variables.
func questions() []*workload {
	return []*workload{
		{
			name: "w1", title: "product by ID", marker: `"category":{`,
			query: `query ProductPage($id: ID!) {
  product(id: $id) { id slug title description vendor type status createdAt category { name } }
}`,
		}, {
			name: "w2", title: "20 products of a category", marker: `"sku":`,
			query: `query CategoryPage($id: ID!) {
  category(id: $id) {
    products(first: 20) {
      nodes {
        id slug title
        priceRange { min { amount currency } }
        variants { id sku price { amount currency } }
      }
    }
  }
}`,
		}, {
			name: "w3", title: "latest 20 orders", staff: true, marker: `"quantity":`,
			query: `query LatestOrders($first: Int!) {
  orders(first: $first) {
    nodes {
      id number status
      total { amount currency }
      customer { id name }
      lines { quantity title unitPrice { amount currency } variant { id sku product { id title } } }
      payments { id status amount { amount currency } }
    }
  }
}`,
		}, {
			name: "w4", title: "user with 10 orders", staff: true, marker: `"quantity":`,
			query: `query CustomerPage($id: ID!) {
  user(id: $id) {
    name
    orders(first: 10) {
      nodes {
        number status
        total { amount currency }
        createdAt
        lines { title quantity total { amount currency } }
        payments { status amount { amount currency } }
      }
    }
  }
}`,
		},
	}
}

// read fills in the variables: at most n for each workload, the same ones for the same seed and data.
func (w *workload) read(ctx context.Context, db *pgx.Conn, n int, seed uint64) error {
	const some = ` ORDER BY md5(id::text || $1::text) LIMIT $2`
	var err error
	switch w.name {
	case "w1":
		w.variables, err = ids(ctx, db, id.Product, `SELECT id FROM products.products
			WHERE status = 'ACTIVE' AND category_id IS NOT NULL`+some, seed, n)
	case "w2":
		w.variables, err = ids(ctx, db, id.Category, `SELECT id FROM products.categories c WHERE EXISTS (
			SELECT FROM products.products p JOIN products.variants v ON v.product_id = p.id
			WHERE p.category_id = c.id AND p.status = 'ACTIVE')`+some, seed, n)
	case "w3":
		w.variables = []map[string]any{{"first": 20}}
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
