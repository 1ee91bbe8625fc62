package order

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

// CartWarningCode is what a customer should know about a cart before ordering.
type CartWarningCode string

const (
	WarnPriceChanged          CartWarningCode = "PRICE_CHANGED"
	WarnShortStock            CartWarningCode = "SHORT_STOCK"
	WarnUnavailable           CartWarningCode = "UNAVAILABLE"
	WarnDiscountNotApplicable CartWarningCode = "DISCOUNT_NOT_APPLICABLE"
	WarnShippingNotAvailable  CartWarningCode = "SHIPPING_NOT_AVAILABLE"
)

// CartWarning is something that a customer should know about a cart before ordering.
type CartWarning struct {
	Code      CartWarningCode
	Message   string
	LineID    *id.ID
	OldPrice  *money.Money // of PRICE_CHANGED, with NewPrice
	NewPrice  *money.Money
	Available *int // of SHORT_STOCK, as far as shoppers are told
}

// Quote is a cart with its prices as they are now. Lines that can not be had are not priced: they are in none of the sums.
type Quote struct {
	Cart     id.Key
	Currency money.Currency
	Prices   // Prices.Lines are those of Goods
	Goods    []QuoteLine
	Discount *Discount        // that counts
	Shipping *ShippingOffer   // that was chosen and can be had
	Offers   []*ShippingOffer // that can be had
	Warnings []*CartWarning
	Problems []fault.Problem // for which no order can be placed; their fields are those of a cart
}

// QuoteLine is a line that can be had, as it would stand on an order.
type QuoteLine struct {
	LineID       uuid.UUID
	ProductID    uuid.UUID
	VariantID    uuid.UUID
	Quantity     int
	Title        string
	VariantTitle *string
	SKU          *string
	ImageURL     *string
	Tax          *TaxRate // nil: none
	LinePrices
}

// Line returns a line, or nil for one that can not be had.
func (q *Quote) Line(line uuid.UUID) *QuoteLine {
	for i := range q.Goods {
		if q.Goods[i].LineID == line {
			return &q.Goods[i]
		}
	}
	return nil
}

// money returns an amount of the quote.
func (q *Quote) money(minor int64) *money.Money { return new(money.New(minor, q.Currency)) }

// Subtotal is what the goods cost before the discount.
func (q *Quote) Subtotal() *money.Money { return q.money(q.SubtotalMinor) }

// DiscountTotal is what is taken off the goods.
func (q *Quote) DiscountTotal() *money.Money { return q.money(q.DiscountMinor) }

// ShippingTotal is what shipping costs.
func (q *Quote) ShippingTotal() *money.Money { return q.money(q.ShippingMinor) }

// TaxTotal is the tax in, or on top of, the prices.
func (q *Quote) TaxTotal() *money.Money { return q.money(q.TaxMinor) }

// Total is what an order would cost.
func (q *Quote) Total() *money.Money { return q.money(q.TotalMinor) }

// TaxLine is what a tax comes to.
type TaxLine struct {
	TaxAmount
	Currency money.Currency
}

// Amount is what the tax comes to.
func (t *TaxLine) Amount() money.Money { return money.New(t.Minor, t.Currency) }

// TaxLines are the taxes, which add up to the total.
func (q *Quote) TaxLines() []*TaxLine {
	lines := make([]*TaxLine, len(q.Taxes))
	for i, t := range q.Taxes {
		lines[i] = &TaxLine{t, q.Currency}
	}
	return lines
}

// offer is a variant that can be bought.
type offered struct {
	variant *product.Variant
	product *product.Product
}

// offered returns those of the variants that can be bought for the shop's currency, whoever asks, in two statements.
func (s *Service) offered(ctx context.Context, variants []uuid.UUID) (map[uuid.UUID]offered, error) {
	ctx = whole(ctx)
	found, err := s.products.Variants(ctx, distinct(variants))
	if err != nil {
		return nil, err
	}
	var ids []uuid.UUID
	for _, v := range found {
		ids = append(ids, v.ProductID)
	}
	products, err := s.products.ByIDs(ctx, distinct(ids))
	if err != nil {
		return nil, err
	}
	of := make(map[uuid.UUID]offered, len(found))
	for _, p := range products {
		for _, v := range found {
			// Staff sees what is not on sale, too.
			if v.ProductID == p.ID && p.Status == product.StatusActive && v.Currency == s.currency {
				of[v.ID] = offered{v, p}
			}
		}
	}
	return of, nil
}

// distinct returns keys without those that were there before.
func distinct(keys []uuid.UUID) []uuid.UUID {
	seen := make(map[uuid.UUID]bool, len(keys))
	var once []uuid.UUID
	for _, k := range keys {
		if !seen[k] {
			seen[k] = true
			once = append(once, k)
		}
	}
	return once
}

