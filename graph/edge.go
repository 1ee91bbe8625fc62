package graph

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"emporium/graph/exec"
	"emporium/graph/loader"
	"emporium/graph/scalar"
	"emporium/internal/page"
	"emporium/internal/product"
)

// Node is an object with a global ID.
type Node = scalar.Node

// An edge is a field whose value its object does not hold: it is loaded, or takes more than the object to compute. Each
// is declared once, in the file of its domain; `make generate` makes gqlgen's resolver of it.
type edge interface {
	// load goes along the edge for all parents of a level, in one statement.
	load(ctx context.Context, parents []any, args map[string]any, results []exec.Result)
	// follow goes along the edge from one parent. What other parents of the same field ask for meanwhile is loaded with it.
	follow(ctx context.Context, parent any, args map[string]any) (any, error)
	// reads are the fields of the parent that are looked at, beside its keys.
	reads() exec.Reads
	// madeOf is the type of what is loaded, if the value is made of it and not it itself; otherwise nil.
	madeOf() reflect.Type
}

// fields are the edges of a type, by the name of the field.
type fields map[string]edge

// edges are all edges of the graph, by type. The server does not start when one is missing.
var edges = map[string]fields{
	"User": userEdges, "UserConnection": userConnectionEdges, "AuditEntry": auditEntryEdges, "ApiKey": apiKeyEdges,
	"Product": productEdges, "ProductConnection": productConnectionEdges, "CategoryFacet": categoryFacetEdges,
	"Variant": variantEdges, "Inventory": inventoryEdges, "StockMovement": stockMovementEdges, "StockChange": stockChangeEdges, "PriceChange": priceChangeEdges,
	"StockAdjustPayload": stockAdjustEdges, "StockSetPayload": stockSetEdges, "Category": categoryEdges, "Collection": collectionEdges,
	"Order": orderEdges, "OrderChange": orderChangeEdges, "OrderConnection": orderConnectionEdges, "OrderLine": orderLineEdges,
	"Fulfillment": fulfillmentEdges, "FulfillmentLine": fulfillmentLineEdges,
	"Cart": cartEdges, "CartLine": cartLineEdges,
	"Payment": paymentEdges, "PaymentConnection": paymentConnectionEdges, "PaymentCommand": paymentCommandEdges,
	"PaymentCapturePayload": paymentCaptureEdges, "PaymentVoidPayload": paymentVoidEdges, "PaymentRefundPayload": paymentRefundEdges,
	"PaymentDifference": paymentDifferenceEdges,
}

// follow is what the generated resolvers call.
func follow[V any](ctx context.Context, typeName, field string, parent any, args map[string]any) (V, error) {
	value, err := edges[typeName][field].follow(ctx, parent, args)
	v, _ := value.(V)
	return v, err
}

// arguments are what edges can be given.
type arguments struct {
	page page.Args
	sort *product.Sort
}

func argumentsOf(args map[string]any) (a arguments) {
	a.page.First, _ = args["first"].(*int)
	a.page.Last, _ = args["last"].(*int)
	a.page.After, _ = args["after"].(*string)
	a.page.Before, _ = args["before"].(*string)
	a.sort, _ = args["sort"].(*product.Sort)
	return a
}

// via is an edge along which a parent finds its value by a key.
type via[P any, K comparable, V any] struct {
	to  loader.Edge[K, V]
	key func(P, arguments) (K, bool) // false: it leads nowhere from this parent
}

// along makes an edge whose key the parent always has.
func along[P any, K comparable, V any](to loader.Edge[K, V], key func(P) K) via[P, K, V] {
	return via[P, K, V]{to, func(p P, _ arguments) (K, bool) { return key(p), true }}
}

// maybeAlong makes an edge whose key may be nil, from where it leads nowhere.
func maybeAlong[P any, K comparable, V any](to loader.Edge[K, V], key func(P) *K) via[P, K, V] {
	return via[P, K, V]{to, func(p P, _ arguments) (k K, ok bool) {
		if found := key(p); found != nil {
			return *found, true
		}
		return k, false
	}}
}

// each loads the edge for all parents and calls visit for those that it leads somewhere from.
func (e via[P, K, V]) each(ctx context.Context, parents []any, args map[string]any, visit func(i int, value V, err error)) {
	keys, places, a := make([]K, 0, len(parents)), make([]int, 0, len(parents)), argumentsOf(args)
	for i, p := range parents {
		if p == nil {
			continue
		}
		if key, ok := e.key(p.(P), a); ok {
			keys, places = append(keys, key), append(places, i)
		}
	}
	e.to.Each(ctx, keys, func(i int, value V, err error) { visit(places[i], value, err) })
}

func (e via[P, K, V]) load(ctx context.Context, parents []any, args map[string]any, results []exec.Result) {
	e.each(ctx, parents, args, func(i int, value V, err error) { results[i] = exec.Result{Value: value, Err: err} })
}

func (e via[P, K, V]) get(ctx context.Context, parent P, args map[string]any) (value V, err error) {
	key, ok := e.key(parent, argumentsOf(args))
	if !ok {
		return value, nil
	}
	return e.to.Load(ctx, key)
}

func (e via[P, K, V]) follow(ctx context.Context, parent any, args map[string]any) (any, error) {
	return e.get(ctx, parent.(P), args)
}

