package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"emporium/graph/loader"
	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
	"emporium/internal/seal"
	"emporium/internal/telemetry"
	"emporium/internal/usage"
	"emporium/internal/user"
)

// world is a shop in databases of its own, behind the handler of production.
type world struct {
	t        testing.TB
	options  Options
	handler  http.Handler
	services loader.Services
	tokens   map[string]string // access tokens by who: "ada", "bob", "support", "manager", "admin", "service"
	ids      map[string]id.ID  // of Ada's things and of the catalogue, by type; see build
	numbers  map[string]string // order numbers by owner
	dbs      *pgtest.Databases
	sealer   *seal.Sealer
	queues   jobs.Queues                   // once the world takes money
	keys     *atomic.Pointer[auth.Keyring] // that sign the tokens

	apiKey  id.ID  // of a machine
	machine string // what it signs in with
}

var roles = map[string]auth.Role{
	"ada": auth.RoleCustomer, "bob": auth.RoleCustomer, "support": auth.RoleSupport, "manager": auth.RoleManager,
	"admin": auth.RoleAdmin, "service": auth.RoleService,
}

// newWorld makes a shop with as many customers and products; each customer has three orders, each order three lines, a
// payment with two events, a parcel with two lines and two events.
func newWorld(t testing.TB, size int) *world {
	t.Helper()
	return newWorldIn(t, pgtest.New(t), size)
}

// wideLimits let tests ask for whatever there is.
var wideLimits = Limits{Body: 256 << 10, Tokens: 5_000, Depth: 15, Introspection: 20, Aliases: 1_000, SameField: 1_000,
	Directives: 1_000, RootFields: 20, Mutations: 20, Cost: generatedCost, Statements: 1_000}

// limited returns a world with the limits of production.
func (w *world) limited() *world {
	w.t.Helper()
	own := *w
	own.options.Limits = DefaultLimits()
	var err error
	if own.handler, err = NewHandler(own.options); err != nil {
		w.t.Fatal(err)
	}
	return &own
}