// market is what carts are priced by.
type market struct {
	goods     map[uuid.UUID]offered
	stock     map[uuid.UUID]*product.Stock
	pictures  map[uuid.UUID][]*product.Media // by product
	discounts map[uuid.UUID]*Discount
	uses      map[taken]int
	methods   []*ShippingMethod
}

// market reads what carts are priced by, in at most eight statements, however many there are and however long.
func (s *Service) market(ctx context.Context, carts []*Cart) (m market, err error) {
	if m.goods, err = s.offered(ctx, variantsOf(carts...)); err != nil {
		return m, err
	}
	var variants, products, discounts []uuid.UUID
	for _, g := range m.goods {
		variants, products = append(variants, g.variant.ID), append(products, g.product.ID)
	}
	stock, err := s.products.Stock(whole(ctx), variants)
	if err != nil {
		return m, err
	}
	m.stock = make(map[uuid.UUID]*product.Stock, len(stock))
	for _, x := range stock {
		m.stock[x.VariantID] = x
	}
	media, err := s.products.MediaOf(whole(ctx), distinct(products))
	if err != nil {
		return m, err
	}
	m.pictures = map[uuid.UUID][]*product.Media{}
	for _, x := range media {
		m.pictures[x.ProductID] = append(m.pictures[x.ProductID], x)
	}
	for _, c := range carts {
		if c.DiscountID != nil {
			discounts = append(discounts, *c.DiscountID)
		}
	}
	if m.discounts, err = s.discountsByIDs(ctx, distinct(discounts)); err != nil {
		return m, err
	}
	var limited []taken
	for _, c := range carts {
		if c.DiscountID != nil && m.discounts[*c.DiscountID] != nil && m.discounts[*c.DiscountID].CustomerLimit != nil {
			limited = append(limited, taken{*c.DiscountID, c.Owner})
		}
	}
	if m.uses, err = s.uses(ctx, s.db, limited); err != nil {
		return m, err
	}
	m.methods, err = s.activeMethods(ctx)
	return m, err
}

// quote prices a cart as of now. It reads the catalogue, and belongs outside of any transaction.
func (s *Service) quote(ctx context.Context, c *Cart, lines []*CartLine) (*Quote, error) {
	c = new(*c)
	c.Lines = lines
	quotes, err := s.Quotes(ctx, []*Cart{c})
	return quotes[c], err
}

// Quotes prices carts as of now. The carts come from verbs of the service, which know that the viewer may see them. Beside
// the statements that are the same for any number of carts it asks the tax rule once for each.
func (s *Service) Quotes(ctx context.Context, carts []*Cart) (map[*Cart]*Quote, error) {
	m, err := s.market(ctx, carts)
	if err != nil {
		return nil, err
	}
	quotes := make(map[*Cart]*Quote, len(carts))
	for _, c := range carts {
		if quotes[c], err = s.quoteOf(ctx, c, m); err != nil {
			return nil, err
		}
	}
	return quotes, nil
}

func (s *Service) quoteOf(ctx context.Context, c *Cart, m market) (*Quote, error) {
	q := &Quote{Cart: c.Key(), Currency: s.currency, Warnings: []*CartWarning{}, Offers: []*ShippingOffer{}}
	q.collect(c, m)
	country := ""
	if c.ShippingAddress != nil {
		country = c.ShippingAddress.Country
	}
	in := PricingInput{TaxIncluded: s.taxIncluded, Lines: make([]PricingLine, len(q.Goods))}
	for i, l := range q.Goods {
		in.Lines[i] = PricingLine{UnitPriceMinor: l.UnitPriceMinor, Quantity: l.Quantity}
	}
	// What shipping costs and whether the discount counts depends on what the goods cost.
	goods, err := price(in)
	if err != nil {
		return nil, err
	}
	if c.DiscountID != nil {
		q.discount(ctx, m.discounts[*c.DiscountID], goods.SubtotalMinor, s, m.uses[taken{*c.DiscountID, c.Owner}])
	}
	if q.Discount != nil {
		in.Discount = q.Discount.terms()
	}
	q.ship(c, m.methods, country, goods.SubtotalMinor-in.Discount.of(goods.SubtotalMinor), in.Discount)
	if q.Shipping != nil {
		in.ShippingMinor = q.Shipping.PriceMinor
	}
	if country != "" {
		taxed := make([]TaxedLine, len(q.Goods))
		for i, l := range q.Goods {
			taxed[i] = TaxedLine{l.ProductID, l.VariantID}
		}
		if _, ok := s.taxRule.(tableTax); !ok {
			postgres.Uncacheable(ctx, "what a tax rule of the shop's own goes by is not known")
		}
		rates, err := s.taxRule.Tax(ctx, TaxQuery{Country: country, Lines: taxed})
		if err != nil {
			return nil, fmt.Errorf("taxes of cart %s: %w", c.ID, err)
		}
		for i, rate := range rates.Lines {
			in.Lines[i].Tax, q.Goods[i].Tax = rate, rate
		}
		in.ShippingTax = rates.Shipping
	}
	if q.Prices, err = price(in); err != nil {
		return nil, err
	}
	for i := range q.Goods {
		q.Goods[i].LinePrices = q.Prices.Lines[i]
	}
	q.lack(c)
	return q, nil
}

