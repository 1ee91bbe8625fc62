package seed

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/microcosm-cc/bluemonday"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
	"emporium/internal/seal"
	"emporium/internal/user"
	"emporium/migrations"
)

// world is an empty shop on databases of its own.
type world struct {
	Services
	dbs *pgtest.Databases
}

func newWorld(t testing.TB, c money.Currency) *world {
	t.Helper()
	w := &world{dbs: pgtest.New(t)}
	sealer, err := seal.NewSealer(seal.New())
	must(t, err)
	hasher, err := auth.NewHasher(auth.HasherConfig{Params: auth.Params{Memory: 8, Passes: 1, Lanes: 1}})
	must(t, err)
	throttle, err := auth.NewThrottle(auth.ThrottleConfig{Limits: map[string]auth.Limit{
		auth.ThrottleAccount: {Burst: 100, Every: time.Hour}, auth.ThrottleAddress: {Burst: 100, Every: time.Hour},
	}})
	must(t, err)
	var ring atomic.Pointer[auth.Keyring]
	ring.Store(auth.NewKeyring())
	w.Services = Services{
		Users: user.New(user.Config{DB: w.dbs.Users, Sealer: sealer, Hasher: hasher, Throttle: throttle,
			Issuer: auth.NewIssuer("emporium", "emporium", &ring)}),
		Products:  product.New(w.dbs.Products, c),
		Payments:  payment.New(payment.Config{DB: w.dbs.Payments, Sealer: sealer, Currency: c}),
		Hasher:    hasher,
		Currency:  c,
		Databases: []*postgres.DB{w.dbs.Users, w.dbs.Products, w.dbs.Orders, w.dbs.Payments},
	}
	w.Orders = order.New(order.Config{DB: w.dbs.Orders, Sealer: sealer, Currency: c,
		Products: w.Products, Users: w.Users, TaxIncluded: true})
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var currencies = []money.Currency{"EUR", "JPY", "KWD"}

func TestAccountsCanBeChosenAndAreAllowed(t *testing.T) {
	t.Parallel()
	customer, staff := regexp.MustCompile(`(?i)customer`), regexp.MustCompile(`(?i)support|manager|admin`)
	roles := map[auth.Role]int{}
	for i, a := range Accounts() {
		isCustomer := a.Roles[0] == auth.RoleCustomer
		if customer.MatchString(a.Label) != isCustomer || staff.MatchString(a.Label) == isCustomer || i == 0 && !isCustomer {
			t.Errorf("account %d: label %q for %v", i, a.Label, a.Roles)
		}
		if err := auth.CheckPassword(a.Password, a.Email, a.Label); err != nil {
			t.Errorf("%s: %v", a.Label, err)
		}
		roles[a.Roles[0]]++
	}
	want := map[auth.Role]int{auth.RoleCustomer: 2, auth.RoleSupport: 1, auth.RoleManager: 1, auth.RoleAdmin: 1}
	if !reflect.DeepEqual(roles, want) {
		t.Errorf("roles: %v", roles)
	}
}

func TestDemoIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	for _, c := range currencies {
		if a, b := newDemo(c), newDemo(c); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: two demo shops differ", c)
		}
	}
}

