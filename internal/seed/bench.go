package seed

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/product"
	"emporium/internal/user"
)

// scale is how large a bench data set is. Every tenth order has two payments, the others one.
type scale struct{ users, categories, products, orders int }

// full is the size that figures are given for.
var full = scale{users: 10_000, categories: 50, products: 10_000, orders: 100_000}

// Bench loads the bench data set into an empty database: 10,000 users (Accounts among them; the others sign in with the
// customer's password), 50 categories, 10,000 products with two variants each, 100,000 orders of three lines each and
// 110,000 payments, from the two years before a fixed day. Where there is anything already it fails and writes nothing.
// Each of the four domains is loaded in a transaction of its own.
func Bench(ctx context.Context, s Services, progress Progress) error {
	return s.bench(ctx, full, progress)
}

func (s Services) bench(ctx context.Context, size scale, progress Progress) error {
	has, err := s.count(ctx)
	if err != nil {
		return fmt.Errorf("bench data: %w", err)
	}
	if has != (found{}) {
		return fmt.Errorf("bench data: the database is not empty: %s; nothing was written", has)
	}
	hashes := map[string]*string{}
	for _, a := range Accounts() {
		if hashes[a.Password] == nil {
			hash, err := s.Hasher.Hash(ctx, a.Password)
			if err != nil {
				return fmt.Errorf("bench data: hash password: %w", err)
			}
			hashes[a.Password] = &hash
		}
	}
	b := newBench(s.Currency, size)
	told := func(what string, total int) func(int) {
		return func(done int) {
			if progress != nil {
				progress(what, done, total)
			}
		}
	}
	if err := s.Users.Load(ctx, b.accounts(hashes), told("users", size.users)); err != nil {
		return fmt.Errorf("bench data: %w", err)
	}
	if err := s.Products.Load(ctx, b.categories, nil, b.products(), told("products", size.products)); err != nil {
		return fmt.Errorf("bench data: %w", err)
	}
	if err := s.Orders.Load(ctx, b.orders(), told("orders", size.orders)); err != nil {
		return fmt.Errorf("bench data: %w", err)
	}
	if err := s.Payments.Load(ctx, b.payments(), told("payments", size.orders+size.orders/10)); err != nil {
		return fmt.Errorf("bench data: %w", err)
	}
	for i, db := range s.Databases {
		if slices.Contains(s.Databases[:i], db) {
			continue
		}
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
			defer cancel()
			_, err := postgres.Exec(ctx, db, postgres.Stmt{Name: "seed.vacuum", SQL: "VACUUM (ANALYZE)"})
			return err
		}()
		if err != nil {
			return fmt.Errorf("bench data: %w", err)
		}
	}
	return nil
}

// bench makes the bench data set: what orders refer to is held in memory, in short; the orders are made one at a time,
// and once more for their payments.
type bench struct {
	currency   money.Currency
	size       scale
	buyers     []buyer
	categories []product.Category
	goods      []good
	begun      []beginning // by time
}

// beginning is when who begins an order.
type beginning struct {
	at    time.Time
	buyer int32
}

// good is a product as it gets into an order.
type good struct {
	created  time.Time
	product  uuid.UUID
	variants [2]uuid.UUID
	skus     [2]string
	title    string
	image    string
	price    int64
}

// years are the two that the data are from.
const years = 2 * 365 * 24 * time.Hour

// benchSizes are the values of the only option.
var benchSizes = []string{"Small", "Large"}

