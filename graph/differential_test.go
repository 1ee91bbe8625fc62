package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
	"emporium/internal/user"
)

const (
	generatedQueries = 3_000 // unless EMPORIUM_FUZZ_QUERIES says otherwise
	generatedSeed    = 1     // unless EMPORIUM_FUZZ_SEED says otherwise
	enoughQueries    = 3_000 // to select every field
	maxDifferences   = 5     // that are reported
)

// oracleHandler answers with gqlgen's executor, which the other one has to agree with.
func oracleHandler(w *world) http.Handler {
	root := Resolver{Services: w.options.Services, Queues: w.options.Queues, Cookies: w.options.Cookies}
	handler, err := w.options.handler(NewExecutableSchema(Config{Resolvers: root, Directives: directives()}))
	if err != nil {
		w.t.Fatal(err)
	}
	return handler
}

// TestExecutorsAgree sends random queries of random viewers to both executors and wants the same answers. Query number n
// follows from the seed plus n alone, so that EMPORIUM_FUZZ_SEED=… EMPORIUM_FUZZ_QUERIES=1 repeats one that was reported.
func TestExecutorsAgree(t *testing.T) {
	t.Parallel()
	total, seed := number(t, "EMPORIUM_FUZZ_QUERIES", generatedQueries), number(t, "EMPORIUM_FUZZ_SEED", generatedSeed)
	p := newPair(t)
	var next, failed, refused, differences atomic.Uint64
	var mu sync.Mutex
	covered, refusals := map[string]bool{}, map[string]string{}
	start := time.Now()
	var wg sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) { // half of them wait for Postgres
		wg.Go(func() {
			mine := map[string]bool{}
			for n := next.Add(1) - 1; n < total && differences.Load() < maxDifferences; n = next.Add(1) - 1 {
				q := p.query(seed + n)
				got, difference := p.compare(q.who, q.document, q.variables)
				if difference != "" && differences.Add(1) <= maxDifferences {
					t.Error(p.report(q, difference))
				}
				switch {
				case got.status != http.StatusOK:
					refused.Add(1)
					mu.Lock()
					refusals[strings.Join(got.messages(), "; ")] = q.document
					mu.Unlock()
					continue
				case strings.HasPrefix(got.body, `{"errors"`):
					failed.Add(1)
				}
				maps.Copy(mine, q.covered)
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(covered, mine)
		})
	}
	wg.Wait()

	done := min(next.Load(), total)
	missing, all := p.missing(covered)
	t.Logf("%d queries in %s (%.0f pairs/s): %d with errors, %d refused, %d of %d fields and arguments covered", done,
		time.Since(start).Round(time.Millisecond), float64(done)/time.Since(start).Seconds(), failed.Load(), refused.Load(),
		all-len(missing), all)
	for i, message := range slices.Sorted(maps.Keys(refusals)) {
		if i < 5 {
			t.Logf("refused: %.300s", message)
		}
	}
	if done < enoughQueries {
		return
	}
	if refused.Load()*20 > done {
		for message, document := range refusals {
			t.Errorf("more than 5 %% were refused, for example: %s\n%s", message, document)
			break
		}
	}
	if len(missing) > 0 && differences.Load() == 0 {
		t.Errorf("never selected or given: %v", missing)
	}
}

// FuzzExecutorsAgree does the same for whatever seeds the fuzzer comes up with.
func FuzzExecutorsAgree(f *testing.F) {
	p := newPair(f)
	for seed := range uint64(5) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		mine := p.of(t)
		q := mine.query(seed)
		if _, difference := mine.compare(q.who, q.document, q.variables); difference != "" {
			t.Error(mine.report(q, difference))
		}
	})
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// pair is both executors over one world.
type pair struct {
	tested, oracle *world
	queries        *generator
}

func newPair(t testing.TB) *pair {
	t.Helper()
	w := newVariedWorld(t)
	oracle := *w
	oracle.handler = oracleHandler(w)
	return &pair{tested: w, oracle: &oracle, queries: newGenerator(contract(t), &oracle, nil)}
}

// of returns the pair for a test below the one that it was made for.
func (p *pair) of(t testing.TB) *pair {
	tested, oracle := *p.tested, *p.oracle
	tested.t, oracle.t = t, t
	return &pair{&tested, &oracle, p.queries}
}

// generated is a query with its viewer.
type generated struct {
	seed      uint64
	who       string
	document  string
	variables map[string]any
	covered   map[string]bool
}