func TestDemoIsAShop(t *testing.T) {
	t.Parallel()
	d := newDemo("EUR")
	depth, parents := map[uuid.UUID]int{}, map[uuid.UUID]bool{}
	for _, c := range d.categories {
		depth[c.ID] = 1
		if c.ParentID != nil {
			if depth[*c.ParentID] == 0 {
				t.Errorf("category %s stands before its parent", c.Slug)
			}
			depth[c.ID], parents[*c.ParentID] = depth[*c.ParentID]+1, true
		}
	}
	deepest := slices.Max(slices.Collect(maps.Values(depth)))
	if len(d.products) < 45 || len(d.categories) < 10 || deepest != 3 || len(d.collections) != 4 || len(d.orders) < 60 {
		t.Errorf("%d products, %d categories on %d levels, %d collections, %d orders",
			len(d.products), len(d.categories), deepest, len(d.collections), len(d.orders))
	}

	seen := map[string]bool{}
	once := func(what, value string) {
		if value == "" || seen[what+value] {
			t.Errorf("%s %q is empty or taken", what, value)
		}
		seen[what+value] = true
	}
	statuses, collections, soldOut, reduced, stocked := map[product.Status]int{}, map[uuid.UUID]int{}, 0, 0, map[uuid.UUID]bool{}
	for _, p := range d.products {
		once("slug", p.Slug)
		statuses[p.Status]++
		stocked[*p.CategoryID] = true
		if n := len(p.Media); n < 2 || n > 3 {
			t.Errorf("%s has %d pictures", p.Slug, n)
		}
		if n := len(p.Variants); n < 1 || n > 9 {
			t.Errorf("%s has %d variants", p.Slug, n)
		}
		for _, c := range p.Collections {
			collections[c]++
		}
		onHand := 0
		for _, v := range p.Variants {
			once("SKU", *v.SKU)
			once("barcode", *v.Barcode)
			onHand += *v.OnHand
			if v.PriceMinor <= 0 || v.CompareAtMinor != nil && *v.CompareAtMinor <= v.PriceMinor {
				t.Errorf("%s costs %d, before %v", *v.SKU, v.PriceMinor, v.CompareAtMinor)
			}
			if v.CompareAtMinor != nil {
				reduced++
			}
		}
		if onHand == 0 {
			soldOut++
		}
		if plain := bluemonday.StrictPolicy().Sanitize(p.DescriptionHTML); plain == "" || p.Description == "" {
			t.Errorf("%s is not described", p.Slug)
		}
		if clean := bluemonday.UGCPolicy().Sanitize(p.DescriptionHTML); clean != p.DescriptionHTML {
			t.Errorf("%s: %s is not what sanitising leaves: %s", p.Slug, p.DescriptionHTML, clean)
		}
	}
	if statuses[product.StatusDraft] == 0 || statuses[product.StatusArchived] == 0 || soldOut == 0 || reduced == 0 || len(collections) != 4 {
		t.Errorf("statuses %v, %d sold out, %d reduced, collections %v", statuses, soldOut, reduced, collections)
	}
	for _, c := range d.categories {
		if !parents[c.ID] && !stocked[c.ID] {
			t.Errorf("category %s is empty", c.Slug)
		}
	}
	of := map[uuid.UUID]int{}
	for _, o := range d.orders {
		of[o.Order.Owner]++
	}
	if *d.accounts[0].Email != Accounts()[0].Email || of[d.accounts[0].ID] < 8 {
		t.Errorf("the first customer is %s with %d orders", *d.accounts[0].Email, of[d.accounts[0].ID])
	}
	guests, countries := 0, map[string]bool{}
	for _, a := range d.accounts {
		if a.Guest {
			guests++
		}
		for _, at := range a.AddressBook {
			countries[at.Country] = true
		}
	}
	if guests != 1 || len(countries) < 8 {
		t.Errorf("%d guests, countries %v", guests, countries)
	}
	// Prices and names are those of the day: some differ from the present ones.
	price, title := map[uuid.UUID]int64{}, map[uuid.UUID]string{}
	for _, p := range d.products {
		title[p.ID] = p.Title
		for _, v := range p.Variants {
			price[v.ID] = v.PriceMinor
		}
	}
	otherPrices, otherTitles := 0, 0
	for _, o := range d.orders {
		for _, l := range o.Lines {
			if price[l.VariantID] == 0 {
				t.Errorf("order %s: a line of no variant", o.Order.Number)
			}
			if l.UnitPriceMinor != price[l.VariantID] {
				otherPrices++
			}
			if l.Title != title[l.ProductID] {
				otherTitles++
			}
		}
	}
	if otherPrices < 5 || otherTitles < 1 {
		t.Errorf("%d lines with another price, %d with another title", otherPrices, otherTitles)
	}
}

func TestDemoHasEveryStateAndAddsUp(t *testing.T) {
	t.Parallel()
	for _, c := range currencies {
		d := newDemo(c)
		seen := checkOrders(t, d.orders, d.payments)
		included := map[bool]int{}
		discounts := 0
		for _, o := range d.orders {
			included[o.Order.TaxIncluded]++
			if o.Order.DiscountMinor > 0 {
				discounts++
			}
		}
		if included[true] == 0 || included[false] == 0 || discounts == 0 {
			t.Errorf("%s: taxes included %v, %d discounts", c, included, discounts)
		}
		for _, state := range []any{
			order.StatusPending, order.StatusPlaced, order.StatusConfirmed, order.StatusCompleted, order.StatusCanceled,
			order.StatusPaymentFailed, order.StatusExpired,
			order.PaymentUnpaid, order.PaymentAuthorized, order.PaymentPartiallyPaid, order.PaymentPaid,
			order.PaymentPartiallyRefunded, order.PaymentRefunded, order.PaymentVoided,
			order.Unfulfilled, order.PartiallyFulfilled, order.Fulfilled, order.Delivered, order.Returned,
			order.ParcelPending, order.ParcelShipped, order.ParcelDelivered, order.ParcelReturned, order.ParcelCanceled,
			order.EventCreated, order.EventPlaced, order.EventConfirmed, order.EventPaymentAuthorized,
			order.EventPaymentCaptured, order.EventPaymentFailed, order.EventRefunded, order.EventShipped,
			order.EventDelivered, order.EventReturned, order.EventCanceled, order.EventExpired, order.EventCompleted,
			order.EventNote,
			payment.StatusPending, payment.StatusActionRequired, payment.StatusAuthorized,
			payment.StatusPartiallyCaptured, payment.StatusCaptured, payment.StatusPartiallyRefunded,
			payment.StatusRefunded, payment.StatusVoided, payment.StatusFailed,
			payment.EventActionRequired, payment.EventAuthorized, payment.EventCaptured, payment.EventRefunded,
			payment.EventVoided, payment.EventFailed,
		} {
			if seen[state] == 0 {
				t.Errorf("%s: %T %v does not appear", c, state, state)
			}
		}
	}
}

