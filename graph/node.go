package graph

import (
	"context"
	"maps"
	"reflect"

	"github.com/google/uuid"

	"emporium/graph/exec"
	"emporium/graph/loader"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/page"
)

// nodeRule says how node and nodes come to objects of a type: through the type's own loader, whose verb gives the viewer
// what the viewer may see; @owner then checks what came back.
type nodeRule struct {
	kind id.Kind
	load func(ctx context.Context, ids []id.ID) (map[id.ID]Node, error)
}

// nodeRules has a rule for each type that implements Node; the server does not start without one.
var nodeRules = map[string]nodeRule{
	"User":         {id.User, byKey(loader.Users)},
	"Address":      {id.Address, byOwnedKey(loader.Addresses)},
	"Product":      {id.Product, byKey(loader.Products)},
	"Variant":      {id.Variant, byKey(loader.Variants)},
	"Category":     {id.Category, byKey(loader.Categories)},
	"Collection":   {id.Collection, byKey(loader.Collections)},
	"Media":        {id.Media, byKey(loader.Media)},
	"Order":        {id.Order, byOwnedKey(loader.Orders)},
	"OrderLine":    {id.OrderLine, byOwnedKey(loader.Lines)},
	"Fulfillment":  {id.Fulfillment, byOwnedKey(loader.Fulfillments)},
	"OrderEvent":   {id.OrderEvent, byOwnedKey(loader.OrderEvents)},
	"Cart":         {id.Cart, byOwnedKey(loader.Carts)},
	"CartLine":     {id.CartLine, byOwnedKey(loader.CartLines)},
	"Payment":      {id.Payment, byOwnedKey(loader.Payments)},
	"PaymentEvent": {id.PaymentEvent, byOwnedKey(loader.PaymentEvents)},

	"PaymentCommand": {id.PaymentCommand, byOwnedKey(loader.PaymentCommands)}, // for staff

	"StockMovement": {id.StockMovement, byOwnedKey(loader.StockMovements)}, // by its variant; for staff
	"PriceChange":   {id.PriceChange, byOwnedKey(loader.PriceChanges)},     // likewise
}

func byKey[V interface {
	comparable
	Node
}](of loader.Edge[uuid.UUID, V]) func(context.Context, []id.ID) (map[id.ID]Node, error) {
	return nodesBy(of, func(i id.ID) uuid.UUID { return i.Key })
}

func byOwnedKey[V interface {
	comparable
	Node
}](of loader.Edge[id.Key, V]) func(context.Context, []id.ID) (map[id.ID]Node, error) {
	return nodesBy(of, id.ID.OwnedKey)
}

func nodesBy[K comparable, V interface {
	comparable
	Node
}](of loader.Edge[K, V], key func(id.ID) K) func(context.Context, []id.ID) (map[id.ID]Node, error) {
	return func(ctx context.Context, ids []id.ID) (map[id.ID]Node, error) {
		keys := make([]K, len(ids))
		for i := range ids {
			keys[i] = key(ids[i])
		}
		found, none := make(map[id.ID]Node, len(ids)), *new(V)
		var failed error
		of.Each(ctx, keys, func(i int, v V, err error) {
			if err != nil {
				failed = err
			} else if v != none {
				found[ids[i]] = v
			}
		})
		return found, failed
	}
}

// nodesOf loads what the IDs name, in one statement for each kind among them.
func nodesOf(ctx context.Context, ids []id.ID) (map[id.ID]Node, error) {
	byKind := map[id.Kind][]id.ID{}
	for _, i := range ids {
		byKind[i.Kind] = append(byKind[i.Kind], i)
	}
	all := make(map[id.ID]Node, len(ids))
	for _, rule := range nodeRules {
		if len(byKind[rule.kind]) == 0 {
			continue
		}
		found, err := rule.load(ctx, byKind[rule.kind])
		if err != nil {
			return nil, err
		}
		maps.Copy(all, found)
	}
	return all, nil
}

// toNode is an edge to an object of any type: it is loaded as node does, with a statement for each type among the objects.
type toNode[P any] struct{ key func(P) id.ID }

func (e toNode[P]) load(ctx context.Context, parents []any, _ map[string]any, results []exec.Result) {
	ids := make([]id.ID, len(parents))
	for i, p := range parents {
		if p != nil {
			ids[i] = e.key(p.(P))
		}
	}
	found, err := nodesOf(ctx, ids)
	for i := range parents {
		if results[i].Err = err; err == nil {
			results[i].Value = found[ids[i]]
		}
	}
}

func (e toNode[P]) follow(ctx context.Context, parent any, _ map[string]any) (any, error) {
	key := e.key(parent.(P))
	found, err := nodesOf(ctx, []id.ID{key})
	return found[key], err
}

func (toNode[P]) reads() exec.Reads { return exec.Reads{} }

func (toNode[P]) madeOf() reflect.Type { return nil }

func (r queryResolver) Node(ctx context.Context, i id.ID) (Node, error) {
	found, err := nodesOf(ctx, []id.ID{i})
	return found[i], err
}

func (r queryResolver) Nodes(ctx context.Context, ids []*id.ID) ([]Node, error) {
	if len(ids) > page.Max {
		return nil, fault.Input("at most 100 IDs at a time", "ids")
	}
	keys := make([]id.ID, len(ids))
	for i := range ids {
		keys[i] = *ids[i]
	}
	found, err := nodesOf(ctx, keys)
	if err != nil {
		return nil, err
	}
	nodes := make([]Node, len(keys))
	for i, key := range keys {
		nodes[i] = found[key]
	}
	return nodes, nil
}