func (p *pair) query(seed uint64) generated {
	r := rand.New(rand.NewPCG(seed, 0))
	g := p.queries.with(r)
	document, variables := g.operation()
	return generated{seed, everyone[r.IntN(len(everyone))], document, variables, g.covered}
}

// compare returns the tested executor's answer, and how the oracle's differs from it.
func (p *pair) compare(who, document string, variables map[string]any) (got answer, difference string) {
	got = p.tested.ask(who, document, variables)
	want := p.oracle.ask(who, document, variables)
	a, b := got.parts(), want.parts()
	for _, part := range slices.Sorted(maps.Keys(b)) {
		if a[part] != b[part] {
			return got, fmt.Sprintf("%s differs\n%s\nthe oracle says\n%s", part, excerpt(a[part], b[part]), excerpt(b[part], a[part]))
		}
	}
	return got, ""
}

// excerpt returns a text from a little before where it differs from the other on.
func excerpt(text, other string) string {
	const before, length = 200, 1_500
	at := 0
	for at < min(len(text), len(other)) && text[at] == other[at] {
		at++
	}
	from := max(at-before, 0)
	return text[from:min(from+length, len(text))]
}

// parts are what has to be the same in two answers: the bytes of the data, and the errors in any order.
func (a answer) parts() map[string]string {
	parts := map[string]string{"status": strconv.Itoa(a.status), "content type": a.header.Get("Content-Type"), "data": "absent", "extensions": "absent"}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(a.body), &members); err != nil {
		parts["form"] = "not JSON: " + a.body
		return parts
	}
	parts["form"] = fmt.Sprint(slices.Sorted(maps.Keys(members)))
	for name, raw := range members {
		if name != "errors" {
			parts[name] = string(raw)
			continue
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var errs []any
		if err := d.Decode(&errs); err != nil {
			parts[name] = "not a list: " + string(raw)
			continue
		}
		canonical := make([]string, len(errs))
		for i, e := range errs {
			b, _ := json.Marshal(e) // was JSON
			canonical[i] = string(b)
		}
		slices.Sort(canonical)
		parts[name] = strings.Join(canonical, "\n")
	}
	return parts
}

// messages are what the answer's errors say.
func (a answer) messages() []string {
	var decoded struct{ Errors []struct{ Message string } }
	if json.Unmarshal([]byte(a.body), &decoded) != nil {
		return []string{"not JSON"}
	}
	var messages []string
	for _, e := range decoded.Errors {
		messages = append(messages, e.Message)
	}
	return messages
}

// report describes a difference by the smallest query that still shows it.
func (p *pair) report(q generated, difference string) string {
	status := p.tested.ask(q.who, q.document, q.variables).status
	document, variables := shrink(q.document, q.variables, func(document string, variables map[string]any) bool {
		a, d := p.compare(q.who, document, variables)
		return d != "" && a.status == status // what is not valid any more may differ in other ways
	})
	if _, d := p.compare(q.who, document, variables); d != "" {
		difference = d
	} else {
		difference += "\n(once: asked again, both said the same)"
	}
	given, _ := json.Marshal(variables) // was made from JSON
	return fmt.Sprintf("EMPORIUM_FUZZ_SEED=%d EMPORIUM_FUZZ_QUERIES=1, as %q\n%s\nvariables %s\n%s", q.seed, q.who, document, given, difference)
}

// shrink removes from a query what is not needed for it to differ: one thing at a time, as long as anything can go.
func shrink(document string, variables map[string]any, differs func(string, map[string]any) bool) (string, map[string]any) {
	const attempts = 3_000
	tried := 0
	for again := true; again; {
		again = false
		for n := 0; ; {
			smaller, kept, ok := without(document, variables, n)
			if tried++; !ok || tried > attempts {
				break
			}
			if smaller != document && differs(smaller, kept) {
				document, variables, again = smaller, kept, true // what was behind it has its number now
			} else {
				n++
			}
		}
	}
	return document, variables
}