// checkOrders asserts that orders and payments agree with themselves and each other, and returns how often each state
// appears.
func checkOrders(t *testing.T, orders []*order.Draft, payments []*payment.Draft) map[any]int {
	t.Helper()
	seen, ids, numbers := map[any]int{}, map[uuid.UUID]bool{}, map[string]bool{}
	isNew := func(u uuid.UUID, at time.Time) {
		if made, err := id.Time(u); ids[u] || err != nil || !made.Equal(at.Truncate(time.Millisecond)) {
			t.Errorf("ID %s is taken or not of its time %s", u, at)
		}
		ids[u] = true
	}
	past := func(at time.Time) {
		if at.After(anchor) {
			t.Errorf("%s is after the end", at)
		}
	}
	paysFor := map[uuid.UUID][]*payment.Draft{}
	for _, p := range payments {
		paysFor[p.Payment.OrderID] = append(paysFor[p.Payment.OrderID], p)
	}
	for _, d := range orders {
		o := d.Order
		fail := func(format string, args ...any) {
			t.Helper()
			t.Errorf("order %s (%s, %s, %s): %s", o.Number, o.Status, o.PaymentStatus, o.FulfillmentStatus, fmt.Sprintf(format, args...))
		}
		isNew(o.ID, o.CreatedAt)
		past(o.CreatedAt)
		if numbers[o.Number] {
			fail("the number is taken")
		}
		numbers[o.Number] = true
		seen[o.Status]++
		seen[o.PaymentStatus]++
		seen[o.FulfillmentStatus]++

		var subtotal, discount, taxes int64
		left, quantity := map[uuid.UUID]int{}, 0
		for i, l := range d.Lines {
			isNew(l.ID, o.CreatedAt)
			if l.Position != i+1 || l.Quantity < 1 || l.TotalMinor != l.UnitPriceMinor*int64(l.Quantity)-l.DiscountMinor {
				fail("line %d does not add up", i)
			}
			subtotal, discount, taxes = subtotal+l.UnitPriceMinor*int64(l.Quantity), discount+l.DiscountMinor, taxes+l.TaxMinor
			left[l.ID], quantity = l.Quantity, quantity+l.Quantity
		}
		total := subtotal - discount + o.ShippingMinor
		if !o.TaxIncluded {
			total += taxes
		}
		if len(d.Lines) == 0 || o.SubtotalMinor != subtotal || o.DiscountMinor != discount || o.TaxMinor != taxes || o.TotalMinor != total || taxes > total {
			fail("the totals do not add up")
		}

		// Parcels.
		parcels, in := map[uuid.UUID]order.Fulfillment{}, map[order.ParcelStatus]int{}
		for _, f := range d.Fulfillments {
			isNew(f.ID, f.CreatedAt)
			seen[f.Status]++
			parcels[f.ID] = f
			wasSent := f.Status == order.ParcelShipped || f.Status == order.ParcelDelivered || f.Status == order.ParcelReturned
			if wasSent != (f.ShippedAt != nil) || wasSent != (f.TrackingNumber != nil) ||
				(f.Status == order.ParcelDelivered || f.Status == order.ParcelReturned) != (f.DeliveredAt != nil) {
				fail("parcel %s is %s, sent %v, arrived %v", f.ID, f.Status, f.ShippedAt, f.DeliveredAt)
			}
			for _, at := range []*time.Time{f.ShippedAt, f.DeliveredAt} {
				if at != nil && at.Before(f.CreatedAt) {
					fail("parcel %s moved before it was packed", f.ID)
				} else if at != nil {
					past(*at)
				}
			}
		}
		filled := map[uuid.UUID]bool{}
		for _, l := range d.FulfillmentLines {
			f, ok := parcels[l.FulfillmentID]
			if !ok || l.Quantity < 1 {
				fail("a line of no parcel, or of nothing")
			}
			filled[f.ID] = true
			in[f.Status] += l.Quantity
			if f.Status != order.ParcelCanceled {
				left[l.LineID] -= l.Quantity
			}
			if left[l.LineID] < 0 {
				fail("more is packed than was bought")
			}
		}
		if len(filled) != len(parcels) {
			fail("a parcel is empty")
		}
		sent := in[order.ParcelShipped] + in[order.ParcelDelivered] + in[order.ParcelReturned]
		want := order.Unfulfilled
		switch {
		case in[order.ParcelReturned] == quantity:
			want = order.Returned
		case sent == quantity && in[order.ParcelShipped] == 0:
			want = order.Delivered
		case sent == quantity:
			want = order.Fulfilled
		case sent > 0:
			want = order.PartiallyFulfilled
		}
		if o.FulfillmentStatus != want {
			fail("the parcels say %s", want)
		}

		// Money.
		var all order.PaymentFacts
		open := 0
		for _, p := range paysFor[o.ID] {
			isNew(p.Payment.ID, p.Payment.CreatedAt)
			seen[p.Payment.Status]++
			if p.Payment.Owner != o.Owner || p.Payment.AmountMinor != o.TotalMinor || p.Payment.Currency != o.Currency {
				fail("a payment is of somebody else, or of another amount")
			}
			s, before := ledger(p), p.Payment.CreatedAt
			for _, e := range p.Events {
				isNew(e.Event.ID, e.Event.OccurredAt)
				past(e.Event.OccurredAt)
				seen[e.Event.Kind]++
				if !e.Event.OccurredAt.After(before) {
					fail("the ledger is out of order")
				}
				before = e.Event.OccurredAt
			}
			var last payment.EventKind
			if n := len(p.Events); n > 0 {
				last = p.Events[n-1].Event.Kind
			}
			var want payment.Status
			switch {
			case s.Captured > 0 && s.Refunded == s.Captured:
				want = payment.StatusRefunded
			case s.Refunded > 0:
				want = payment.StatusPartiallyRefunded
			case s.Captured == o.TotalMinor:
				want = payment.StatusCaptured
			case s.Captured > 0:
				want = payment.StatusPartiallyCaptured
			default:
				want = map[payment.EventKind]payment.Status{"": payment.StatusPending, payment.EventAuthorized: payment.StatusAuthorized,
					payment.EventVoided: payment.StatusVoided, payment.EventFailed: payment.StatusFailed,
					payment.EventActionRequired: payment.StatusActionRequired}[last]
			}
			if p.Payment.Status != want || s.Captured > o.TotalMinor || s.Refunded > s.Captured || s.Voided > s.Authorized {
				fail("payment %s is %s, its ledger %+v", p.Payment.ID, p.Payment.Status, s)
			}
			if want == payment.StatusPending || want == payment.StatusActionRequired || want == payment.StatusAuthorized {
				open++
			}
			all.Authorized, all.Voided = all.Authorized+s.Authorized, all.Voided+s.Voided
			all.Captured, all.Refunded = all.Captured+s.Captured, all.Refunded+s.Refunded
		}
		paid := order.PaymentUnpaid
		switch {
		case all.Captured > 0 && all.Refunded == all.Captured:
			paid = order.PaymentRefunded
		case all.Refunded > 0:
			paid = order.PaymentPartiallyRefunded
		case all.Captured == o.TotalMinor:
			paid = order.PaymentPaid
		case all.Captured > 0:
			paid = order.PaymentPartiallyPaid
		case all.Authorized > all.Voided:
			paid = order.PaymentAuthorized
		case all.Voided > 0:
			paid = order.PaymentVoided
		}
		if o.PaymentStatus != paid || open > 1 || len(paysFor[o.ID]) == 0 {
			fail("the ledger says %s; %d payments are under way", paid, open)
		}
		if !reflect.DeepEqual(d.Paid, all) {
			fail("the ledger says %+v, the order %+v", all, d.Paid)
		}
		delete(paysFor, o.ID)

		// The story.
		told, before := map[order.EventKind]int{}, time.Time{}
		for _, e := range d.Events {
			isNew(e.ID, e.CreatedAt)
			past(e.CreatedAt)
			seen[e.Kind]++
			told[e.Kind]++
			if !e.CreatedAt.After(before) || e.Message == "" {
				fail("event %s is out of order or says nothing", e.Kind)
			}
			before = e.CreatedAt
		}
		if (told[order.EventPlaced] == 1) != (o.PlacedAt != nil) || (o.CanceledAt != nil) != (o.Status == order.StatusCanceled) {
			fail("placed at %v, cancelled at %v, events %v", o.PlacedAt, o.CanceledAt, told)
		}
		if told[order.EventCreated] == 0 {
			continue // the short form
		}
		back := in[order.ParcelReturned] > 0
		for kind, want := range map[order.EventKind]bool{
			order.EventConfirmed: o.Status == order.StatusConfirmed || o.Status == order.StatusCompleted,
			order.EventCompleted: o.Status == order.StatusCompleted, order.EventCanceled: o.Status == order.StatusCanceled,
			order.EventExpired: o.Status == order.StatusExpired, order.EventShipped: sent > 0,
			order.EventDelivered: in[order.ParcelDelivered] > 0 || back, order.EventReturned: back,
			order.EventPaymentAuthorized: all.Authorized > 0, order.EventPaymentCaptured: all.Captured > 0,
			order.EventRefunded: all.Refunded > 0,
		} {
			if (told[kind] > 0) != want {
				fail("event %s was told %d times", kind, told[kind])
			}
		}
	}
	if len(paysFor) != 0 {
		t.Errorf("%d orders that do not exist were paid for", len(paysFor))
	}
	return seen
}

func TestDemoLoadsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "EUR")
	var told []string
	must(t, Demo(t.Context(), w.Services, func(what string, done, total int) {
		told = append(told, fmt.Sprintf("%s %d/%d", what, done, total))
	}))
	d := newDemo("EUR")
	want := []string{fmt.Sprintf("users %d/%[1]d", len(d.accounts)), fmt.Sprintf("products %d/%[1]d", len(d.products)),
		fmt.Sprintf("orders %d/%[1]d", len(d.orders)), fmt.Sprintf("payments %d/%[1]d", len(d.payments))}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("progress: %v", told)
	}
	w.checkDemo(t)
	for _, a := range Accounts() {
		p, err := w.Users.SignIn(t.Context(), user.SignInInput{Email: a.Email, Password: a.Password}, "192.0.2.1")
		if err != nil || len(p.UserErrors) > 0 {
			t.Errorf("%s can not sign in: %v %v", a.Label, err, p)
		}
	}

	// A customer who came later does not make it another shop.
	must(t, w.Users.Load(t.Context(), slices.Values([]*user.Account{stranger()}), nil))
	before := w.dump(t, true)
	must(t, Demo(t.Context(), w.Services, func(what string, _, _ int) { t.Errorf("loaded %s again", what) }))
	if after := w.dump(t, true); !reflect.DeepEqual(before, after) {
		t.Error("the second call has changed something")
	}
	if err := Bench(t.Context(), w.Services, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("bench data on top of the demo shop: %v", err)
	}
	if after := w.dump(t, true); !reflect.DeepEqual(before, after) {
		t.Error("the refused bench data have changed something")
	}
}

