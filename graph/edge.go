package graph

import (
	"context"
	"reflect"
	"slices"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/graph/loader"
	"emporium/graph/scalar"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/page"
	"emporium/internal/product"
)

// Node is an object with a global ID.
type Node = scalar.Node

// An edge is a field that leads from objects of one type to others. Each is declared once, beside the resolvers of its
// type, and serves twice: its resolver goes along it for one parent, and prefetch goes along it for all parents of a
// level at once, before their resolvers run.
type edge interface {
	// ahead loads the edge for all parents, in one statement, and returns what lies at its other end.
	ahead(l *loader.Loaders, parents []any, args arguments) []any
}

// fields are the edges of a type, by the name of the field.
type fields map[string]edge

// edges are all edges of the graph, by type. An edge that is missing here still works, but its keys are not known
// beforehand: it takes a statement for each object. TestEveryEdgeIsDeclared finds it.
var edges = map[string]fields{
	"User": userEdges, "UserConnection": userConnectionEdges, "UserEdge": userEdgeEdges,
	"Product": productEdges, "ProductConnection": productConnectionEdges, "ProductEdge": productEdgeEdges,
	"ProductFacets": facetsEdges, "CategoryFacet": categoryFacetEdges, "ProductSuggestion": suggestionEdges,
	"Variant": variantEdges, "Category": categoryEdges,
	"Collection": collectionEdges, "CollectionConnection": collectionConnectionEdges, "CollectionEdge": collectionEdgeEdges,
	"Order": orderEdges, "OrderConnection": orderConnectionEdges, "OrderEdge": orderEdgeEdges,
	"OrderLine": orderLineEdges, "Fulfillment": fulfillmentEdges, "FulfillmentLine": fulfillmentLineEdges,
	"Payment": paymentEdges, "PaymentConnection": paymentConnectionEdges, "PaymentEdge": paymentEdgeEdges,
}

// arguments are what edges can be given.
type arguments struct {
	page page.Args
	sort *product.Sort
}

// via is an edge along which a parent finds its value by a key, through a loader.
type via[P any, K comparable, V any] struct {
	loader func(*loader.Loaders) *loader.Loader[K, V]
	key    func(P, arguments) (K, bool) // false: it leads nowhere from this parent
}

// along makes an edge whose key the parent always has.
func along[P any, K comparable, V any](l func(*loader.Loaders) *loader.Loader[K, V], key func(P) K) via[P, K, V] {
	return via[P, K, V]{loader: l, key: func(p P, _ arguments) (K, bool) { return key(p), true }}
}

// maybeAlong makes an edge whose key may be nil, from where it leads nowhere.
func maybeAlong[P any, K comparable, V any](l func(*loader.Loaders) *loader.Loader[K, V], key func(P) *K) via[P, K, V] {
	return via[P, K, V]{loader: l, key: func(p P, _ arguments) (k K, ok bool) {
		if found := key(p); found != nil {
			return *found, true
		}
		return k, false
	}}
}

// get goes along the edge from one parent.
func (e via[P, K, V]) get(ctx context.Context, parent P, args arguments) (value V, err error) {
	key, ok := e.key(parent, args)
	if !ok {
		return value, nil
	}
	return e.loader(loader.From(ctx)).Load(ctx, key)
}

func (e via[P, K, V]) ahead(l *loader.Loaders, parents []any, args arguments) []any {
	keys := make([]K, 0, len(parents))
	for _, p := range parents {
		if key, ok := e.key(p.(P), args); ok {
			keys = append(keys, key)
		}
	}
	return flatten(e.loader(l).LoadAll(keys))
}

// viaMany is an edge along which a parent finds several values, each by a key of its own.
type viaMany[P any, K comparable, V any] struct {
	loader func(*loader.Loaders) *loader.Loader[K, V]
	keys   func(P) []K
}