// without returns the document without its nth part, and without the fragments and variables that nobody needs then. It
// may not be valid: both executors refuse it alike then. False: it has no such part.
func without(document string, variables map[string]any, n int) (string, map[string]any, bool) {
	d, err := parser.ParseQuery(&ast.Source{Input: document})
	if err != nil {
		return "", nil, false
	}
	found := false
	nth := func() bool {
		n--
		found = found || n == -1
		return n == -1
	}
	var prune func(v *ast.Value)
	prune = func(v *ast.Value) {
		v.Children = slices.DeleteFunc(v.Children, func(*ast.ChildValue) bool { return nth() })
		for _, child := range v.Children {
			prune(child.Value)
		}
	}
	var selections func(set ast.SelectionSet) ast.SelectionSet
	directives := func(list ast.DirectiveList) ast.DirectiveList {
		return slices.DeleteFunc(list, func(*ast.Directive) bool { return nth() })
	}
	selections = func(set ast.SelectionSet) ast.SelectionSet {
		var kept ast.SelectionSet
		for _, s := range set {
			if nth() {
				continue
			}
			switch s := s.(type) {
			case *ast.Field:
				if s.Alias != s.Name && nth() {
					s.Alias = s.Name
				}
				s.Arguments = slices.DeleteFunc(s.Arguments, func(*ast.Argument) bool { return nth() })
				for _, a := range s.Arguments {
					prune(a.Value)
				}
				s.Directives, s.SelectionSet = directives(s.Directives), selections(s.SelectionSet)
			case *ast.InlineFragment:
				if nth() { // its contents in its place
					kept = append(kept, s.SelectionSet...)
					continue
				}
				s.Directives, s.SelectionSet = directives(s.Directives), selections(s.SelectionSet)
				if len(s.SelectionSet) == 0 { // would be written as the spread of what comes next
					continue
				}
			case *ast.FragmentSpread:
				if f := d.Fragments.ForName(s.Name); f != nil && nth() {
					kept = append(kept, &ast.InlineFragment{TypeCondition: f.TypeCondition, Directives: s.Directives, SelectionSet: f.SelectionSet})
					continue
				}
				s.Directives = directives(s.Directives)
			}
			kept = append(kept, s)
		}
		return kept
	}
	op := d.Operations[0]
	op.SelectionSet = selections(op.SelectionSet)
	for _, f := range d.Fragments {
		f.SelectionSet = selections(f.SelectionSet)
	}
	for i := range op.VariableDefinitions {
		v := op.VariableDefinitions[i]
		if v.DefaultValue != nil && nth() {
			v.DefaultValue = nil
		}
		if _, given := variables[v.Variable]; given && nth() {
			variables = maps.Clone(variables)
			delete(variables, v.Variable)
		}
	}
	for removed := true; removed; { // a fragment may have been all that another was spread in
		text := format(d)
		before := len(d.Fragments)
		d.Fragments = slices.DeleteFunc(d.Fragments, func(f *ast.FragmentDefinition) bool {
			return !strings.Contains(text, "... "+f.Name+"\n") && !strings.Contains(text, "... "+f.Name+" ")
		})
		removed = len(d.Fragments) < before
	}
	for i := len(op.VariableDefinitions) - 1; i >= 0; i-- {
		v := op.VariableDefinitions[i]
		op.VariableDefinitions = slices.Delete(op.VariableDefinitions, i, i+1)
		if text := format(d); usesVariable(text, v.Variable) {
			op.VariableDefinitions = slices.Insert(op.VariableDefinitions, i, v)
		} else {
			variables = maps.Clone(variables)
			delete(variables, v.Variable)
		}
	}
	return format(d), variables, found
}

func usesVariable(document, name string) bool {
	for rest := document; ; {
		_, after, found := strings.Cut(rest, "$"+name)
		if !found {
			return false
		}
		if after == "" || after[0] < '0' || after[0] > '9' {
			return true
		}
		rest = after
	}
}

// missing returns what of the contract was not covered, and how much there is to cover: each field of each type that a
// query can reach, each of their arguments, and each field of an input.
func (p *pair) missing(covered map[string]bool) (missing []string, all int) {
	schema := p.queries.schema
	seen := map[string]bool{}
	want := func(name string) {
		if all++; !covered[name] {
			missing = append(missing, name)
		}
	}
	var visit func(d *ast.Definition)
	visit = func(d *ast.Definition) {
		if seen[d.Name] || strings.HasPrefix(d.Name, "__") {
			return
		}
		seen[d.Name] = true
		for _, member := range schema.PossibleTypes[d.Name] {
			visit(member)
		}
		for _, f := range d.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			want(d.Name + "." + f.Name)
			for _, a := range f.Arguments {
				want(d.Name + "." + f.Name + "(" + a.Name + ")")
				visit(schema.Types[a.Type.Name()])
			}
			visit(schema.Types[f.Type.Name()])
		}
	}
	visit(schema.Query)
	slices.Sort(missing)
	return missing, all
}