// stranger is an account that is in no data set.
func stranger() *user.Account {
	return &user.Account{User: user.User{ID: id.New(), Email: new("stranger@example.com")}}
}

// TestDemoTermsApply fills a cart of a customer at home and prices it with both codes, in currencies of each exponent.
func TestDemoTermsApply(t *testing.T) {
	t.Parallel()
	for _, c := range currencies {
		w, d := newWorld(t, c), newDemo(c)
		must(t, Demo(t.Context(), w.Services, nil))
		buyer := d.accounts[0]
		ctx := auth.With(t.Context(), auth.Actor{ID: buyer.ID, Roles: auth.Roles(auth.RoleCustomer)})
		done := func(p *order.CartPayload, err error) *order.Cart {
			t.Helper()
			if err != nil || len(p.UserErrors) > 0 {
				t.Fatalf("%s: %+v, %v", c, p, err)
			}
			return p.Cart
		}
		i := slices.IndexFunc(d.products, func(p *product.Draft) bool { // worth enough for one, too little for free shipping
			v := p.Variants[0]
			return p.Product.Status == product.StatusActive && *v.OnHand > 0 && v.PriceMinor >= minor(4000, c) && v.PriceMinor < minor(9000, c)
		})
		v := d.products[i].Variants[0]
		done(w.Orders.AddCartLines(ctx, order.CartLinesAddInput{Lines: []order.CartLineInput{{VariantID: id.Of(id.Variant, v.ID), Quantity: 1}}}))
		home := order.PostalAddressInput{Name: "Kim", Line1: "Ring 2", City: "Bonn", Country: "DE"}
		done(w.Orders.UpdateCart(ctx, order.CartUpdateInput{ShippingAddress: graphql.OmittableOf(&home),
			ShippingMethodID: graphql.OmittableOf(new(d.terms.ShippingMethods[0].GlobalID()))}))
		for _, code := range []string{"WELCOME10", "FREESHIP"} {
			cart := done(w.Orders.ApplyCartDiscount(ctx, order.CartDiscountApplyInput{Code: code}))
			quotes, err := w.Orders.Quotes(ctx, []*order.Cart{cart})
			must(t, err)
			q := quotes[cart]
			off, shipping := int64(0), minor(590, c)
			if code == "FREESHIP" {
				shipping = 0
			} else {
				off = int64(math.RoundToEven(float64(v.PriceMinor) / 10))
			}
			if len(q.Problems)+len(q.Warnings) > 0 || len(q.Offers) != 3 || q.DiscountMinor != off || q.ShippingMinor != shipping ||
				q.TotalMinor != v.PriceMinor-off+shipping || len(q.Taxes) != 1 || q.Taxes[0].Name != "MwSt." || q.TaxMinor == 0 {
				t.Errorf("%s with %s: %+v", c, code, q)
			}
		}
	}
}

func TestDemoGoesOnAfterAnInterruption(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "EUR")
	ctx, cancel := context.WithCancel(t.Context())
	err := Demo(ctx, w.Services, func(what string, _, _ int) {
		if what == "orders" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	if has, err := w.count(t.Context()); err != nil || has.orders != 0 || has.payments != 0 || has.users == 0 || has.products == 0 {
		t.Fatalf("after the interruption: %v, %v", has, err)
	}
	must(t, Demo(t.Context(), w.Services, nil))
	w.checkDemo(t)
}

func TestDemoRefusesADatabaseOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "EUR")
	must(t, w.Users.Load(t.Context(), slices.Values([]*user.Account{stranger()}), nil))
	before := w.dump(t, true)
	for what, load := range map[string]func(context.Context, Services, Progress) error{"demo": Demo, "bench": Bench} {
		err := load(t.Context(), w.Services, func(what string, _, _ int) { t.Errorf("loaded %s", what) })
		if err == nil || !strings.Contains(err.Error(), "1 users") || !strings.Contains(err.Error(), "nothing was written") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := w.dump(t, true); !reflect.DeepEqual(before, after) {
		t.Error("something was written")
	}
}

