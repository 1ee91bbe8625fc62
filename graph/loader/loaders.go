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

// PageKey asks for a page of what somebody, or something, has.
type PageKey struct {
	Of   uuid.UUID
	Page Page
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

// The edges, by the domain that they are read from. What the viewer may not see is not found.
var (
	Users = declare("users", func(s Services) Fetch[uuid.UUID, *user.User] {
		return one(s.Users.ByIDs, func(u *user.User) uuid.UUID { return u.ID })
	})
	UserCounts = declare("users.count", func(s Services) Fetch[*user.Connection, int] {
		return each(func(ctx context.Context, c *user.Connection) (int, error) { return s.Users.Count(ctx, c.Filter) })
	})
	Addresses = declare("addresses", func(s Services) Fetch[id.Key, *user.Address] {
		return one(s.Users.Addresses, (*user.Address).Key)
	})
	AddressesOf = declare("user.addresses", func(s Services) Fetch[uuid.UUID, []*user.Address] {
		return many(s.Users.AddressesOf, func(a *user.Address) uuid.UUID { return a.Owner })
	})

	Products = declare("products", func(s Services) Fetch[uuid.UUID, *product.Product] {
		return one(s.Products.ByIDs, func(p *product.Product) uuid.UUID { return p.ID })
	})
	ProductsOf = declare("scope.products", func(s Services) Fetch[ProductsKey, *product.Connection] {
		return productsOf(s.Products)
	})
	Variants = declare("variants", func(s Services) Fetch[uuid.UUID, *product.Variant] {
		return one(s.Products.Variants, func(v *product.Variant) uuid.UUID { return v.ID })
	})
	VariantsOf = declare("product.variants", func(s Services) Fetch[uuid.UUID, []*product.Variant] {
		return many(s.Products.VariantsOf, func(v *product.Variant) uuid.UUID { return v.ProductID })
	})
	OptionsOf = declare("product.options", func(s Services) Fetch[uuid.UUID, []*product.Option] {
		return many(s.Products.OptionsOf, func(o *product.Option) uuid.UUID { return o.ProductID })
	})
	Media = declare("media", func(s Services) Fetch[uuid.UUID, *product.Media] {
		return one(s.Products.Media, func(m *product.Media) uuid.UUID { return m.ID })
	})
	MediaOf = declare("product.media", func(s Services) Fetch[uuid.UUID, []*product.Media] {
		return many(s.Products.MediaOf, func(m *product.Media) uuid.UUID { return m.ProductID })
	})
	Stock = declare("variant.stock", func(s Services) Fetch[uuid.UUID, *product.Stock] {
		return one(s.Products.Stock, func(x *product.Stock) uuid.UUID { return x.VariantID })
	})
	StockMovements = declare("stock_movements", func(s Services) Fetch[id.Key, *product.Movement] {
		return one(s.Products.MovementsByKeys, (*product.Movement).Key)
	})
	StockMovementsOf = declare("variant.movements", func(s Services) Fetch[PageKey, *product.MovementConnection] {
		return pagesOf(s.Products.Movements)
	})
	PriceChanges = declare("price_changes", func(s Services) Fetch[id.Key, *product.PriceChange] {
		return one(s.Products.PriceChangesByKeys, (*product.PriceChange).Key)
	})
	PriceChangesOf = declare("variant.price_changes", func(s Services) Fetch[PageKey, *product.PriceChangeConnection] {
		return pagesOf(s.Products.PriceChanges)
	})
	Categories = declare("categories", func(s Services) Fetch[uuid.UUID, *product.Category] {
		return one(s.Products.Categories, func(c *product.Category) uuid.UUID { return c.ID })
	})
	ChildrenOf = declare("category.children", func(s Services) Fetch[uuid.UUID, []*product.Category] {
		return many(s.Products.ChildrenOf, parentOf)
	})
	Collections = declare("collections", func(s Services) Fetch[uuid.UUID, *product.Collection] {
		return one(s.Products.CollectionsByIDs, func(c *product.Collection) uuid.UUID { return c.ID })
	})
	CollectionsOf = declare("product.collections", func(s Services) Fetch[uuid.UUID, []*product.Collection] {
		return s.Products.CollectionsOf
	})
	ProductCounts = declare("products.count", func(s Services) Fetch[*product.Connection, int] {
		return alike(s.Products.Counts)
	})
	ProductFacets = declare("products.facets", func(s Services) Fetch[*product.Connection, *product.Facets] {
		return alike(s.Products.Facets)
	})

	Orders = declare("orders", func(s Services) Fetch[id.Key, *order.Order] {
		return one(s.Orders.ByKeys, (*order.Order).Key)
	})
	OrdersOf = declare("user.orders", func(s Services) Fetch[PageKey, *order.Connection] {
		return pagesOf(s.Orders.ListByOwners)
	})
	OrderCounts = declare("orders.count", func(s Services) Fetch[*order.Connection, int] {
		return orderCounts(s.Orders)
	})
	Lines = declare("lines", func(s Services) Fetch[id.Key, *order.Line] {
		return one(s.Orders.Lines, (*order.Line).Key)
	})
	LinesOf = declare("order.lines", func(s Services) Fetch[id.Key, []*order.Line] {
		return many(s.Orders.LinesOf, (*order.Line).OrderKey)
	})
	Fulfillments = declare("fulfillments", func(s Services) Fetch[id.Key, *order.Fulfillment] {
		return one(s.Orders.Fulfillments, (*order.Fulfillment).Key)
	})
	FulfillmentsOf = declare("order.fulfillments", func(s Services) Fetch[id.Key, []*order.Fulfillment] {
		return many(s.Orders.FulfillmentsOf, (*order.Fulfillment).OrderKey)
	})
	FulfillmentLinesOf = declare("fulfillment.lines", func(s Services) Fetch[id.Key, []*order.FulfillmentLine] {
		return many(s.Orders.FulfillmentLinesOf, (*order.FulfillmentLine).FulfillmentKey)
	})
	OrderEvents = declare("order_events", func(s Services) Fetch[id.Key, *order.Event] {
		return one(s.Orders.Events, (*order.Event).Key)
	})
	OrderEventsOf = declare("order.events", func(s Services) Fetch[id.Key, []*order.Event] {
		return many(s.Orders.EventsOf, (*order.Event).OrderKey)
	})

	Carts = declare("carts", func(s Services) Fetch[id.Key, *order.Cart] {
		return one(s.Orders.Carts, (*order.Cart).Key)
	})
	CartLines = declare("cart_lines", func(s Services) Fetch[id.Key, *order.CartLine] {
		return one(s.Orders.CartLines, (*order.CartLine).Key)
	})
	Quotes = declare("cart.quote", func(s Services) Fetch[*order.Cart, *order.Quote] {
		return s.Orders.Quotes
	})

	Payments = declare("payments", func(s Services) Fetch[id.Key, *payment.Payment] {
		return one(s.Payments.ByKeys, (*payment.Payment).Key)
	})
	PaymentsOf = declare("order.payments", func(s Services) Fetch[id.Key, []*payment.Payment] {
		return many(s.Payments.PaymentsOf, (*payment.Payment).OrderKey)
	})
	PaymentCounts = declare("payments.count", func(s Services) Fetch[*payment.Connection, int] {
		return each(func(ctx context.Context, c *payment.Connection) (int, error) { return s.Payments.Count(ctx, c.Filter) })
	})
	PaymentEvents = declare("payment_events", func(s Services) Fetch[id.Key, *payment.Event] {
		return one(s.Payments.Events, (*payment.Event).Key)
	})
	PaymentEventsOf = declare("payment.events", func(s Services) Fetch[id.Key, []*payment.Event] {
		return many(s.Payments.EventsOf, (*payment.Event).PaymentKey)
	})
	PaymentCommands = declare("payment_commands", func(s Services) Fetch[id.Key, *payment.Command] {
		return one(s.Payments.Commands, (*payment.Command).Key)
	})
	PaymentCommandsOf = declare("payment.commands", func(s Services) Fetch[id.Key, []*payment.Command] {
		return many(s.Payments.CommandsOf, (*payment.Command).PaymentKey)
	})
	PaymentTotals = declare("payment.totals", func(s Services) Fetch[id.Key, payment.Totals] {
		return s.Payments.TotalsOf
	})
	OrderTotals = declare("order.totals", func(s Services) Fetch[id.Key, payment.Totals] {
		return s.Payments.TotalsOfOrders
	})
)

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

// many makes a fetch function of a verb that returns any number of rows for each key, in their order, those of one key
// together. No rows are an empty list: null would mean that the list is not the viewer's to see.
func many[K comparable, V any](verb func(context.Context, []K) ([]V, error), key func(V) K) func(context.Context, []K) (map[K][]V, error) {
	return func(ctx context.Context, keys []K) (map[K][]V, error) {
		rows, err := verb(ctx, keys)
		found := make(map[K][]V, len(keys))
		for _, k := range keys {
			found[k] = []V{}
		}
		for from := 0; from < len(rows); {
			k, to := key(rows[from]), from+1
			for to < len(rows) && key(rows[to]) == k {
				to++
			}
			found[k] = append(found[k], rows[from:to]...)
			from = to
		}
		return found, err
	}
}

// each makes a fetch function of a verb that takes one key at a time: for edges of which an operation has few.
func each[K comparable, V any](verb func(context.Context, K) (V, error)) func(context.Context, []K) (map[K]V, error) {
	return func(ctx context.Context, keys []K) (map[K]V, error) {
		return grouped(keys, func(k K) K { return k }, func(same []K, found map[K]V) error {
			v, err := verb(ctx, same[0])
			found[same[0]] = v
			return err
		})
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
		how := func(k ProductsKey) ProductsKey { k.Scope = product.Scope{}; return k }
		return grouped(keys, how, func(same []ProductsKey, found map[ProductsKey]*product.Connection) error {
			var q product.Query
			if same[0].Sorted {
				q.Sort = &same[0].Sort
			}
			scopes := make([]product.Scope, len(same))
			for i, k := range same {
				scopes[i] = k.Scope
			}
			pages, err := s.Lists(ctx, scopes, q, same[0].Page.Args())
			if err != nil {
				return err
			}
			for i, k := range same {
				found[k] = pages[i]
			}
			return nil
		})
	}
}

// pagesOf fetches pages of what many have: one statement for all who are asked for alike.
func pagesOf[C any](verb func(context.Context, []uuid.UUID, page.Args) (map[uuid.UUID]C, error)) Fetch[PageKey, C] {
	return func(ctx context.Context, keys []PageKey) (map[PageKey]C, error) {
		how := func(k PageKey) Page { return k.Page }
		return grouped(keys, how, func(same []PageKey, found map[PageKey]C) error {
			of := make([]uuid.UUID, len(same))
			for i, k := range same {
				of[i] = k.Of
			}
			pages, err := verb(ctx, of, same[0].Page.Args())
			for _, k := range same {
				found[k] = pages[k.Of]
			}
			return err
		})
	}
}

// orderCounts counts pages of orders: those of owners in one statement, others one by one.
func orderCounts(s *order.Service) func(context.Context, []*order.Connection) (map[*order.Connection]int, error) {
	return func(ctx context.Context, keys []*order.Connection) (map[*order.Connection]int, error) {
		how := func(c *order.Connection) *order.Connection {
			if c.Owner != nil {
				return nil
			}
			return c
		}
		return grouped(keys, how, func(same []*order.Connection, found map[*order.Connection]int) (err error) {
			if same[0].Owner == nil {
				found[same[0]], err = s.Count(ctx, same[0].Filter)
				return err
			}
			owners := make([]uuid.UUID, len(same))
			for i, c := range same {
				owners[i] = *c.Owner
			}
			counts, err := s.CountByOwners(ctx, owners)
			for _, c := range same {
				found[c] = counts[*c.Owner]
			}
			return err
		})
	}
}

// alike fetches something about pages of products. Pages under one edge were asked for alike, but for their scope.
func alike[V any](verb func(context.Context, []product.Scope, product.Query) ([]V, error)) func(context.Context, []*product.Connection) (map[*product.Connection]V, error) {
	type question struct {
		text string
		sole *product.Connection // set when the page has a filter: such pages are asked for one by one
	}
	return func(ctx context.Context, keys []*product.Connection) (map[*product.Connection]V, error) {
		how := func(c *product.Connection) question {
			if c.Scope == (product.Scope{}) {
				return question{sole: c}
			}
			return question{text: c.Query.Text}
		}
		return grouped(keys, how, func(same []*product.Connection, found map[*product.Connection]V) error {
			scopes := make([]product.Scope, len(same))
			for i, c := range same {
				scopes[i] = c.Scope
			}
			values, err := verb(ctx, scopes, same[0].Query)
			if err != nil {
				return err
			}
			for i, c := range same {
				found[c] = values[i]
			}
			return nil
		})
	}
}

// grouped fetches keys that have something in common together; a group that fails does so for itself.
func grouped[K, G comparable, V any](keys []K, common func(K) G, fetch func(same []K, found map[K]V) error) (map[K]V, error) {
	found, failed := make(map[K]V, len(keys)), KeyErrors[K]{}
	for _, same := range groups(keys, common) {
		if err := fetch(same, found); err != nil {
			shared := &failure{err}
			for _, k := range same {
				failed[k] = shared
			}
		}
	}
	if len(failed) > 0 {
		return found, failed
	}
	return found, nil
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