func newBench(c money.Currency, size scale) *bench {
	b := &bench{currency: c, size: size}
	r := source("bench")
	start := anchor.Add(-years)

	// People come evenly over the two years, a third of them before.
	first := []string{"Alma", "Bruno", "Clara", "David", "Elif", "Finn", "Greta", "Hugo", "Ines", "Jakub", "Karin", "Leon",
		"Maja", "Nils", "Olga", "Pavel", "Rosa", "Sven", "Tilda", "Viktor"}
	last := []string{"Adler", "Berg", "Costa", "Dahl", "Engel", "Fuchs", "Grön", "Haas", "Ivens", "Jansen", "Kowal", "Lund",
		"Moreau", "Novak", "Ortega", "Pohl", "Rossi", "Silva", "Toth", "Winter"}
	places := []place{{City: "Berlin", Code: "10999", Country: "DE"}, {City: "Hamburg", Code: "20359", Country: "DE"},
		{City: "Lyon", Code: "69001", Country: "FR"}, {City: "Wien", Code: "1070", Country: "AT"},
		{City: "Utrecht", Code: "3511", Country: "NL"}}
	signs := Accounts()
	for i := range size.users {
		created := spread(r, start.Add(-years/2), 3*years/2, i, size.users)
		name := first[r.IntN(len(first))] + " " + last[r.IntN(len(last))]
		a := &user.Account{User: user.User{ID: key(r, created), Status: user.StatusActive,
			Roles: []auth.Role{auth.RoleCustomer}, Name: &name, Email: new(fmt.Sprintf("user%05d@example.com", i)), CreatedAt: created}}
		if i < len(signs) {
			a.Email, a.Roles = &signs[i].Email, signs[i].Roles
		}
		if r.IntN(3) == 0 { // numbers that are set aside for fiction
			a.Phone = new(fmt.Sprintf("+493023125%03d", r.IntN(1000)))
		}
		at := places[r.IntN(len(places))]
		a.AddressBook = []user.Address{{Owner: a.ID, ID: key(r, created.Add(time.Minute)), Country: at.Country,
			Postal: user.Postal{Name: name, Line1: fmt.Sprintf("Hauptstraße %d", 1+r.IntN(180)), City: at.City, PostalCode: &at.Code}}}
		a.DefaultShippingAddressID, a.DefaultBillingAddressID = &a.AddressBook[0].ID, &a.AddressBook[0].ID
		b.buyers = append(b.buyers, newBuyer(a, tax{190, true}))
	}

	// A fifth of the categories are at the top, the others below them.
	top := max(size.categories/5, 1)
	for i := range size.categories {
		c := product.Category{ID: key(r, start), Slug: fmt.Sprintf("aisle-%d", i+1), Name: fmt.Sprintf("Aisle %d", i+1), Position: i + 1}
		if i >= top {
			c.ParentID = new(b.categories[i%top].ID)
		}
		b.categories = append(b.categories, c)
	}

	// Products come evenly, a third of them before the two years. They borrow the pictures of the demo shop.
	adjectives := []string{"Plain", "Striped", "Heavy", "Light", "Northern", "Coastal", "Washed", "Classic", "Folded", "Quiet"}
	for i := range size.products {
		it := &catalogue[i%len(catalogue)]
		g := good{created: spread(r, start.Add(-years/2), 3*years/2, i, size.products),
			title: fmt.Sprintf("%s %s No. %d", adjectives[r.IntN(len(adjectives))], it.Type, i+1),
			image: it.pictures()[0].url, price: minor(500+int64(r.ExpFloat64()*3000)/10*10-10, c)}
		g.product = key(r, g.created)
		for v := range g.variants {
			g.variants[v] = key(r, g.created.Add(time.Duration(v+1)*time.Second))
			g.skus[v] = fmt.Sprintf("B%05d-%c", i+1, benchSizes[v][0])
		}
		b.goods = append(b.goods, g)
	}

	// Everybody has one order. The others go by a taste for shopping that is log-normal; it and time spent as a customer
	// make a long tail.
	weights := make([]float64, size.users)
	var sum float64
	for i := range weights {
		weights[i] = math.Exp(0.45 * r.NormFloat64())
		sum += weights[i]
	}
	others, done, share := size.orders-size.users, 0, 0.0
	for i, w := range weights {
		share += w / sum
		n := 1 + int(math.Round(share*float64(others))) - done
		done += n - 1
		from := b.buyers[i].account.CreatedAt
		if from.Before(start) {
			from = start
		}
		for range n {
			at := from.Add(time.Hour + time.Duration(r.Float64()*float64(anchor.Sub(from)-2*time.Hour))).Truncate(time.Millisecond)
			b.begun = append(b.begun, beginning{at, int32(i)})
		}
	}
	slices.SortStableFunc(b.begun, func(x, y beginning) int { return x.at.Compare(y.at) })
	return b
}

// spread returns the instant of the ith of n things that come evenly in a span, a little early or late.
func spread(r *rand.Rand, from time.Time, span time.Duration, i, n int) time.Time {
	// The last ones come a day before the end.
	return from.Add(time.Duration((float64(i) + r.Float64()) / float64(n) * float64(span-24*time.Hour))).Truncate(time.Millisecond)
}

func (b *bench) accounts(hashes map[string]*string) iter.Seq[*user.Account] {
	return func(yield func(*user.Account) bool) {
		signs := Accounts()
		for i, buyer := range b.buyers {
			a := *buyer.account
			a.PasswordHash = hashes[signs[0].Password]
			if i < len(signs) {
				a.PasswordHash = hashes[signs[i].Password]
			}
			if !yield(&a) {
				return
			}
		}
	}
}