// checkDemo asserts that the services return the demo shop as it was made.
func (w *world) checkDemo(t *testing.T) {
	t.Helper()
	ctx, d := asStaff(t.Context()), newDemo("EUR")
	has, err := w.count(ctx)
	must(t, err)
	if has.users != len(d.accounts) || has.products != len(d.products) || has.orders != len(d.orders) || has.payments != len(d.payments) {
		t.Errorf("there are %s", has)
	}

	var ids, productIDs, variantIDs []uuid.UUID
	var users []*user.User
	var addresses []*user.Address
	for _, a := range d.accounts {
		ids, users = append(ids, a.ID), append(users, &a.User)
		for i := range a.AddressBook {
			addresses = append(addresses, &a.AddressBook[i])
		}
	}
	same(t, "users", users, func(u *user.User) any { return u.ID })(w.Users.ByIDs(ctx, ids))
	same(t, "addresses", addresses, func(a *user.Address) any { return a.ID })(w.Users.AddressesOf(ctx, ids))

	type shown struct {
		ID                        uuid.UUID
		Slug, Title, HTML, Plain  string
		Status                    product.Status
		Category                  *uuid.UUID
		CreatedAt                 time.Time
		Variants, Media, InOption int
	}
	show := func(p *product.Product) *shown {
		return &shown{ID: p.ID, Slug: p.Slug, Title: p.Title, HTML: p.DescriptionHTML, Plain: p.Description, Status: p.Status,
			Category: p.CategoryID, CreatedAt: p.CreatedAt}
	}
	var wanted, got []*shown
	onHand := map[uuid.UUID]int{}
	var media []*product.Media
	var variants []*product.Variant
	for _, p := range d.products {
		productIDs, wanted = append(productIDs, p.ID), append(wanted, show(&p.Product))
		for i := range p.Media {
			media = append(media, &p.Media[i])
		}
		for _, v := range p.Variants {
			variantIDs, onHand[v.ID] = append(variantIDs, v.ID), *v.OnHand
			v.Variant.ImageID = &p.Media[v.ImagePosition-1].ID
			for _, o := range p.Options {
				v.OptionNames = append(v.OptionNames, o.Name)
			}
			variants = append(variants, &v.Variant)
		}
	}
	products, err := w.Products.ByIDs(ctx, productIDs)
	for _, p := range products {
		got = append(got, show(p))
	}
	same(t, "products", wanted, func(s *shown) any { return s.ID })(got, err)
	same(t, "media", media, func(m *product.Media) any { return m.ID })(w.Products.MediaOf(ctx, productIDs))
	// A variant without options has an empty list of choices, or none.
	foundVariants, err := w.Products.VariantsOf(ctx, productIDs)
	for _, v := range slices.Concat(variants, foundVariants) {
		v.OptionNames, v.OptionChoices = append([]string{}, v.OptionNames...), append([]string{}, v.OptionChoices...)
	}
	same(t, "variants", variants, func(v *product.Variant) any { return v.ID })(foundVariants, err)
	stock, err := w.Products.Stock(ctx, variantIDs)
	must(t, err)
	for _, s := range stock {
		if s.OnHand != onHand[s.VariantID] || s.Held != 0 {
			t.Errorf("stock of %s: %+v", s.VariantID, s)
		}
	}

	var orderKeys, parcelKeys, paymentKeys []id.Key
	var orders []*order.Order
	var lines []*order.Line
	var parcels []*order.Fulfillment
	var packed []*order.FulfillmentLine
	var events []*order.Event
	for _, o := range d.orders {
		orderKeys, orders = append(orderKeys, o.Order.Key()), append(orders, &o.Order)
		for i := range o.Lines {
			lines = append(lines, &o.Lines[i])
		}
		for i := range o.Fulfillments {
			parcels, parcelKeys = append(parcels, &o.Fulfillments[i]), append(parcelKeys, o.Fulfillments[i].Key())
		}
		for i := range o.FulfillmentLines {
			packed = append(packed, &o.FulfillmentLines[i])
		}
		for i := range o.Events {
			events = append(events, &o.Events[i])
		}
	}
	same(t, "orders", orders, func(o *order.Order) any { return o.ID })(w.Orders.ByKeys(ctx, orderKeys))
	same(t, "lines", lines, func(l *order.Line) any { return l.ID })(w.Orders.LinesOf(ctx, orderKeys))
	same(t, "parcels", parcels, func(f *order.Fulfillment) any { return f.ID })(w.Orders.FulfillmentsOf(ctx, orderKeys))
	same(t, "what is in parcels", packed, func(l *order.FulfillmentLine) any { return [2]uuid.UUID{l.FulfillmentID, l.LineID} })(
		w.Orders.FulfillmentLinesOf(ctx, parcelKeys))
	same(t, "order events", events, func(e *order.Event) any { return e.ID })(w.Orders.EventsOf(ctx, orderKeys))

	var payments []*payment.Payment
	var entries []*payment.Event
	for _, p := range d.payments {
		paymentKeys, payments = append(paymentKeys, p.Payment.Key()), append(payments, &p.Payment)
		for i := range p.Events {
			entries = append(entries, &p.Events[i].Event)
		}
	}
	same(t, "payments", payments, func(p *payment.Payment) any { return p.ID })(w.Payments.PaymentsOf(ctx, orderKeys))
	same(t, "payment events", entries, func(e *payment.Event) any { return e.ID })(w.Payments.EventsOf(ctx, paymentKeys))

	same(t, "shipping methods", pointers(d.terms.ShippingMethods), func(m *order.ShippingMethod) any { return m.ID })(w.Orders.ShippingMethods(ctx))
	same(t, "taxes", pointers(d.terms.Taxes), func(x *order.CountryTax) any { return x.Country })(w.Orders.TaxRates(ctx))
	discounts, err := w.Orders.Discounts(ctx, page.Args{First: new(5)})
	must(t, err)
	found := discounts.Nodes()
	for _, d := range found {
		d.CreatedAt = time.Time{} // when they were loaded
	}
	same(t, "discounts", pointers(d.terms.Discounts), func(d *order.Discount) any { return d.Code })(found, nil)
}

