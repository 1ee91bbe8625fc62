package graph

import (
	"context"
	"maps"

	"github.com/google/uuid"

	"emporium/graph/loader"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/product"
	"emporium/internal/user"
)

// nodeRule says how node and nodes come to objects of a type: through the type's own loader, whose verb gives the viewer
// what the viewer may see; @owner then checks what came back.
type nodeRule struct {
	kind id.Kind
	load func(ctx context.Context, ids []id.ID) (map[id.ID]Node, error)
}

// nodeRules has a rule for each type that implements Node; the server does not start without one.
var nodeRules = map[string]nodeRule{
	"User":         {id.User, byKey(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *user.User] { return l.Users })},
	"Address":      {id.Address, byOwnedKey(func(l *loader.Loaders) *loader.Loader[id.Key, *user.Address] { return l.Addresses })},
	"Product":      {id.Product, byKey(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Product] { return l.Products })},
	"Variant":      {id.Variant, byKey(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Variant] { return l.Variants })},
	"Category":     {id.Category, byKey(categories)},
	"Collection":   {id.Collection, byKey(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Collection] { return l.Collections })},
	"Media":        {id.Media, byKey(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Media] { return l.Media })},
	"Order":        {id.Order, byOwnedKey(func(l *loader.Loaders) *loader.Loader[id.Key, *order.Order] { return l.Orders })},
	"OrderLine":    {id.OrderLine, byOwnedKey(func(l *loader.Loaders) *loader.Loader[id.Key, *order.Line] { return l.Lines })},
	"Fulfillment":  {id.Fulfillment, byOwnedKey(func(l *loader.Loaders) *loader.Loader[id.Key, *order.Fulfillment] { return l.Fulfillments })},
	"OrderEvent":   {id.OrderEvent, byOwnedKey(func(l *loader.Loaders) *loader.Loader[id.Key, *order.Event] { return l.OrderEvents })},
	"Payment":      {id.Payment, byOwnedKey(func(l *loader.Loaders) *loader.Loader[id.Key, *payment.Payment] { return l.Payments })},
	"PaymentEvent": {id.PaymentEvent, byOwnedKey(func(l *loader.Loaders) *loader.Loader[id.Key, *payment.Event] { return l.PaymentEvents })},
}

func byKey[V interface {
	comparable
	Node
}](of func(*loader.Loaders) *loader.Loader[uuid.UUID, V]) func(context.Context, []id.ID) (map[id.ID]Node, error) {
	return nodesBy(of, func(i id.ID) uuid.UUID { return i.Key })
}

func byOwnedKey[V interface {
	comparable
	Node
}](of func(*loader.Loaders) *loader.Loader[id.Key, V]) func(context.Context, []id.ID) (map[id.ID]Node, error) {
	return nodesBy(of, id.ID.OwnedKey)
}

func nodesBy[K comparable, V interface {
	comparable
	Node
}](of func(*loader.Loaders) *loader.Loader[K, V], key func(id.ID) K) func(context.Context, []id.ID) (map[id.ID]Node, error) {
	return func(ctx context.Context, ids []id.ID) (map[id.ID]Node, error) {
		l := of(loader.From(ctx))
		keys := make([]K, len(ids))
		for i := range ids {
			keys[i] = key(ids[i])
		}
		l.LoadAll(keys)
		found := make(map[id.ID]Node, len(ids))
		var none V
		for i, key := range keys {
			v, err := l.Load(ctx, key)
			if err != nil {
				return nil, err
			}
			if v != none {
				found[ids[i]] = v
			}
		}
		return found, nil
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
