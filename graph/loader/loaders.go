package loader

import (
	"context"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/product"
	"emporium/internal/user"
)

// Services are the domains that the loaders read from.
type Services struct {
	Users    *user.Service
	Products *product.Service
	Orders   *order.Service
	Payments *payment.Service
}

// OrdersKey asks for a page of an owner's orders.
type OrdersKey struct {
	Owner uuid.UUID
	Page  Page
}

// ProductsKey asks for a page of the products in a scope.
type ProductsKey struct {
	Scope  product.Scope
	Page   Page
	Sorted bool // whether Sort was given
	Sort   product.Sort
}

// Page are the arguments of a connection in a form that can be compared; -1 and "" stand for what was not given.
type Page struct {
	First, Last   int
	After, Before string
}

// PageOf returns the comparable form of a connection's arguments.
func PageOf(a page.Args) Page {
	number := func(n *int) int {
		if n == nil {
			return -1
		}
		return max(*n, -2) // -2: given and negative, refused by the store
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return Page{First: number(a.First), Last: number(a.Last), After: text(a.After), Before: text(a.Before)}
}

// Args returns the arguments again.
func (p Page) Args() page.Args {
	var a page.Args
	if p.First != -1 {
		a.First = &p.First
	}
	if p.Last != -1 {
		a.Last = &p.Last
	}
	if p.After != "" {
		a.After = &p.After
	}
	if p.Before != "" {
		a.Before = &p.Before
	}
	return a
}

// Loaders are the loaders of one operation, one for each edge. The viewer is the operation's, so that it is no part of
// the keys.
type Loaders struct {
	Users       *Loader[uuid.UUID, *user.User]
	Addresses   *Loader[id.Key, *user.Address]
	AddressesOf *Loader[uuid.UUID, []*user.Address]

	Products      *Loader[uuid.UUID, *product.Product]
	ProductsOf    *Loader[ProductsKey, *product.Connection]
	Variants      *Loader[uuid.UUID, *product.Variant]
	VariantsOf    *Loader[uuid.UUID, []*product.Variant]
	OptionsOf     *Loader[uuid.UUID, []*product.Option]
	Media         *Loader[uuid.UUID, *product.Media]
	MediaOf       *Loader[uuid.UUID, []*product.Media]
	Stock         *Loader[uuid.UUID, *product.Stock]
	Categories    *Loader[uuid.UUID, *product.Category]
	ChildrenOf    *Loader[uuid.UUID, []*product.Category]
	Collections   *Loader[uuid.UUID, *product.Collection]
	CollectionsOf *Loader[uuid.UUID, []*product.Collection]
	ProductCounts *Loader[*product.Connection, int]
	ProductFacets *Loader[*product.Connection, *product.Facets]

	Orders             *Loader[id.Key, *order.Order]
	OrdersOf           *Loader[OrdersKey, *order.Connection]
	OrderCounts        *Loader[uuid.UUID, int]
	Lines              *Loader[id.Key, *order.Line]
	LinesOf            *Loader[id.Key, []*order.Line]
	Fulfillments       *Loader[id.Key, *order.Fulfillment]
	FulfillmentsOf     *Loader[id.Key, []*order.Fulfillment]
	FulfillmentLinesOf *Loader[id.Key, []*order.FulfillmentLine]
	OrderEvents        *Loader[id.Key, *order.Event]
	OrderEventsOf      *Loader[id.Key, []*order.Event]

	Payments        *Loader[id.Key, *payment.Payment]
	PaymentsOf      *Loader[id.Key, []*payment.Payment]
	PaymentEvents   *Loader[id.Key, *payment.Event]
	PaymentEventsOf *Loader[id.Key, []*payment.Event]
	PaymentTotals   *Loader[id.Key, payment.Totals]
	OrderTotals     *Loader[id.Key, payment.Totals]
}

// New makes the loaders of an operation. The context is the operation's: it carries the viewer and the deadline.
func New(op context.Context, s Services, observe Observer) *Loaders {
	return &Loaders{
		Users:     newLoader(op, observe, "users", one(s.Users.ByIDs, func(u *user.User) uuid.UUID { return u.ID })),
		Addresses: newLoader(op, observe, "addresses", one(s.Users.Addresses, (*user.Address).Key)),
		AddressesOf: newLoader(op, observe, "user.addresses",
			many(s.Users.AddressesOf, func(a *user.Address) uuid.UUID { return a.Owner })),

		Products: newLoader(op, observe, "products",
			one(s.Products.ByIDs, func(p *product.Product) uuid.UUID { return p.ID })),
		ProductsOf: newLoader(op, observe, "scope.products", productsOf(s.Products)),
		Variants: newLoader(op, observe, "variants",
			one(s.Products.Variants, func(v *product.Variant) uuid.UUID { return v.ID })),
		VariantsOf: newLoader(op, observe, "product.variants",
			many(s.Products.VariantsOf, func(v *product.Variant) uuid.UUID { return v.ProductID })),
		OptionsOf: newLoader(op, observe, "product.options",
			many(s.Products.OptionsOf, func(o *product.Option) uuid.UUID { return o.ProductID })),
		Media: newLoader(op, observe, "media",
			one(s.Products.Media, func(m *product.Media) uuid.UUID { return m.ID })),
		MediaOf: newLoader(op, observe, "product.media",
			many(s.Products.MediaOf, func(m *product.Media) uuid.UUID { return m.ProductID })),
		Stock: newLoader(op, observe, "variant.stock",
			one(s.Products.Stock, func(x *product.Stock) uuid.UUID { return x.VariantID })),
		Categories: newLoader(op, observe, "categories",
			one(s.Products.Categories, func(c *product.Category) uuid.UUID { return c.ID })),
		ChildrenOf: newLoader(op, observe, "category.children", many(s.Products.ChildrenOf, parentOf)),
		Collections: newLoader(op, observe, "collections",
			one(s.Products.CollectionsByIDs, func(c *product.Collection) uuid.UUID { return c.ID })),
		CollectionsOf: newLoader(op, observe, "product.collections", s.Products.CollectionsOf),
		ProductCounts: newLoader(op, observe, "products.count", alike(s.Products.Counts)),
		ProductFacets: newLoader(op, observe, "products.facets", alike(s.Products.Facets)),

		Orders:         newLoader(op, observe, "orders", one(s.Orders.ByKeys, (*order.Order).Key)),
		OrdersOf:       newLoader(op, observe, "user.orders", ordersOf(s.Orders)),
		OrderCounts:    newLoader(op, observe, "user.orders.count", s.Orders.CountByOwners),
		Lines:          newLoader(op, observe, "lines", one(s.Orders.Lines, (*order.Line).Key)),
		LinesOf:        newLoader(op, observe, "order.lines", many(s.Orders.LinesOf, (*order.Line).OrderKey)),
		Fulfillments:   newLoader(op, observe, "fulfillments", one(s.Orders.Fulfillments, (*order.Fulfillment).Key)),
		FulfillmentsOf: newLoader(op, observe, "order.fulfillments", many(s.Orders.FulfillmentsOf, (*order.Fulfillment).OrderKey)),
		FulfillmentLinesOf: newLoader(op, observe, "fulfillment.lines",
			many(s.Orders.FulfillmentLinesOf, (*order.FulfillmentLine).FulfillmentKey)),
		OrderEvents:   newLoader(op, observe, "order_events", one(s.Orders.Events, (*order.Event).Key)),
		OrderEventsOf: newLoader(op, observe, "order.events", many(s.Orders.EventsOf, (*order.Event).OrderKey)),

		Payments:        newLoader(op, observe, "payments", one(s.Payments.ByKeys, (*payment.Payment).Key)),
		PaymentsOf:      newLoader(op, observe, "order.payments", many(s.Payments.PaymentsOf, (*payment.Payment).OrderKey)),
		PaymentEvents:   newLoader(op, observe, "payment_events", one(s.Payments.Events, (*payment.Event).Key)),
		PaymentEventsOf: newLoader(op, observe, "payment.events", many(s.Payments.EventsOf, (*payment.Event).PaymentKey)),
		PaymentTotals:   newLoader(op, observe, "payment.totals", s.Payments.TotalsOf),
		OrderTotals:     newLoader(op, observe, "order.totals", s.Payments.TotalsOfOrders),
	}
}

type loadersKey struct{}

// With returns a context that carries the loaders of its operation.
func With(ctx context.Context, l *Loaders) context.Context {
	return context.WithValue(ctx, loadersKey{}, l)
}

// From returns the loaders of the operation.
func From(ctx context.Context) *Loaders { return ctx.Value(loadersKey{}).(*Loaders) }

// one makes a fetch function of a verb that returns at most one row for each key.
func one[K comparable, V any](verb func(context.Context, []K) ([]V, error), key func(V) K) func(context.Context, []K) (map[K]V, error) {
	return func(ctx context.Context, keys []K) (map[K]V, error) {
		rows, err := verb(ctx, keys)
		found := make(map[K]V, len(rows))
		for _, row := range rows {
			found[key(row)] = row
		}
		return found, err
	}
}

// many makes a fetch function of a verb that returns any number of rows for each key, in their order. No rows are an empty
// list: null would mean that the list is not the viewer's to see.
func many[K comparable, V any](verb func(context.Context, []K) ([]V, error), key func(V) K) func(context.Context, []K) (map[K][]V, error) {
	return func(ctx context.Context, keys []K) (map[K][]V, error) {
		rows, err := verb(ctx, keys)
		found := make(map[K][]V, len(keys))
		for _, k := range keys {
			found[k] = []V{}
		}
		for _, row := range rows {
			found[key(row)] = append(found[key(row)], row)
		}
		return found, err
	}
}

func parentOf(c *product.Category) uuid.UUID {
	if c.ParentID == nil {
		return uuid.Nil
	}
	return *c.ParentID
}

// productsOf fetches pages of products: one statement for all scopes that are asked for alike.
func productsOf(s *product.Service) func(context.Context, []ProductsKey) (map[ProductsKey]*product.Connection, error) {
	return func(ctx context.Context, keys []ProductsKey) (map[ProductsKey]*product.Connection, error) {
		found := make(map[ProductsKey]*product.Connection, len(keys))
		for _, group := range groups(keys, func(k ProductsKey) ProductsKey { k.Scope = product.Scope{}; return k }) {
			var q product.Query
			if group[0].Sorted {
				q.Sort = &group[0].Sort
			}
			scopes := make([]product.Scope, len(group))
			for i, k := range group {
				scopes[i] = k.Scope
			}
			pages, err := s.Lists(ctx, scopes, q, group[0].Page.Args())
			if err != nil {
				return nil, err
			}
			for i, k := range group {
				found[k] = pages[i]
			}
		}
		return found, nil
	}
}

// ordersOf fetches pages of orders: one statement for all owners that are asked for alike.
func ordersOf(s *order.Service) func(context.Context, []OrdersKey) (map[OrdersKey]*order.Connection, error) {
	return func(ctx context.Context, keys []OrdersKey) (map[OrdersKey]*order.Connection, error) {
		found := make(map[OrdersKey]*order.Connection, len(keys))
		for _, group := range groups(keys, func(k OrdersKey) Page { return k.Page }) {
			owners := make([]uuid.UUID, len(group))
			for i, k := range group {
				owners[i] = k.Owner
			}
			pages, err := s.ListByOwners(ctx, owners, group[0].Page.Args())
			if err != nil {
				return nil, err
			}
			for _, k := range group {
				found[k] = pages[k.Owner]
			}
		}
		return found, nil
	}
}

// alike fetches something about pages of products. Pages under one edge were asked for alike, but for their scope.
func alike[V any](verb func(context.Context, []product.Scope, product.Query) ([]V, error)) func(context.Context, []*product.Connection) (map[*product.Connection]V, error) {
	type question struct {
		text string
		sole *product.Connection // set when the page has a filter: such pages are asked for one by one
	}
	return func(ctx context.Context, keys []*product.Connection) (map[*product.Connection]V, error) {
		found := make(map[*product.Connection]V, len(keys))
		for _, group := range groups(keys, func(c *product.Connection) question {
			if c.Scope == (product.Scope{}) {
				return question{sole: c}
			}
			return question{text: c.Query.Text}
		}) {
			scopes := make([]product.Scope, len(group))
			for i, c := range group {
				scopes[i] = c.Scope
			}
			values, err := verb(ctx, scopes, group[0].Query)
			if err != nil {
				return nil, err
			}
			for i, c := range group {
				found[c] = values[i]
			}
		}
		return found, nil
	}
}

// groups splits keys by what they have in common, in the order of their first appearance.
func groups[K any, G comparable](keys []K, common func(K) G) [][]K {
	at := map[G]int{}
	var all [][]K
	for _, k := range keys {
		g := common(k)
		i, ok := at[g]
		if !ok {
			i = len(all)
			at[g] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], k)
	}
	return all
}