func (via[P, K, V]) reads() exec.Reads { return exec.Reads{} }

func (via[P, K, V]) madeOf() reflect.Type { return nil }

// made is an edge whose value is made of what another one leads to.
type made[P any, K comparable, V, T any] struct {
	from  via[P, K, V]
	value func(P, V) T
	names []string
}

// of makes an edge of another one. Names are the fields of the parent that value looks at, for all of them none are
// given.
func of[P any, K comparable, V, T any](from via[P, K, V], value func(P, V) T, names ...string) edge {
	return made[P, K, V, T]{from, value, names}
}

func (e made[P, K, V, T]) load(ctx context.Context, parents []any, args map[string]any, results []exec.Result) {
	e.from.each(ctx, parents, args, func(i int, value V, err error) {
		if err != nil {
			results[i].Err = err
			return
		}
		results[i].Value = e.value(parents[i].(P), value)
	})
}

func (e made[P, K, V, T]) follow(ctx context.Context, parent any, args map[string]any) (any, error) {
	value, err := e.from.get(ctx, parent.(P), args)
	if err != nil {
		return nil, err
	}
	return e.value(parent.(P), value), nil
}

func (e made[P, K, V, T]) reads() exec.Reads {
	return exec.Reads{Names: e.names, All: len(e.names) == 0}
}

func (made[P, K, V, T]) madeOf() reflect.Type { return reflect.TypeFor[V]() }

// viaMany is an edge along which a parent finds several values, each by a key of its own.
type viaMany[P any, K comparable, V any] struct {
	to    loader.Edge[K, V]
	keys  func(P) []K
	names []string // the fields of the parent that the keys come from
}

func (e viaMany[P, K, V]) load(ctx context.Context, parents []any, _ map[string]any, results []exec.Result) {
	var keys []K
	var places []int
	for i, p := range parents {
		if p == nil {
			continue
		}
		own := e.keys(p.(P))
		results[i].Value = make([]V, 0, len(own))
		for _, key := range own {
			keys, places = append(keys, key), append(places, i)
		}
	}
	e.to.Each(ctx, keys, func(i int, value V, err error) {
		r := &results[places[i]]
		if err != nil {
			*r = exec.Result{Err: err}
		} else if r.Err == nil {
			r.Value = append(r.Value.([]V), value)
		}
	})
}

func (e viaMany[P, K, V]) follow(ctx context.Context, parent any, _ map[string]any) (any, error) {
	results := make([]exec.Result, 1)
	e.load(ctx, []any{parent}, nil, results)
	return results[0].Value, results[0].Err
}

func (e viaMany[P, K, V]) reads() exec.Reads { return exec.Reads{Names: e.names} }

func (viaMany[P, K, V]) madeOf() reflect.Type { return nil }

// computed is a field that depends on who asks.
type computed[P, V any] struct {
	value func(context.Context, P) V
	names []string // the fields of the object that value looks at; none: all of them
}

func (e computed[P, V]) load(ctx context.Context, parents []any, _ map[string]any, results []exec.Result) {
	for i, p := range parents {
		if p != nil {
			results[i].Value = e.value(ctx, p.(P))
		}
	}
}

func (e computed[P, V]) follow(ctx context.Context, parent any, _ map[string]any) (any, error) {
	return e.value(ctx, parent.(P)), nil
}

func (e computed[P, V]) reads() exec.Reads { return exec.Reads{Names: e.names, All: len(e.names) == 0} }

func (computed[P, V]) madeOf() reflect.Type { return nil }

// bindEdges gives the fields that are edges what loads them. It fails for a field that neither is an edge nor held by its
// object, and for an edge that is declared wrongly.
func bindEdges(schema *ast.Schema, types []*exec.Type) error {
	for _, t := range types {
		variable := strings.ToLower(t.Name[:1]) + t.Name[1:] + "Edges"
		for name := range edges[t.Name] {
			if t.Fields[name] == nil {
				return fmt.Errorf("graph: edge %s.%s is no field of the schema", t.Name, name)
			}
		}
		for name, f := range t.Fields {
			e := edges[t.Name][name]
			held := f.Root != nil || f.Source != nil || f.Get != nil || f.Leaf != nil
			switch {
			case e == nil && !held:
				return fmt.Errorf("graph: %s.%s is held by no object: declare it in %s, and that in edges (graph/edge.go)", t.Name, name, variable)
			case e != nil && held:
				return fmt.Errorf("graph: %s.%s is declared as an edge, but its object holds it: say `resolver: true` of it in gqlgen.yml", t.Name, name)
			case e == nil:
				continue
			}
			f.Load, f.Reads, f.MadeOf = e.load, e.reads(), e.madeOf()
			for _, read := range f.Reads.Names {
				if _, ok := t.Go.Elem().FieldByName(read); !ok {
					return fmt.Errorf("graph: edge %s.%s reads %s, which %s does not have", t.Name, name, read, t.Go)
				}
			}
			for _, a := range schema.Types[t.Name].Fields.ForName(name).Arguments {
				if !slices.Contains([]string{"first", "after", "last", "before", "sort"}, a.Name) {
					return fmt.Errorf("graph: edge %s.%s has an argument %s, which argumentsOf does not take", t.Name, name, a.Name)
				}
			}
		}
	}
	return nil
}