func newWorldIn(t testing.TB, dbs *pgtest.Databases, size int) *world {
	t.Helper()
	sealer, err := seal.NewSealer(seal.New())
	if err != nil {
		t.Fatal(err)
	}
	keys := &atomic.Pointer[auth.Keyring]{}
	keys.Store(auth.NewKeyring())
	hasher, err := auth.NewHasher(auth.HasherConfig{Params: auth.Params{Memory: 64, Passes: 1, Lanes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	throttle, err := auth.NewThrottle(auth.ThrottleConfig{Secret: []byte(rand32())})
	if err != nil {
		t.Fatal(err)
	}
	queues := newQueues(t, dbs)
	w := &world{t: t, dbs: dbs, sealer: sealer, keys: keys, tokens: map[string]string{}, ids: map[string]id.ID{}, numbers: map[string]string{}}
	w.services = loader.Services{
		Users: user.New(user.Config{DB: dbs.Users, Sealer: sealer, Hasher: hasher, Throttle: throttle,
			Issuer: auth.NewIssuer("test", "test", keys), AccessTTL: 24 * time.Hour, PhoneRegion: "DE"}),
		Products: product.New(dbs.Products, "EUR"),
		Payments: payment.New(payment.Config{DB: dbs.Payments, Sealer: sealer, Currency: "EUR", Jobs: queues[jobs.Payments]}),
	}
	w.services.Orders = order.New(order.Config{DB: dbs.Orders, Sealer: sealer, Currency: "EUR",
		Products: w.services.Products, Users: w.services.Users, TaxIncluded: true, Payments: w.services.Payments, Jobs: queues[jobs.Orders]})
	verifier, err := auth.NewVerifier(auth.VerifierConfig{Issuer: "test", Audience: "test"}, keys)
	if err != nil {
		t.Fatal(err)
	}
	w.options = Options{Services: w.services, Queues: queues, Verifier: verifier, Metrics: telemetry.NewMetrics(),
		Limits: wideLimits, Usage: usage.NewCounter(), Introspection: IntrospectionOn, Cookies: CookiePolicy{Path: "/graphql", MaxAge: time.Hour}}
	if w.handler, err = NewHandler(w.options); err != nil {
		t.Fatal(err)
	}
	hash, err := hasher.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	w.build(size, hash)
	admin, err := w.services.Users.ByEmail(auth.With(t.Context(), auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleSupport)}), "admin@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"till", "warehouse"} {
		p, err := w.services.Users.CreateAPIKey(auth.With(t.Context(), auth.Actor{ID: admin.ID, Roles: auth.Roles(auth.RoleAdmin)}), user.APIKeyCreateInput{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		w.apiKey, w.machine = p.APIKey.GlobalID(), *p.Secret
	}
	for name := range roles {
		tokens, err := w.services.Users.OpenSession(t.Context(), name+"@example.com")
		if err != nil {
			t.Fatal(err)
		}
		w.tokens[name] = tokens.AccessToken
	}
	return w
}

// errand is a job that waits in the queue of orders.
type errand struct {
	Number int `json:"number"`
}

func (errand) Kind() string { return "test.errand" }

// openQueues opens the queues of the domains, in which nothing is worked off.
func openQueues(t testing.TB, dbs *pgtest.Databases) jobs.Queues {
	t.Helper()
	queues := jobs.Queues{}
	for domain, db := range map[jobs.Domain]*postgres.DB{
		jobs.Users: dbs.Users, jobs.Products: dbs.Products, jobs.Orders: dbs.Orders, jobs.Payments: dbs.Payments,
	} {
		schema := strings.ToLower(string(domain))
		q, err := jobs.Open(t.Context(), db, dbs.URLs[schema], schema, jobs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(q.Close)
		queues[domain] = q
	}
	return queues
}

// newQueues opens the queues, with some errands.
func newQueues(t testing.TB, dbs *pgtest.Databases) jobs.Queues {
	t.Helper()
	queues := openQueues(t, dbs)
	jobs.Handle(queues[jobs.Orders], func(context.Context, errand) error { return nil })
	if err := dbs.Orders.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		for i := range 15 {
			if err := queues[jobs.Orders].Add(ctx, tx, errand{i}, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return queues
}

const password = "correct horse battery staple"

func rand32() string { return uuid.NewString()[:32] }

func (w *world) build(size int, hash string) {
	ctx, t := w.t.Context(), w.t
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	top, leaf, collection := id.New(), id.New(), id.New()
	w.ids["Category"], w.ids["Collection"] = id.Of(id.Category, leaf), id.Of(id.Collection, collection)
	categories := []product.Category{
		{ID: top, Slug: "clothes", Name: "Clothes", Position: 1},
		{ID: leaf, Slug: "shirts", Name: "Shirts", ParentID: &top, Position: 1},
	}
	var drafts []*product.Draft
	var variants []uuid.UUID
	for i := range size {
		d := &product.Draft{
			Product: product.Product{ID: id.New(), Slug: fmt.Sprintf("shirt-%d", i), Title: fmt.Sprintf("Shirt %d", i),
				Description: "A shirt.", DescriptionHTML: "<p>A shirt.</p>", Vendor: ptr("Weaver"), Type: ptr("Shirt"),
				Tags: []string{"linen"}, Status: product.StatusActive, CategoryID: &leaf, Metadata: map[string]any{"care": "cold wash", "_cost": "4.20"},
				PublishedAt: ptr(time.Now())},
			Options: []product.Option{{Position: 1, Name: "Size", Values: []string{"S", "M"}}},
			Media: []product.Media{{ID: id.New(), Kind: product.MediaImage, URL: "/pictures/a.svg", Position: 1},
				{ID: id.New(), Kind: product.MediaImage, URL: "/pictures/b.svg", Position: 2}},
			Collections: []uuid.UUID{collection},
		}
		for j, v := range []string{"S", "M"} {
			d.Variants = append(d.Variants, product.VariantDraft{OnHand: ptr(20), ImagePosition: 1, Variant: product.Variant{ID: id.New(),
				Position: j + 1, SKU: ptr(fmt.Sprintf("SH-%d-%s", i, v)), OptionNames: []string{"Size"}, OptionChoices: []string{v},
				Currency: "EUR", PriceMinor: 1990}})
			variants = append(variants, d.Variants[j].ID)
		}
		drafts = append(drafts, d)
	}
	w.ids["Product"], w.ids["Variant"], w.ids["Media"] = id.Of(id.Product, drafts[0].ID), id.Of(id.Variant, variants[0]),
		id.Of(id.Media, drafts[0].Media[0].ID)
	must(w.services.Products.Load(ctx, categories, []product.Collection{{ID: collection, Slug: "summer", Title: "Summer"}},
		slices.Values(drafts), nil))

	ledger, err := w.services.Products.Movements(auth.With(ctx, auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleService)}),
		variants[:1], page.Args{First: ptr(1)})
	must(err)
	w.ids["StockMovement"] = ledger[variants[0]].Nodes()[0].GlobalID()

	names := []string{"ada", "bob", "support", "manager", "admin", "service"}
	for i := range max(size-2, 0) {
		names = append(names, fmt.Sprintf("customer%d", i))
	}
	var accounts []*user.Account
	var orders []*order.Draft
	var payments []*payment.Draft
	for i, name := range names {
		u := user.Account{PasswordHash: &hash, User: user.User{ID: id.New(), Status: user.StatusActive, Roles: []auth.Role{auth.RoleCustomer},
			Name: ptr("Name of " + name), Email: ptr(name + "@example.com"), Phone: ptr(fmt.Sprintf("+4930901%05d", i)), CreatedAt: time.Now()}}
		if role, ok := roles[name]; ok {
			u.Roles = []auth.Role{role}
		}
		for range 2 {
			u.AddressBook = append(u.AddressBook, user.Address{ID: id.New(), Country: "DE",
				Postal: user.Postal{Name: "Name of " + name, Line1: "Street 1", City: "Berlin"}})
		}
		u.DefaultShippingAddressID, u.DefaultBillingAddressID = &u.AddressBook[0].ID, &u.AddressBook[1].ID
		accounts = append(accounts, &u)
		for j := range 3 {
			o, p := w.sale(u.ID, name, i*3+j, variants, drafts[0].ID)
			orders, payments = append(orders, o), append(payments, p)
			if name == "ada" && j == 0 {
				w.ids["User"], w.ids["Address"] = id.Of(id.User, u.ID), id.Owned(id.Address, id.Key{Owner: u.ID, ID: u.AddressBook[0].ID})
				w.ids["Order"], w.ids["Payment"] = o.Order.GlobalID(), p.Payment.GlobalID()
				w.ids["OrderLine"] = id.Owned(id.OrderLine, id.Key{Owner: u.ID, ID: o.Lines[0].ID})
				w.ids["Fulfillment"] = id.Owned(id.Fulfillment, id.Key{Owner: u.ID, ID: o.Fulfillments[0].ID})
				w.ids["OrderEvent"] = id.Owned(id.OrderEvent, id.Key{Owner: u.ID, ID: o.Events[0].ID})
				w.ids["PaymentEvent"] = id.Owned(id.PaymentEvent, id.Key{Owner: u.ID, ID: p.Events[0].Event.ID})
			}
		}
		w.numbers[name] = orders[len(orders)-1].Order.Number
	}
	must(w.services.Users.Load(ctx, slices.Values(accounts), nil))
	must(w.services.Orders.Load(ctx, slices.Values(orders), nil))
	must(w.services.Payments.Load(ctx, slices.Values(payments), nil))
	w.fillCarts(accounts, variants)
	w.commands(payments)

	manager := auth.With(ctx, auth.Actor{ID: accounts[3].ID, Roles: auth.Roles(auth.RoleManager)})
	dearer, err := money.ParseDecimal("29.90")
	must(err)
	_, err = w.services.Products.UpdateVariant(manager, product.VariantUpdateInput{VariantID: w.ids["Variant"],
		VariantFields: product.VariantFields{CompareAtPrice: graphql.OmittableOf(&dearer)}})
	must(err)
	changes, err := w.services.Products.PriceChanges(manager, variants[:1], page.Args{First: ptr(1)})
	must(err)
	w.ids["PriceChange"] = changes[variants[0]].Nodes()[0].GlobalID()
}

// fillCarts gives Ada and the admin carts to which everything applies that can apply to one.
func (w *world) fillCarts(accounts []*user.Account, variants []uuid.UUID) {
	t, orders := w.t, w.services.Orders
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	decimal := func(text string) money.Decimal {
		d, err := money.ParseDecimal(text)
		must(nil, err)
		return d
	}
	admin := auth.With(t.Context(), auth.Actor{ID: accounts[4].ID, Roles: auth.Roles(auth.RoleAdmin)})
	must(orders.SetTaxRate(admin, order.TaxRateSetInput{Country: "DE", Name: "VAT", BasisPoints: 1900, AppliesToShipping: true}))
	shipping, err := orders.CreateShippingMethod(admin, order.ShippingMethodCreateInput{Name: "Parcel", Countries: []string{"DE"},
		Rates: []order.ShippingRateInput{{FromSubtotal: decimal("0"), Price: decimal("4.90")}}})
	must(nil, err)
	must(orders.CreateDiscount(admin, order.DiscountCreateInput{Code: "TENTH", Kind: order.DiscountPercentage, BasisPoints: ptr(1000),
		CustomerLimit: ptr(5)}))
	w.ids["Shipping"] = shipping.ShippingMethod.GlobalID()
	for _, a := range []*user.Account{accounts[0], accounts[4]} {
		ctx := auth.With(t.Context(), auth.Actor{ID: a.ID, Roles: auth.Roles(a.Roles...)})
		lines := []order.CartLineInput{}
		for _, v := range variants[:min(len(variants), 60)] {
			lines = append(lines, order.CartLineInput{VariantID: id.Of(id.Variant, v), Quantity: 2})
		}
		must(orders.AddCartLines(ctx, order.CartLinesAddInput{Lines: lines}))
		must(orders.UpdateCart(ctx, order.CartUpdateInput{Email: graphql.OmittableOf(a.Email), Note: graphql.OmittableOf(ptr("Ring twice.")),
			ShippingAddressID: ptr(id.Owned(id.Address, id.Key{Owner: a.ID, ID: a.AddressBook[0].ID})),
			ShippingMethodID:  graphql.OmittableOf(ptr(shipping.ShippingMethod.GlobalID()))}))
		p, err := orders.ApplyCartDiscount(ctx, order.CartDiscountApplyInput{Code: "tenth"})
		must(nil, err)
		if a == accounts[0] {
			w.ids["Cart"], w.ids["CartLine"] = p.Cart.GlobalID(), p.Cart.Lines[0].GlobalID()
		}
	}
}

// commands gives each payment a refund that failed and one that is under way, and finds something of each that differs.
func (w *world) commands(payments []*payment.Draft) {
	w.t.Helper()
	exec := func(sql string, args ...any) {
		w.t.Helper()
		if _, err := postgres.Exec(w.t.Context(), w.dbs.Payments, postgres.Stmt{Name: "test.commands", SQL: sql}, args...); err != nil {
			w.t.Fatal(err)
		}
	}
	for i, p := range payments {
		key := p.Payment.Key()
		for _, status := range []string{"FAILED", "PENDING"} {
			c := id.Key{Owner: key.Owner, ID: id.New()}
			if w.ids["PaymentCommand"] == (id.ID{}) && key == w.ids["Payment"].OwnedKey() {
				w.ids["PaymentCommand"] = id.Owned(id.PaymentCommand, c)
			}
			exec(`INSERT INTO payments.commands (owner_id, id, payment_id, order_id, kind, currency, amount, status, reason, note, lines, failure,
				actor_id, finished_at) VALUES ($1, $2, $3, $4, 'REFUND', $5, 100, $6, 'RETURNED', 'by post', $7,
				CASE WHEN $6 = 'FAILED' THEN 'not_refundable' END, $8, CASE WHEN $6 = 'FAILED' THEN now() END)`,
				c.Owner, c.ID, key.ID, p.Payment.OrderID, p.Payment.Currency, status,
				[]payment.RefundLine{{OrderLineID: id.New(), Quantity: 1 + i}}, key.Owner)
		}
		exec(`INSERT INTO payments.differences (id, provider, kind, subject, owner_id, payment_id, details, resolved_at)
			VALUES ($1, $2, 'AMOUNT_MISMATCH', sha256($3), $4, $5, $6, now())`,
			id.New(), p.Payment.Provider, key.ID[:], key.Owner, key.ID, map[string]any{"captured": i})
	}
}

func (w *world) sale(owner uuid.UUID, name string, n int, variants []uuid.UUID, productID uuid.UUID) (*order.Draft, *payment.Draft) {
	now := time.Now()
	address := &order.PostalAddress{Name: "Name of " + name, Line1: "Street 1", City: "Berlin", Country: "DE"}
	o := &order.Draft{Order: order.Order{Owner: owner, ID: id.New(), Number: order.NewNumber(), Status: order.StatusPlaced,
		PaymentStatus: order.PaymentPaid, FulfillmentStatus: order.PartiallyFulfilled, Email: ptr(name + "@example.com"),
		ShippingAddress: address, BillingAddress: address, Currency: "EUR", SubtotalMinor: 5970, TaxMinor: 953, TaxIncluded: true,
		TotalMinor: 5970, CreatedAt: now, PlacedAt: &now}, Paid: order.PaymentFacts{Authorized: 5970, Captured: 5970}}
	f := order.Fulfillment{ID: id.New(), OrderID: o.Order.ID, Status: order.ParcelShipped, CreatedAt: now, ShippedAt: &now}
	for i := range 3 {
		line := order.Line{ID: id.New(), OrderID: o.Order.ID, Position: i + 1, ProductID: productID,
			VariantID: variants[(n+i)%len(variants)], Title: "Shirt", Quantity: 1, UnitPriceMinor: 1990, TotalMinor: 1990}
		o.Lines = append(o.Lines, line)
		if i < 2 {
			o.FulfillmentLines = append(o.FulfillmentLines, order.FulfillmentLine{FulfillmentID: f.ID, LineID: line.ID, Quantity: 1})
		}
	}
	o.Fulfillments = []order.Fulfillment{f}
	for _, kind := range []order.EventKind{order.EventCreated, order.EventPlaced} {
		o.Events = append(o.Events, order.Event{ID: id.New(), OrderID: o.Order.ID, Kind: kind, CreatedAt: now})
	}
	p := &payment.Draft{Payment: payment.Payment{Owner: owner, ID: id.New(), OrderID: o.Order.ID, Provider: "test",
		Status: payment.StatusCaptured, Method: payment.Method{Kind: "card", Brand: ptr("visa"), LastFour: ptr("4242")},
		Currency: "EUR", AmountMinor: 5970, Reference: ptr("ref-" + uuid.NewString()), CreatedAt: now}}
	for _, kind := range []payment.EventKind{payment.EventAuthorized, payment.EventCaptured} {
		p.Events = append(p.Events, payment.EventDraft{EventID: uuid.NewString(), Event: payment.Event{ID: id.New(),
			PaymentID: p.Payment.ID, OrderID: o.Order.ID, Kind: kind, Currency: "EUR", AmountMinor: 5970, OccurredAt: now}})
	}
	return o, p
}

func ptr[T any](v T) *T { return &v }

// answer is what came back over HTTP, with the statements that it took.
type answer struct {
	status     int
	header     http.Header
	body       string
	statements []string
}

// ask sends an operation as one of the world's people, or as nobody.
func (w *world) ask(who, query string, variables map[string]any) answer {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.send(w.request(who, body))
}

// request returns that of somebody with a body.
func (w *world) request(who string, body []byte) *http.Request {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if who != "" {
		token, ok := w.tokens[who]
		if !ok {
			w.t.Fatalf("nobody is called %q", who)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func (w *world) send(r *http.Request) answer {
	ctx, recorder := postgres.Record(telemetry.WithRequest(r.Context(), telemetry.Request{ID: "request", ClientAddress: "192.0.2.1"}))
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, r.WithContext(ctx))
	return answer{out.Code, out.Header(), out.Body.String(), recorder.Statements()}
}

// data returns the answer's data, and fails the test when there are errors.
func (w *world) data(who, query string, variables map[string]any) map[string]any {
	w.t.Helper()
	a := w.ask(who, query, variables)
	var decoded struct {
		Data   map[string]any
		Errors []any
	}
	if err := json.Unmarshal([]byte(a.body), &decoded); err != nil || len(decoded.Errors) > 0 {
		w.t.Fatalf("%s\nas %q: %d %s", query, who, a.status, a.body)
	}
	return decoded.Data
}

// codes returns the codes of the answer's errors, each with its path.
func (a answer) codes() []string {
	var decoded struct {
		Errors []struct {
			Path       []any
			Extensions struct{ Code string }
		}
	}
	if json.Unmarshal([]byte(a.body), &decoded) != nil {
		return []string{"not JSON"}
	}
	var codes []string
	for _, e := range decoded.Errors {
		var path []string
		for _, step := range e.Path {
			path = append(path, fmt.Sprint(step))
		}
		codes = append(codes, e.Extensions.Code+" "+strings.Join(path, "."))
	}
	slices.Sort(codes)
	return codes
}