// odd is a text with everything that JSON has to escape, and more.
const odd = "\"quoted\" \\ tab\tline\nreturn\r \x01\x1f\x7f <b>knife & fork</b> \u2028 é 🧵"

// newVariedWorld makes a world in which, besides what every world has, there is something of every kind, status and
// currency, with all and with nothing that may be missing.
func newVariedWorld(t testing.TB) *world {
	t.Helper()
	return newVariedWorldIn(t, pgtest.New(t))
}

func newVariedWorldIn(t testing.TB, dbs *pgtest.Databases) *world {
	t.Helper()
	w := newWorldIn(t, dbs, 6)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Younger than the rest, so that they come first.
	day := func(n int) time.Time { return time.Date(2050, 1, 1+n, 10, 0, 0, n*1_000_000, time.UTC) }

	shirts, summer := w.ids["Category"].Key, w.ids["Collection"].Key
	home, kitchen, knives, winter := id.New(), id.New(), id.New(), id.New()
	categories := []product.Category{
		{ID: home, Slug: "home", Name: odd, Description: ptr(odd), Position: 2},
		{ID: kitchen, Slug: "kitchen", Name: "Kitchen", ParentID: &home, Position: 1},
		{ID: knives, Slug: "knives", Name: "Knives", Description: ptr(""), ParentID: &kitchen, Position: 2},
		{ID: id.New(), Slug: "forks", Name: "Forks", ParentID: &kitchen, Position: 1},
		{ID: id.New(), Slug: "sleeveless", Name: "Sleeveless", ParentID: &shirts, Position: 1},
	}
	collections := []product.Collection{{ID: winter, Slug: "winter", Title: "Winter", Description: ptr(odd)},
		{ID: id.New(), Slug: "empty", Title: "An empty one"}}
	var drafts []*product.Draft
	add := func(slug, title string, status product.Status, category *uuid.UUID, in ...uuid.UUID) *product.Draft {
		d := &product.Draft{Product: product.Product{ID: id.New(), Slug: slug, Title: title, Status: status, CategoryID: category,
			CreatedAt: day(len(drafts)), UpdatedAt: day(len(drafts)), Metadata: map[string]any{}}, Collections: in}
		drafts = append(drafts, d)
		return d
	}
	sold := func(d *product.Draft, currency string, onHand int, prices ...int64) {
		d.Options = []product.Option{{Name: "Size"}, {Name: odd}}
		for i, price := range prices {
			d.Variants = append(d.Variants, product.VariantDraft{OnHand: ptr(onHand * i), Variant: product.Variant{ID: id.New(),
				Currency: money.Currency(currency), PriceMinor: price, OptionChoices: []string{strconv.Itoa(40 + i), "<&>"}}})
		}
	}
	full := add("knife", "Knife & fork", product.StatusActive, &knives, winter, summer)
	sold(full, "EUR", 7, 0, 199, 123456)
	full.Description, full.DescriptionHTML, full.Vendor, full.Type = odd, "<p>"+odd+"</p>", ptr("Smith & Sons"), ptr("Knife")
	full.Tags, full.SEOTitle, full.SEODescription, full.PublishedAt = []string{"sharp", odd, "linen"}, ptr(odd), ptr(""), ptr(day(3))
	full.Metadata = map[string]any{"_cost": "1", "z": 1.5, "big": 12345678901, "a": map[string]any{"y": nil, "b": []any{true, odd}}, odd: "<&>"}
	full.Media = []product.Media{{ID: id.New(), Kind: product.MediaVideo, URL: "https://example.com/a?x=1&y=<2>", Alt: ptr(odd), Width: ptr(640), Height: ptr(480)},
		{ID: id.New(), URL: "/b.svg", Alt: ptr("")}}
	v := &full.Variants[1]
	v.SKU, v.Barcode, v.CompareAtMinor, v.WeightGrams, v.ImagePosition = ptr("KN & 1"), ptr("4006381333931"), ptr(int64(299)), ptr(0), 1
	sold(add("yen", "Shirt of "+odd, product.StatusActive, &shirts, winter), "JPY", 0, 1990, 5)
	sold(add("dinar", "Shirt in dinars", product.StatusActive, nil, winter), "KWD", 100, 1, 1990)
	sold(add("draft", "Draft shirt", product.StatusDraft, &knives, winter), "EUR", 3, 500)
	sold(add("archived", "Archived knife", product.StatusArchived, &home), "EUR", 3, 500)
	add("bare", "Bare", product.StatusActive, &kitchen)
	add("bare-draft", "Bare draft", product.StatusDraft, nil)
	must(w.services.Products.Load(t.Context(), categories, collections, slices.Values(drafts), nil))

	manager := auth.With(t.Context(), auth.Actor{ID: w.person("manager"), Roles: auth.Roles(auth.RoleManager)})
	for i, reason := range []product.StockReason{product.StockReceived, product.StockDamaged, product.StockLost, product.StockCorrection} {
		for _, v := range full.Variants {
			in := product.StockAdjustInput{VariantID: id.Of(id.Variant, v.ID), Delta: 3 - 2*i, Reason: reason}
			if i%2 == 0 {
				in.Note = ptr(odd)
			}
			_, err := w.services.Products.AdjustStock(manager, in, fmt.Sprintf("%s-%d", v.ID, i))
			must(err)
		}
	}

	guest, empty, closed := user.Account{User: user.User{ID: id.New(), Guest: true, CreatedAt: day(1)}},
		user.Account{User: user.User{ID: id.New(), Email: ptr("empty@example.com"), CreatedAt: day(2), Roles: []auth.Role{auth.RoleCustomer, auth.RoleSupport}}},
		user.Account{User: user.User{ID: id.New(), Email: ptr("closed@example.com"), Name: ptr(odd), Phone: ptr("+49301234567"),
			Status: user.StatusDeactivated, CreatedAt: day(1)}}
	closed.AddressBook = []user.Address{
		{ID: id.New(), Country: "JP", Postal: user.Postal{Name: odd, Company: ptr(odd), Line1: odd, Line2: ptr("2nd floor"), City: "東京",
			Region: ptr("Kantō"), PostalCode: ptr("100-0001"), Phone: ptr("+81312345678")}},
		{ID: id.New(), Country: "DE", Postal: user.Postal{Name: "A", Line1: "B", City: "C"}}}
	closed.DefaultBillingAddressID = &closed.AddressBook[0].ID
	must(w.services.Users.Load(t.Context(), slices.Values([]*user.Account{&guest, &empty, &closed}), nil))

	var orders []*order.Draft
	var payments []*payment.Draft
	paid := map[order.PaymentStatus]payment.Status{order.PaymentAuthorized: payment.StatusAuthorized, order.PaymentPartiallyPaid: payment.StatusPartiallyCaptured,
		order.PaymentPaid: payment.StatusCaptured, order.PaymentPartiallyRefunded: payment.StatusPartiallyRefunded,
		order.PaymentRefunded: payment.StatusRefunded, order.PaymentVoided: payment.StatusVoided}
	events := []payment.EventKind{payment.EventActionRequired, payment.EventAuthorized, payment.EventCaptured, payment.EventRefunded, payment.EventVoided, payment.EventFailed}
	for i, owner := range []uuid.UUID{w.ids["User"].Key, w.person("bob"), guest.ID, closed.ID} {
		for j, c := range []struct {
			status      order.Status
			payment     order.PaymentStatus
			fulfillment order.FulfillmentStatus
			currency    string
		}{
			{order.StatusPending, order.PaymentUnpaid, order.Unfulfilled, "EUR"},
			{order.StatusConfirmed, order.PaymentAuthorized, order.Fulfilled, "JPY"},
			{order.StatusCompleted, order.PaymentPartiallyRefunded, order.Delivered, "KWD"},
			{order.StatusCanceled, order.PaymentVoided, order.Unfulfilled, "EUR"},
			{order.StatusPaymentFailed, order.PaymentUnpaid, order.Unfulfilled, "EUR"},
			{order.StatusExpired, order.PaymentUnpaid, order.Unfulfilled, "USD"},
			{order.StatusCompleted, order.PaymentRefunded, order.Returned, "EUR"},
			{order.StatusPlaced, order.PaymentPartiallyPaid, order.Unfulfilled, "EUR"},
		} {
			if i > 1 && j > 2 {
				break
			}
			at := day(10*i + j)
			o := order.Draft{Order: order.Order{Owner: owner, ID: id.New(), Number: order.NewNumber(), Status: c.status, PaymentStatus: c.payment,
				FulfillmentStatus: c.fulfillment, Currency: money.Currency(c.currency), CreatedAt: at}}
			switch c.status {
			case order.StatusPending, order.StatusPaymentFailed, order.StatusExpired: // nothing that may be missing
			case order.StatusCanceled:
				o.Order.CanceledAt = ptr(at.Add(time.Hour))
			default:
				o.Order.PlacedAt = ptr(at.Add(time.Minute))
			}
			if j%2 == 1 { // everything
				address := &order.PostalAddress{Name: odd, Company: ptr(odd), Line1: odd, Line2: ptr("2"), City: "C", Region: ptr("R"), PostalCode: ptr("P"), Country: "FR", Phone: ptr("+33123456789")}
				o.Order.Email, o.Order.ShippingAddress = ptr(fmt.Sprintf("order%d@example.com", j)), address
				o.Order.SubtotalMinor, o.Order.DiscountMinor, o.Order.ShippingMinor, o.Order.TaxMinor = 2001, 1, 490, 19
				o.Order.TotalMinor = 2509
				o.Lines = []order.Line{{ID: id.New(), Position: 1, ProductID: full.ID, VariantID: full.Variants[1].ID, Title: odd, VariantTitle: ptr(odd), SKU: ptr("KN & 1"),
					ImageURL: ptr("https://example.com/<&>"), Quantity: 2, UnitPriceMinor: 1000, DiscountMinor: 1, TaxMinor: 19, TotalMinor: 1999},
					{ID: id.New(), Position: 2, ProductID: drafts[3].ID, VariantID: drafts[3].Variants[0].ID, Title: "A draft", Quantity: 1, UnitPriceMinor: 1, TotalMinor: 1},
					{ID: id.New(), Position: 3, ProductID: id.New(), VariantID: id.New(), Title: "Gone", Quantity: 1}}
				f := order.Fulfillment{ID: id.New(), Status: order.ParcelDelivered, Carrier: ptr(odd), TrackingNumber: ptr(odd), TrackingURL: ptr("https://example.com/t?a=1&b=2"),
					CreatedAt: at, ShippedAt: ptr(at), DeliveredAt: ptr(at.Add(time.Hour))}
				o.Fulfillments = []order.Fulfillment{f, {ID: id.New(), Status: order.ParcelPending, CreatedAt: at}}
				o.FulfillmentLines = []order.FulfillmentLine{{FulfillmentID: f.ID, LineID: o.Lines[0].ID, Quantity: 2}}
				o.Events = []order.Event{{ID: id.New(), Kind: order.EventNote, Message: odd, CreatedAt: at}, {ID: id.New(), Kind: order.EventCanceled, CreatedAt: at}}
			}
			orders = append(orders, &o)
			if c.payment == order.PaymentUnpaid && c.status != order.StatusPaymentFailed {
				continue
			}
			attempt := payment.Draft{Payment: payment.Payment{Owner: owner, ID: id.New(), OrderID: o.Order.ID, Provider: "other_one", Status: payment.StatusFailed,
				Method: payment.Method{Kind: odd}, Currency: o.Order.Currency, AmountMinor: 1, CreatedAt: at}}
			payments = append(payments, &attempt)
			if status := paid[c.payment]; status != "" {
				p := payment.Draft{Payment: payment.Payment{Owner: owner, ID: id.New(), OrderID: o.Order.ID, Provider: "test", Status: status,
					Method: payment.Method{Kind: "card", Brand: ptr(odd), LastFour: ptr("0000")}, Currency: o.Order.Currency, AmountMinor: 2509,
					Reference: ptr(odd + uuid.NewString()), CreatedAt: at}}
				for k, kind := range events[:1+j%len(events)] {
					p.Events = append(p.Events, payment.EventDraft{EventID: uuid.NewString(), Event: payment.Event{ID: id.New(), Kind: kind,
						PaymentID: p.Payment.ID, OrderID: o.Order.ID, Currency: o.Order.Currency, AmountMinor: int64(2509 / (k + 1)), OccurredAt: at}})
				}
				payments = append(payments, &p)
			}
		}
	}
	must(w.services.Orders.Load(t.Context(), slices.Values(orders), nil))
	must(w.services.Payments.Load(t.Context(), slices.Values(payments), nil))
	w.commands(payments)
	_, err := postgres.Exec(t.Context(), w.dbs.Products, postgres.Stmt{Name: "test.hold",
		SQL: "UPDATE products.stock SET held = on_hand - on_hand / 3"})
	must(err)
	return w
}

// person returns the key of somebody of the world.
func (w *world) person(name string) uuid.UUID {
	w.t.Helper()
	found := w.data("admin", `query($e: EmailAddress) { user(email: $e) { id } }`, map[string]any{"e": name + "@example.com"})
	i, err := id.Parse(found["user"].(map[string]any)["id"].(string))
	if err != nil {
		w.t.Fatal(err)
	}
	return i.Key
}