func pointers[T any](values []T) []*T {
	var all []*T
	for i := range values {
		all = append(all, &values[i])
	}
	return all
}

// same asserts that what was read is what was wanted, in any order.
func same[T any](t *testing.T, what string, want []*T, key func(*T) any) func(got []*T, err error) {
	t.Helper()
	return func(got []*T, err error) {
		t.Helper()
		must(t, err)
		found := map[any]*T{}
		for _, g := range got {
			found[key(g)] = g
		}
		if len(got) != len(want) || len(found) != len(want) {
			t.Errorf("%s: %d found, %d wanted", what, len(got), len(want))
		}
		for _, w := range want {
			if g := found[key(w)]; g == nil || text(t, g) != text(t, w) {
				t.Errorf("%s:\n got %s\nwant %s", what, text(t, g), text(t, w))
				return
			}
		}
	}
}

// text writes a value with its times in UTC.
func text(t *testing.T, value any) string {
	raw, err := json.Marshal(value)
	must(t, err)
	return regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]+"`).ReplaceAllStringFunc(string(raw), func(quoted string) string {
		at, err := time.Parse(time.RFC3339Nano, strings.Trim(quoted, `"`))
		must(t, err)
		return at.UTC().Format(time.RFC3339Nano)
	})
}

// dump returns each row of all tables as text, and with versions also which transaction wrote it.
func (w *world) dump(t *testing.T, versions bool) []string {
	t.Helper()
	var rows []string
	for i, db := range w.Databases {
		if slices.Contains(w.Databases[:i], db) {
			continue
		}
		tables, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.tables",
			SQL: `SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname = ANY($1) ORDER BY 1`},
			pgx.RowTo[string], migrations.Domains)
		must(t, err)
		for _, table := range tables {
			sql := "SELECT t::text FROM " + table + " t ORDER BY 1"
			if versions {
				sql = "SELECT t.xmin::text || ' ' || t::text FROM " + table + " t ORDER BY 1"
			}
			found, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.dump", SQL: sql, Reads: postgres.All(table)},
				pgx.RowTo[string])
			must(t, err)
			rows = append(rows, found...)
		}
	}
	return rows
}

func TestNothingPersonalIsInPlain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "EUR")
	must(t, Demo(t.Context(), w.Services, nil))
	d := newDemo("EUR")
	var secrets []string
	add := func(values ...*string) {
		for _, v := range values {
			if v != nil && len(*v) >= 6 {
				secrets = append(secrets, *v)
			}
		}
	}
	for _, a := range d.accounts {
		add(a.Name, a.Email, a.Phone)
		for _, at := range a.AddressBook {
			add(&at.Name, at.Company, &at.Line1, at.Line2, at.Phone)
		}
	}
	for _, p := range d.payments {
		add(p.Payment.Reference)
	}
	for _, a := range Accounts() {
		add(&a.Password)
	}
	if len(secrets) < 130 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	all := strings.ToLower(strings.Join(w.dump(t, false), "\n"))
	if !strings.Contains(all, strings.ToLower(d.orders[0].Order.Number)) || !strings.Contains(all, "harbour linen shirt") {
		t.Fatal("the dump lacks what is in plain")
	}
	for _, secret := range secrets {
		plain := strings.ToLower(secret)
		if strings.Contains(all, plain) || strings.Contains(all, fmt.Sprintf("%x", secret)) || strings.Contains(all, fmt.Sprintf("%x", plain)) {
			t.Errorf("%q is in the database in plain", secret)
		}
	}
}

