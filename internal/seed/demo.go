package seed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/product"
	"emporium/internal/user"
)

// demo is the demo shop in plain, but for the password hashes.
type demo struct {
	currency    money.Currency
	accounts    []*user.Account
	buyers      []buyer // as people
	categories  []product.Category
	collections []product.Collection
	products    []*product.Draft // as catalogue
	orders      []*order.Draft
	payments    []*payment.Draft
	terms       order.Terms
}

func newDemo(c money.Currency) *demo {
	d := &demo{currency: c}
	d.addPeople()
	d.addCatalogue()
	d.addOrders()
	d.addTerms()
	return d
}

// Demo loads the demo shop. What of it is there already, or was there and was changed since, is left alone: a second
// call does nothing, and one after an interruption loads what is missing. Where there are data of others it fails and
// writes nothing. Each of the four domains is loaded in a transaction of its own, and what carts are priced by in another.
func Demo(ctx context.Context, s Services, progress Progress) error {
	d := newDemo(s.Currency)
	there, err := s.holds(ctx, d)
	if err != nil {
		return fmt.Errorf("demo shop: %w", err)
	}
	if !there.users {
		for _, a := range d.accounts {
			i := slices.IndexFunc(Accounts(), func(sign Account) bool { return sign.Email == *a.Email })
			if i < 0 {
				continue
			}
			hash, err := s.Hasher.Hash(ctx, Accounts()[i].Password)
			if err != nil {
				return fmt.Errorf("demo shop: hash password: %w", err)
			}
			a.PasswordHash = &hash
		}
	}
	for _, part := range []struct {
		what  string
		there bool
		total int
		load  func(progress func(int)) error
	}{
		{"users", there.users, len(d.accounts), func(progress func(int)) error {
			return s.Users.Load(ctx, slices.Values(d.accounts), progress)
		}},
		{"products", there.products, len(d.products), func(progress func(int)) error {
			return s.Products.Load(ctx, d.categories, d.collections, slices.Values(d.products), progress)
		}},
		{"orders", there.orders, len(d.orders), func(progress func(int)) error {
			return s.Orders.Load(ctx, slices.Values(d.orders), progress)
		}},
		{"payments", there.payments, len(d.payments), func(progress func(int)) error {
			return s.Payments.Load(ctx, slices.Values(d.payments), progress)
		}},
	} {
		if part.there {
			continue
		}
		err := part.load(func(done int) {
			if progress != nil {
				progress(part.what, done, part.total)
			}
		})
		if err != nil {
			return fmt.Errorf("demo shop: %w", err)
		}
	}
	// Of these what is there already is left alone one by one: shops that are older than they are get them, too.
	if err := s.Orders.LoadTerms(ctx, d.terms); err != nil {
		return fmt.Errorf("demo shop: %w", err)
	}
	return nil
}

// parts tells for each domain whether its part of the demo shop is there.
type parts struct{ users, products, orders, payments bool }

// holds returns which parts of the demo shop are there. Each was loaded as a whole, so that one row of it stands for
// all. An error says that there are other data.
func (s Services) holds(ctx context.Context, d *demo) (parts, error) {
	var there parts
	has, err := s.count(ctx)
	if err != nil {
		return there, err
	}
	ctx = asStaff(ctx)

	var userIDs, productIDs []uuid.UUID
	var orderKeys, paymentKeys []id.Key
	for _, a := range d.accounts {
		userIDs = append(userIDs, a.ID)
	}
	for _, p := range d.products {
		productIDs = append(productIDs, p.ID)
	}
	for _, o := range d.orders {
		orderKeys = append(orderKeys, o.Order.Key())
	}
	for _, p := range d.payments {
		paymentKeys = append(paymentKeys, p.Payment.Key())
	}
	users, err1 := s.Users.ByIDs(ctx, userIDs)
	products, err2 := s.Products.ByIDs(ctx, productIDs)
	orders, err3 := s.Orders.ByKeys(ctx, orderKeys)
	payments, err4 := s.Payments.ByKeys(ctx, paymentKeys)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return there, fmt.Errorf("look for it: %w", err)
	}
	there = parts{len(users) > 0, len(products) > 0, len(orders) > 0, len(payments) > 0}
	if !there.users && has.users > 0 || !there.products && has.products+has.categories > 0 ||
		!there.orders && has.orders > 0 || !there.payments && has.payments > 0 {
		return there, fmt.Errorf("%w: %s; nothing was written", ErrOtherData, has)
	}
	return there, nil
}