// get goes along the edge from one parent.
func (e viaMany[P, K, V]) get(ctx context.Context, parent P) ([]V, error) {
	l, keys := e.loader(loader.From(ctx)), e.keys(parent)
	l.LoadAll(keys)
	values := make([]V, len(keys))
	for i, key := range keys {
		var err error
		if values[i], err = l.Load(ctx, key); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (e viaMany[P, K, V]) ahead(l *loader.Loaders, parents []any, _ arguments) []any {
	var keys []K
	for _, p := range parents {
		keys = append(keys, e.keys(p.(P))...)
	}
	return flatten(e.loader(l).LoadAll(keys))
}

// through makes an edge whose other end the parent already holds.
func through[P, C any](children func(P) C) edge { return held[P, C](children) }

type held[P, C any] func(P) C

func (h held[P, C]) ahead(_ *loader.Loaders, parents []any, _ arguments) []any {
	var all []any
	for _, p := range parents {
		all = append(all, flatten(h(p.(P)))...)
	}
	return all
}

// pageEdges are the edges of a connection and of its edge type.
func pageEdges[C interface{ Nodes() []T }, T any](edgesOf func(C) []*page.Edge[T]) (connection, item fields) {
	connection = fields{"nodes": through(C.Nodes), "edges": through(edgesOf)}
	item = fields{"node": through(func(e *page.Edge[T]) T { return e.Node })}
	return connection, item
}

// flatten returns the objects in a value: the elements of lists, at any depth, and nothing for nil.
func flatten(v any) []any {
	value := reflect.ValueOf(v)
	switch value.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Slice:
		all := make([]any, 0, value.Len())
		for i := range value.Len() {
			element := value.Index(i)
			if element.Kind() == reflect.Struct {
				element = element.Addr()
			}
			all = append(all, flatten(element.Interface())...)
		}
		return all
	case reflect.Pointer, reflect.Interface:
		if value.IsNil() {
			return nil
		}
	}
	return []any{v}
}

// prefetcher walks a result along the selected edges, level by level, and loads each edge for all objects of its level.
type prefetcher struct {
	operation *graphql.OperationContext
	loaders   *loader.Loaders
	actor     auth.Actor
}

// prefetch is a field middleware: what a root field has returned is the first level.
func prefetch(ctx context.Context, next graphql.Resolver) (any, error) {
	// Without SQL nothing else would look at the deadline: fields of rows that are there would go on for ever.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	result, err := next(ctx)
	fc := graphql.GetFieldContext(ctx)
	if fc.Object != "Query" && fc.Object != "Mutation" {
		return result, err
	}
	if err != nil && (fc.Field.Name == "__schema" || fc.Field.Name == "__type") {
		return nil, fault.Wrap(fault.Forbidden, err, "introspection is closed to you")
	}
	if err != nil || result == nil {
		return result, err
	}
	p := prefetcher{graphql.GetOperationContext(ctx), loader.From(ctx), auth.From(ctx)}
	p.walk(flatten(result), fc.Field.Selections)
	return result, nil
}

func (p prefetcher) walk(objects []any, selected ast.SelectionSet) {
	for len(objects) > 0 && len(selected) > 0 {
		// nodes(ids) may mix types; everywhere else all objects are of one.
		first := reflect.TypeOf(objects[0])
		var alike, others []any
		for _, o := range objects {
			if reflect.TypeOf(o) == first {
				alike = append(alike, o)
			} else {
				others = append(others, o)
			}
		}
		p.level(typeNames[first], alike, selected)
		objects = others
	}
}

func (p prefetcher) level(typeName string, objects []any, selected ast.SelectionSet) {
	if edges[typeName] == nil {
		return
	}
	for _, field := range graphql.CollectFields(p.operation, selected, []string{typeName, "Node"}) {
		e := edges[typeName][field.Name]
		if e == nil || !p.allowed(field.Definition) {
			continue
		}
		args, ok := edgeArguments(field.ArgumentMap(p.operation.Variables))
		if ok {
			p.walk(e.ahead(p.loaders, objects, args), field.Selections)
		}
	}
}

// allowed reports whether the field's role, if it asks for one, is the viewer's. The directive decides when the field
// is resolved; this only saves a statement whose rows would not be shown.
func (p prefetcher) allowed(field *ast.FieldDefinition) bool {
	d := field.Directives.ForName("hasRole")
	if d == nil {
		return true
	}
	return slices.ContainsFunc(d.Arguments.ForName("anyOf").Value.Children, func(role *ast.ChildValue) bool {
		return p.actor.Has(auth.Role(role.Value.Raw))
	})
}

// edgeArguments reads the arguments of an edge from the document and its variables, as gqlgen will for the resolver;
// false where gqlgen will refuse them.
func edgeArguments(raw map[string]any) (args arguments, ok bool) {
	number := func(name string) *int {
		if raw[name] == nil {
			return nil
		}
		n, err := graphql.UnmarshalInt(raw[name])
		ok = ok && err == nil
		return &n
	}
	text := func(name string) *string {
		if raw[name] == nil {
			return nil
		}
		s, err := graphql.UnmarshalString(raw[name])
		ok = ok && err == nil
		return &s
	}
	ok = true
	args.page = page.Args{First: number("first"), Last: number("last"), After: text("after"), Before: text("before")}
	if sort, given := raw["sort"].(map[string]any); given {
		field, _ := sort["field"].(string)
		direction, given := sort["direction"].(string)
		if !given {
			direction = string(page.Ascending)
		}
		args.sort = &product.Sort{Field: product.SortField(field), Direction: page.Direction(direction)}
	}
	return args, ok
}