func TestBench(t *testing.T) {
	t.Parallel()
	w, size := newWorld(t, "EUR"), scale{users: 60, categories: 10, products: 90, orders: 600}
	done := map[string]int{}
	must(t, w.bench(t.Context(), size, func(what string, n, total int) {
		if n < done[what] || n > total {
			t.Errorf("%s: %d after %d of %d", what, n, done[what], total)
		}
		done[what] = n
	}))
	if want := map[string]int{"users": 60, "products": 90, "orders": 600, "payments": 660}; !reflect.DeepEqual(done, want) {
		t.Errorf("progress: %v", done)
	}
	has, err := w.count(t.Context())
	if want := (found{users: 60, products: 90, categories: 2, orders: 600, payments: 660}); err != nil || has != want {
		t.Errorf("there are %v, %v", has, err)
	}

	b := newBench("EUR", size)
	orders, payments := slices.Collect(b.orders()), slices.Collect(b.payments())
	seen := checkOrders(t, orders, payments)
	if seen[order.StatusCompleted] < 300 || seen[order.StatusCanceled] == 0 || seen[order.PaymentRefunded] == 0 || seen[payment.StatusFailed] < 60 {
		t.Errorf("states: %v", seen)
	}
	lines, of, opened := 0, map[uuid.UUID]int{}, map[uuid.UUID]time.Time{}
	for a := range b.accounts(nil) {
		opened[a.ID] = a.CreatedAt
	}
	made := map[uuid.UUID]time.Time{}
	for p := range b.products() {
		made[p.ID] = p.CreatedAt
		if len(p.Variants) != 2 {
			t.Errorf("%s has %d variants", p.Slug, len(p.Variants))
		}
	}
	for i, o := range orders {
		lines += len(o.Lines)
		of[o.Order.Owner]++
		if at := opened[o.Order.Owner]; at.IsZero() || at.After(o.Order.CreatedAt) {
			t.Errorf("order %d is older than its owner", i)
		}
		for _, l := range o.Lines {
			if at := made[l.ProductID]; at.IsZero() || at.After(o.Order.CreatedAt) {
				t.Errorf("order %d is older than what was bought", i)
			}
		}
	}
	for _, p := range payments {
		if n := len(p.Events); n > 2 || n == 0 && p.Payment.Status != payment.StatusPending {
			t.Errorf("payment %s has %d events", p.Payment.ID, n)
		}
	}
	counts := slices.Sorted(maps.Values(of))
	if lines != 1800 || len(of) != 60 || counts[0] < 1 || counts[30] < 7 || counts[30] > 11 || counts[59] < 15 {
		t.Errorf("%d lines; orders by user %v", lines, counts)
	}
	if again := newBench("EUR", size); !reflect.DeepEqual(b, again) ||
		!reflect.DeepEqual(orders, slices.Collect(again.orders())) || !reflect.DeepEqual(payments, slices.Collect(again.payments())) {
		t.Error("two bench data sets differ")
	}
	ctx := asStaff(t.Context())
	stored, err := w.Orders.ByKeys(ctx, []id.Key{orders[0].Order.Key(), orders[599].Order.Key()})
	same(t, "orders", []*order.Order{&orders[0].Order, &orders[599].Order}, func(o *order.Order) any { return o.ID })(stored, err)

	admin, err := w.Users.SignIn(t.Context(), user.SignInInput{Email: "admin@example.com", Password: "emporium-demo-admin"}, "192.0.2.1")
	if err != nil || len(admin.UserErrors) > 0 {
		t.Errorf("sign in: %v", err)
	}
	if err := w.bench(t.Context(), size, nil); err == nil || !strings.Contains(err.Error(), "60 users, 90 products") {
		t.Errorf("a second time: %v", err)
	}
	if err := Demo(t.Context(), w.Services, nil); err == nil || !strings.Contains(err.Error(), "other data") {
		t.Errorf("the demo shop on top: %v", err)
	}
	if again, err := w.count(t.Context()); err != nil || again != has {
		t.Errorf("afterwards there are %v, %v", again, err)
	}
}

func TestOrderNumbersDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range uint64(200_000) {
		seen[orderNumber(n)] = true
	}
	if len(seen) != 200_000 {
		t.Errorf("%d different numbers", len(seen))
	}
}

func TestPictures(t *testing.T) {
	t.Parallel()
	handler := Pictures()
	ask := func(method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		if len(header) > 0 {
			r.Header.Set(header[0], header[1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	drawn := map[string]string{}
	for _, p := range newDemo("EUR").products {
		for _, m := range p.Media {
			got := ask("GET", m.URL)
			if got.Code != http.StatusOK || got.Header().Get("Content-Type") != "image/svg+xml" {
				t.Fatalf("%s: %d %v", m.URL, got.Code, got.Header())
			}
			var words []string
			for decoder := xml.NewDecoder(bytes.NewReader(got.Body.Bytes())); ; {
				token, err := decoder.Token()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("%s is not well-formed: %v", m.URL, err)
				}
				switch token := token.(type) {
				case xml.CharData:
					words = append(words, string(token))
				case xml.StartElement:
					for _, a := range token.Attr {
						if (a.Name.Local == "fill" || a.Name.Local == "stroke") && !regexp.MustCompile(`^(#[0-9a-f]{6}|none|url\(#wall\))$`).MatchString(a.Value) {
							t.Errorf("%s: %s %q is no color", m.URL, a.Name.Local, a.Value)
						}
						if strings.Contains(a.Value, "%!") || strings.Contains(a.Value, "NaN") {
							t.Errorf("%s: %s=%q", m.URL, a.Name.Local, a.Value)
						}
					}
				}
			}
			if len(words) < 3 || words[0] != *m.Alt || words[1] != p.Title {
				t.Errorf("%s says %q", m.URL, words)
			}
			if other, taken := drawn[got.Body.String()]; taken {
				t.Errorf("%s and %s are the same", m.URL, other)
			}
			drawn[got.Body.String()] = m.URL
		}
	}

	const path = "/pictures/harbour-mug-1.svg"
	first := ask("GET", path)
	if head := ask("HEAD", path); head.Code != http.StatusOK || head.Body.Len() != 0 || head.Header().Get("Content-Length") != strconv.Itoa(first.Body.Len()) {
		t.Errorf("HEAD: %d, %d bytes, %v", head.Code, head.Body.Len(), head.Header())
	}
	if again := ask("GET", path, "If-None-Match", first.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("the same again: %d", again.Code)
	}
	if post := ask("POST", path); post.Code != http.StatusMethodNotAllowed || post.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", post.Code, post.Header())
	}
	for _, path := range []string{"/pictures/", "/pictures/harbour-mug-9.svg", "/pictures/../catalogue.go", "/harbour-mug-1.svg"} {
		if got := ask("GET", path); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
}