var (
	saleAt    = anchor.AddDate(0, 0, -30)
	renamedAt = anchor.AddDate(0, 0, -75)
	dearerAt  = anchor.AddDate(0, 0, -90) // when every fifth product became dearer by a twentieth
)

// addCatalogue makes the categories, the collections and the products.
func (d *demo) addCatalogue() {
	r := source("catalogue")
	categories := map[string]uuid.UUID{}
	positions := map[string]int{}
	for _, c := range shelves {
		made := product.Category{ID: key(r, anchor.AddDate(0, 0, -430)), Slug: c.Slug, Name: c.Name,
			Description: optional(c.Description)}
		if c.Above != "" {
			made.ParentID = new(categories[c.Above])
		}
		positions[c.Above]++
		made.Position = positions[c.Above]
		categories[c.Slug] = made.ID
		d.categories = append(d.categories, made)
	}
	collections := map[string]uuid.UUID{}
	for _, c := range displays {
		collections[c.Slug] = key(r, anchor.AddDate(0, 0, -60))
		d.collections = append(d.collections, product.Collection{ID: collections[c.Slug], Slug: c.Slug, Title: c.Title,
			Description: &c.Description})
	}

	for n, it := range catalogue {
		age := 190 + r.IntN(220)
		switch {
		case it.Status == product.StatusDraft:
			age = 3 + r.IntN(10)
		case slices.Contains(it.On, "autumn"):
			age = 35 + r.IntN(25)
		}
		created := anchor.AddDate(0, 0, -age).Add(between(r, -3*time.Hour, 5*time.Hour))
		p := &product.Draft{Product: product.Product{
			ID: key(r, created), Slug: slugOf(it.Title), Title: it.Title, Vendor: &it.Vendor, Type: &it.Type, Tags: slices.Clone(it.Tags),
			Status: cmp.Or(it.Status, product.StatusActive), CategoryID: new(categories[it.Category]),
			Metadata: map[string]any{"maker": it.Vendor, "season": created.Year()}, CreatedAt: created,
		}}
		p.Description, p.DescriptionHTML = it.describe()
		p.SEOTitle, p.SEODescription = new(it.Title+" – "+it.Vendor), &it.Text
		if p.Status != product.StatusDraft {
			p.PublishedAt = new(created.Add(between(r, time.Hour, 48*time.Hour)))
		}
		p.UpdatedAt = created.Add(between(r, 48*time.Hour, 72*time.Hour))
		for _, slug := range it.On {
			p.Collections = append(p.Collections, collections[slug])
		}
		for i, c := range it.Choices {
			p.Options = append(p.Options, product.Option{ProductID: p.ID, Position: i + 1, Name: c.Name, Values: slices.Clone(c.Values)})
		}
		pictures := it.pictures()
		for i, pic := range pictures {
			p.Media = append(p.Media, product.Media{ID: key(r, created.Add(time.Duration(i+1)*time.Second)), ProductID: p.ID,
				Kind: product.MediaImage, URL: pic.url, Alt: &pic.alt, Position: i + 1,
				Width: new(pictureSize), Height: new(pictureSize)})
		}
		for i, values := range it.combinations() {
			v := product.VariantDraft{
				Variant: product.Variant{
					ID: key(r, created.Add(time.Minute+time.Duration(i)*time.Second)), ProductID: p.ID, Position: i + 1,
					SKU: new(it.sku(n, values)), Barcode: new(ean13(uint64(n*100 + i))), OptionChoices: values,
					Currency: d.currency, PriceMinor: minor(it.Price, d.currency), WeightGrams: new(it.Grams),
				},
				OnHand:        new(4 + r.IntN(36)),
				ImagePosition: 1,
			}
			if len(it.Steps) > 0 {
				step := slices.Index(it.Choices[0].Values, values[0])
				v.PriceMinor = minor(it.Price+it.Steps[step], d.currency)
				*v.WeightGrams = it.Grams + it.Grams*step/2
			}
			if it.Was > 0 {
				v.CompareAtMinor = new(v.PriceMinor + minor(it.Was-it.Price, d.currency))
			}
			if it.SoldOut || r.IntN(12) == 0 {
				v.OnHand = new(0)
			}
			if pic := slices.IndexFunc(pictures, func(pic picture) bool { return slices.Contains(values, pic.color) }); pic >= 0 {
				v.ImagePosition = pic + 1
			}
			p.Variants = append(p.Variants, v)
		}
		d.products = append(d.products, p)
	}
}