func (b *bench) products() iter.Seq[*product.Draft] {
	return func(yield func(*product.Draft) bool) {
		r := source("bench products")
		for i, g := range b.goods {
			it := &catalogue[i%len(catalogue)]
			plain, markup := it.describe()
			p := &product.Draft{Product: product.Product{
				ID: g.product, Slug: slugOf(g.title), Title: g.title, Description: plain, DescriptionHTML: markup,
				Vendor: &it.Vendor, Type: &it.Type, Tags: slices.Clone(it.Tags), Status: product.StatusActive,
				CategoryID: &b.categories[r.IntN(len(b.categories))].ID, Metadata: map[string]any{},
				CreatedAt: g.created, UpdatedAt: g.created, PublishedAt: &g.created,
			}}
			p.Options = []product.Option{{ProductID: g.product, Position: 1, Name: "Size", Values: slices.Clone(benchSizes)}}
			p.Media = []product.Media{{ID: key(r, g.created), ProductID: g.product, Kind: product.MediaImage, URL: g.image,
				Alt: &it.Title, Position: 1, Width: new(pictureSize), Height: new(pictureSize)}}
			for v, name := range benchSizes {
				p.Variants = append(p.Variants, product.VariantDraft{ImagePosition: 1, OnHand: new(r.IntN(200)),
					Variant: product.Variant{ID: g.variants[v], ProductID: g.product, Position: v + 1, SKU: &g.skus[v],
						OptionChoices: []string{name}, Currency: b.currency, PriceMinor: g.priceOf(v), WeightGrams: &it.Grams}})
			}
			if !yield(p) {
				return
			}
		}
	}
}

// priceOf returns the price of a variant.
func (g *good) priceOf(variant int) int64 { return g.price + g.price/5*int64(variant) }

func (b *bench) orders() iter.Seq[*order.Draft] {
	return func(yield func(*order.Draft) bool) {
		for n := range b.begun {
			if !yield(b.tell(n).order()) {
				return
			}
		}
	}
}

func (b *bench) payments() iter.Seq[*payment.Draft] {
	return func(yield func(*payment.Draft) bool) {
		for n := range b.begun {
			for _, p := range b.tell(n).payments {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// tell makes the nth order, the same whenever it is asked for.
func (b *bench) tell(n int) *tale {
	r := rand.New(rand.NewPCG(0x656d706f7269756d, uint64(n)))
	begun := b.begun[n]
	// What was on sale then; what has been for longer sells better.
	onSale, _ := slices.BinarySearchFunc(b.goods, begun.at, func(g good, at time.Time) int { return cmp.Or(g.created.Compare(at), 1) })
	picks := make([]pick, 0, 3)
	for len(picks) < 3 {
		g, v := &b.goods[int(math.Pow(r.Float64(), 1.6)*float64(onSale))], r.IntN(2)
		if slices.ContainsFunc(picks, func(p pick) bool { return p.product == g.product }) {
			continue
		}
		picks = append(picks, pick{product: g.product, variant: g.variants[v], title: g.title, variantTitle: &benchSizes[v],
			sku: &g.skus[v], image: &g.image, price: g.priceOf(v), quantity: 1 + int(r.ExpFloat64())})
	}
	t := begin(r, b.currency, b.buyers[begun.buyer], orderNumber(uint64(n)), begun.at, picks, false)
	retry := n%10 == 9
	if retry {
		t.pay()
		t.report(payment.EventFailed, t.total())
	}
	benchStory(r, anchor.Sub(begun.at), retry)(t)
	return t
}

// benchStory draws what became of an order of an age: of the older ones most are done, the newer ones are on their way.
// Payments have one or two events.
func benchStory(r *rand.Rand, age time.Duration, retry bool) func(*tale) {
	days := age.Hours() / 24
	switch x := r.Float64(); {
	case days < 0.1:
		return pending
	case x < 0.02:
		return expired
	case x < 0.04 && !retry:
		return paymentFailed
	case days < 2:
		return placed
	case x < 0.08:
		return canceledBeforeCapture
	case days < 4:
		return packing
	case days < 6:
		return shipped
	case days < 14:
		return delivered
	case x < 0.11:
		return canceledAfterCapture
	case x < 0.25:
		return completedByBank
	default:
		return completed
	}
}