func (q *Quote) warn(w CartWarning) { q.Warnings = append(q.Warnings, &w) }

func (q *Quote) refuse(code fault.ProblemCode, message string, field ...string) {
	q.Problems = append(q.Problems, fault.NewProblem(code, message, field...))
}

// collect fills the goods, and says what is wrong with them.
func (q *Quote) collect(c *Cart, m market) {
	for i, l := range c.Lines {
		line, at := l.GlobalID(), []string{"lines", fmt.Sprint(i)}
		g, ok := m.goods[l.VariantID]
		if !ok {
			q.warn(CartWarning{Code: WarnUnavailable, LineID: &line, Message: "this can not be had any more"})
			q.refuse(fault.ProblemUnavailable, "this can not be had any more", at...)
			continue
		}
		if v := g.variant; v.PriceMinor != l.UnitPriceMinor {
			q.warn(CartWarning{Code: WarnPriceChanged, LineID: &line, OldPrice: q.money(l.UnitPriceMinor), NewPrice: q.money(v.PriceMinor),
				Message: "the price of " + g.product.Title + " has changed"})
		}
		stock := cmp.Or(m.stock[l.VariantID], &product.Stock{})
		if stock.Available() < l.Quantity {
			told := stock.Availability().Quantity
			q.warn(CartWarning{Code: WarnShortStock, LineID: &line, Available: &told,
				Message: "there is less of " + g.product.Title + " than is wanted"})
			q.refuse(fault.ProblemOutOfStock, "there is less of this than is wanted", at...)
		}
		bought := QuoteLine{LineID: l.ID, ProductID: g.product.ID, VariantID: l.VariantID, Quantity: l.Quantity, Title: g.product.Title,
			SKU: g.variant.SKU, ImageURL: g.picture(m.pictures[g.product.ID]), LinePrices: LinePrices{UnitPriceMinor: g.variant.PriceMinor}}
		if title := g.variant.Title(); title != "" {
			bought.VariantTitle = &title
		}
		q.Goods = append(q.Goods, bought)
	}
}

// discount lets a discount count, or says why it does not.
func (q *Quote) discount(ctx context.Context, d *Discount, subtotal int64, s *Service, uses int) {
	why := "this discount is not given any more"
	if d != nil {
		if d.StartsAt != nil || d.EndsAt != nil {
			postgres.Uncacheable(ctx, "the discount holds for a time")
		}
		why = d.refusal(s.now(), s.currency, uses)
		if why == "" && subtotal < d.MinimumSubtotalMinor {
			why = "this discount is for goods that are worth at least " + d.MinimumSubtotal().String()
		}
	}
	if why == "" {
		q.Discount = d
		return
	}
	q.warn(CartWarning{Code: WarnDiscountNotApplicable, Message: why})
	q.refuse(fault.ProblemNotApplicable, why, "discount")
}

// ship fills the offers, and says whether what was chosen is one of them.
func (q *Quote) ship(c *Cart, methods []*ShippingMethod, country string, worth int64, discount *DiscountTerms) {
	for _, m := range methods {
		o := m.offer(country, worth)
		if o == nil {
			continue
		}
		if discount != nil && discount.Kind == DiscountFreeShipping {
			o.PriceMinor = 0
		}
		q.Offers = append(q.Offers, o)
		if c.ShippingMethodID != nil && m.ID == *c.ShippingMethodID {
			q.Shipping = o
		}
	}
	if c.ShippingMethodID != nil && q.Shipping == nil {
		q.warn(CartWarning{Code: WarnShippingNotAvailable, Message: "the shipping method can not be had for this cart"})
		q.refuse(fault.ProblemUnavailable, "the shipping method can not be had for this cart", "shippingMethodId")
	}
}

// lack says what is missing for an order.
func (q *Quote) lack(c *Cart) {
	if len(c.Lines) == 0 {
		q.refuse(fault.ProblemMissing, "the cart is empty", "lines")
	}
	if c.Guest && c.Email == nil {
		q.refuse(fault.ProblemMissing, "an e-mail address is needed", "email")
	}
	if c.ShippingAddress == nil {
		q.refuse(fault.ProblemMissing, "an address to ship to is needed", "shippingAddress")
	}
	if c.ShippingMethodID == nil {
		q.refuse(fault.ProblemMissing, "a shipping method is needed", "shippingMethodId")
	}
}