// minor turns an amount of a currency with two decimals into a believable one of another currency.
func minor(cents int64, c money.Currency) int64 {
	for range c.Exponent() - 2 {
		cents *= 10
	}
	return cents // without decimals a cent becomes a whole: 19.90 EUR are 1990 JPY
}

// slugOf returns the name of something in addresses.
func slugOf(title string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(title) {
		switch {
		case c == '\'' || c == '’':
		case c < 0x80 && (unicode.IsLetter(c) || unicode.IsDigit(c)):
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// describe returns the description as plain text and as HTML.
func (it item) describe() (plain, markup string) {
	var list strings.Builder
	for _, point := range it.Points {
		list.WriteString("<li>" + html.EscapeString(point) + "</li>")
	}
	plain = it.Text + "\n" + strings.Join(it.Points, "\n")
	return plain, "<p>" + html.EscapeString(it.Text) + "</p><ul>" + list.String() + "</ul>"
}

// combinations returns every combination of the values of the choices; without choices there is one, which is empty.
func (it item) combinations() [][]string {
	all := [][]string{{}}
	for _, c := range it.Choices {
		var next [][]string
		for _, values := range all {
			for _, v := range c.Values {
				next = append(next, append(slices.Clone(values), v))
			}
		}
		all = next
	}
	return all
}

// sku returns the stock keeping unit of a variant of the nth item, like SHIR-001-NAVY-M.
func (it item) sku(n int, values []string) string {
	code := func(text string) string {
		var b strings.Builder
		for _, c := range strings.ToUpper(text) {
			if c < 0x80 && (unicode.IsLetter(c) || unicode.IsDigit(c)) && b.Len() < 4 {
				b.WriteRune(c)
			}
		}
		return b.String()
	}
	sku := fmt.Sprintf("%s-%03d", code(it.Type), n+1)
	for _, v := range values {
		sku += "-" + code(v)
	}
	return sku
}

// ean13 returns the nth number of the range that shops may use among themselves, with its check digit.
func ean13(n uint64) string {
	digits := fmt.Sprintf("20%010d", n)
	sum := 0
	for i, c := range digits {
		sum += int(c-'0') * (1 + i%2*2)
	}
	return fmt.Sprintf("%s%d", digits, (10-sum%10)%10)
}

// addOrders makes the orders with their payments.
func (d *demo) addOrders() {
	r := source("orders")
	for n, s := range stories() {
		who := slices.IndexFunc(people, func(p person) bool { return strings.HasPrefix(p.Name, s.who+" ") })
		at := anchor.AddDate(0, 0, -s.daysAgo).Add(between(r, -4*time.Hour, -time.Hour))
		t := begin(r, d.currency, d.buyers[who], orderNumber(uint64(n)), at, d.basket(r, at), true)
		s.happens(t)
		o := t.order()
		o.CountSent()
		d.orders = append(d.orders, o)
		d.payments = append(d.payments, t.payments...)
	}
}

// basket picks two to four things that were on sale at the time, at the prices and under the names of that time.
func (d *demo) basket(r interface{ IntN(int) int }, at time.Time) []pick {
	var picks []pick
	taken := map[int]bool{}
	for want := 2 + r.IntN(3); len(picks) < want; {
		n := r.IntN(len(d.products))
		it, p := catalogue[n], d.products[n]
		if taken[n] || p.PublishedAt == nil || p.PublishedAt.After(at) {
			continue
		}
		taken[n] = true
		v := p.Variants[r.IntN(len(p.Variants))]
		bought := pick{product: p.ID, variant: v.ID, title: p.Title, variantTitle: optional(v.Title()), sku: v.SKU,
			image: &p.Media[v.ImagePosition-1].URL, price: v.PriceMinor, quantity: 1}
		if it.Formerly != "" && at.Before(renamedAt) {
			bought.title = it.Formerly
		}
		switch {
		case v.CompareAtMinor != nil && at.Before(saleAt):
			bought.price = *v.CompareAtMinor
		case n%5 == 2 && at.Before(dearerAt):
			bought.price -= bought.price / 20
		}
		if it.Price < 4000 {
			bought.quantity += r.IntN(4)
		}
		picks = append(picks, bought)
	}
	if r.IntN(4) == 0 {
		for i := range picks { // a voucher for a tenth
			picks[i].discount = picks[i].price * int64(picks[i].quantity) / 10
		}
	}
	return picks
}
