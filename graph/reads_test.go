package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/postgres"
)

const (
	readsSeed       = 1   // unless EMPORIUM_READS_SEED says otherwise
	readsRows       = 2   // of each table that are changed, unless EMPORIUM_READS_ROWS says otherwise: 4 take minutes
	readsQueries    = 600 // random ones, of which some are kept
	readsPerReason  = 2   // how many queries are kept for the same statement and kind of viewer
	readsOfOthers   = 50  // of the queries that do not read a table, how many are asked for once
	readsTagsPerSet = 1_000
)

// watched is a query with its answer, and what it declared to have read.
type watched struct {
	who, document string
	variables     map[string]any
	body          string
	statements    []string
	tags          map[postgres.Tag]bool
	relations     []string
	uncacheable   string
}

// rowChange is what happens to a row of a table: nil is no row.
type rowChange struct {
	table    *changingTable
	what     string
	old, new map[string]any
}

// changingTable is a table of a domain.
type changingTable struct {
	db       *postgres.DB
	relation string
	columns  []changingColumn
	key      []string
	rows     []map[string]any
}

type changingColumn struct {
	name, kind string
	nullable   bool
	literals   []string // that its constraints name
}

// TestReadsAreDeclared changes the database row by row, behind the server's back, and wants every answer that has changed to
// have declared it: the change stamps the table as a whole and, of each column by which reads are told apart, the value
// before and the value after. That is all that a cache goes by.
func TestReadsAreDeclared(t *testing.T) {
	t.Parallel()
	w := newVariedWorld(t)
	r := rand.New(rand.NewPCG(number(t, "EMPORIUM_READS_SEED", readsSeed), 0))
	rows := int(number(t, "EMPORIUM_READS_ROWS", readsRows))
	actors := w.actors()

	began := time.Now()
	queries, volatile := w.watch(t, r, actors)
	read := map[string]bool{}
	for _, q := range queries {
		for _, relation := range q.relations {
			read[relation] = true
		}
	}
	tables := w.tables(t)
	t.Logf("%s: %d queries are watched; they read %v", time.Since(began).Round(time.Millisecond), len(queries), slices.Sorted(maps.Keys(read)))
	t.Logf("not kept because: %v", slices.Sorted(maps.Keys(volatile)))

	changes, refused, asked, voided := 0, 0, 0, 0
	for _, table := range tables {
		all := table.changes(r, rows, queries, w.ids)
		if !read[table.relation] {
			all = all[:min(2, len(all))]
		}
		for i, c := range all {
			// That no query reads a relation without saying so is seen by its plan; once for each table it is tried on some.
			others := map[bool]int{true: readsOfOthers}[i == 0]
			done := w.apply(t, c, func() {
				stamped := c.stamps()
				var again []*watched
				for _, n := range r.Perm(len(queries)) {
					switch q := queries[n]; {
					case q.isVoid(stamped):
						voided++
					case slices.Contains(q.relations, table.relation):
						again = append(again, q)
					case others > 0:
						others--
						again = append(again, q)
					}
				}
				asked += len(again)
				for _, q := range w.changed(again, actors) {
					t.Errorf("%s of %s changes an answer that does not depend on it\nas %q: %s\n%v\nstatements %v\n%s",
						c.what, table.relation, q.q.who, q.q.document, q.q.variables, q.q.statements, excerpt(q.now, q.q.body))
				}
			})
			changes++
			if !done {
				refused++
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%s: %d tables, %d changes of which constraints refused %d; %d answers were void, %d were asked for again",
		time.Since(began).Round(time.Millisecond), len(tables), changes, refused, voided, asked)
	for _, q := range w.changed(queries, actors) {
		t.Errorf("the test did not leave the database as it was:\n%s\n%s", q.q.document, excerpt(q.now, q.q.body))
	}

	// A discount that ends does so without any change.
	admin := auth.With(t.Context(), actors["admin"])
	if _, err := w.services.Orders.CreateDiscount(admin, order.DiscountCreateInput{Code: "TODAY", Kind: order.DiscountFreeShipping,
		EndsAt: ptr(time.Now().Add(time.Hour))}); err != nil {
		t.Fatal(err)
	}
	bob := auth.With(t.Context(), actors["bob"])
	if _, err := w.services.Orders.AddCartLines(bob, order.CartLinesAddInput{Lines: []order.CartLineInput{{VariantID: w.ids["Variant"], Quantity: 1}}}); err != nil {
		t.Fatal(err)
	}
	const cart = `{ cart { total { amount } } }`
	if q := w.watchOne(t, actors, "bob", cart, nil); q == nil || q.uncacheable != "" {
		t.Errorf("a cart without a discount is not kept: %+v", q)
	}
	if _, err := w.services.Orders.ApplyCartDiscount(bob, order.CartDiscountApplyInput{Code: "TODAY"}); err != nil {
		t.Fatal(err)
	}
	if q := w.watchOne(t, actors, "bob", cart, nil); q == nil || q.uncacheable != "the discount holds for a time" {
		t.Errorf("a cart with a discount that ends: %+v", q)
	}

	// What is not read: a movement of the stock is nothing to who asks for titles and prices.
	for document, reads := range map[string]bool{
		`{ products(first: 20) { nodes { title priceRange { min { amount } } variants { sku price { amount } } media { url } } } }`: false,
		`{ products(first: 20, query: "shirt", filter: {tags: ["linen"]}) { nodes { title } totalCount } }`:                         false,
		`{ products(first: 20) { nodes { variants { availability { inStock } } } } }`:                                               true,
		`{ products(first: 20, filter: {inStock: true}) { nodes { title } } }`:                                                      true,
	} {
		q := w.watchOne(t, actors, "", document, nil)
		if q == nil || q.uncacheable != "" {
			t.Errorf("no answer to keep: %s", document)
		} else if slices.Contains(q.relations, "products.stock") != reads {
			t.Errorf("reads %v: %s", q.relations, document)
		}
	}

	// What would be found if a query kept silent.
	for relation, document := range map[string]string{
		"orders.lines":          fmt.Sprintf(`{ order(id: %q) { lines { quantity } } }`, w.ids["Order"]),
		"orders.orders":         `{ viewer { orders(first: 5) { nodes { status total { amount } } } } }`,
		"products.options":      fmt.Sprintf(`{ variant(id: %q) { optionValues { name } } }`, w.ids["Variant"]),
		"products.stock":        fmt.Sprintf(`{ variant(id: %q) { availability { inStock quantity } } }`, w.ids["Variant"]),
		"products.products":     fmt.Sprintf(`{ variant(id: %q) { sku } }`, w.ids["Variant"]),
		"products.categories":   fmt.Sprintf(`{ category(id: %q) { children { name } } }`, w.ids["Category"]),
		"payments.events":       fmt.Sprintf(`{ payment(id: %q) { events { kind } } }`, w.ids["Payment"]),
		"users.addresses":       `{ viewer { addresses { country } } }`,
		"orders.cart_lines":     `{ cart { itemCount } }`,
		"orders.tax_rates":      `{ cart { taxTotal { amount } } }`,
		"orders.shipping_rates": `{ cart { shippingTotal { amount } } }`,
	} {
		t.Run("without "+relation, func(t *testing.T) {
			q := w.watchOne(t, actors, "ada", document, nil)
			if q == nil {
				t.Fatalf("no answer: %s", document)
			}
			if !slices.Contains(q.relations, relation) || q.uncacheable != "" {
				t.Fatalf("reads %v, %q: %s", q.relations, q.uncacheable, q.body)
			}
			found := 0
			i := slices.IndexFunc(tables, func(x *changingTable) bool { return x.relation == relation })
			for _, row := range tables[i].rows { // of which the answer depends on some
				for _, c := range tables[i].changesOf(row, r) {
					w.apply(t, c, func() {
						stamped := c.stamps()
						moved := len(w.changed([]*watched{q}, actors)) > 0
						if moved && !q.isVoid(stamped) {
							t.Errorf("%s changes an answer that does not depend on it: %s", c.what, document)
						}
						silent := *q
						silent.tags = maps.Clone(q.tags)
						maps.DeleteFunc(silent.tags, func(tag postgres.Tag, _ bool) bool { return stamped[tag] })
						if moved && !silent.isVoid(stamped) {
							found++
						}
					})
				}
				if found > 0 {
					return
				}
			}
			t.Errorf("nothing is found when %s does not declare it", document)
		})
	}
}

// actors are those that the tokens stand for. They are given to requests as they are: checking a token is no part of an
// answer.
func (w *world) actors() map[string]auth.Actor {
	actors := map[string]auth.Actor{"": {}}
	for who, token := range w.tokens {
		a, err := w.options.actor(w.t.Context(), token)
		if err != nil {
			w.t.Fatal(err)
		}
		actors[who] = a
	}
	return actors
}

// answerFor asks as an actor.
func (w *world) answerFor(ctx context.Context, actor auth.Actor, document string, variables map[string]any) (int, string) {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		w.t.Error(err)
		return 0, ""
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if actor.SignedIn() {
		ctx = auth.With(ctx, actor)
	}
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, r.WithContext(ctx))
	return out.Code, out.Body.String()
}

func (w *world) watchOne(t testing.TB, actors map[string]auth.Actor, who, document string, variables map[string]any) *watched {
	ctx, recorder := postgres.Record(t.Context())
	status, body := w.answerFor(ctx, actors[who], document, variables)
	if status != http.StatusOK || strings.Contains(body, `"errors"`) {
		return nil // is not kept
	}
	q := &watched{who: who, document: document, variables: variables, body: body, statements: recorder.Statements(),
		tags: map[postgres.Tag]bool{}, relations: recorder.Relations(), uncacheable: recorder.Uncacheable()}
	for _, tags := range recorder.Tags(readsTagsPerSet) {
		for _, tag := range tags {
			q.tags[tag] = true
		}
	}
	return q
}

// watch asks every nested path of the contract and many random queries, and returns those with which every statement is
// asked some times by everybody who may, and why others can not be kept.
func (w *world) watch(t testing.TB, r *rand.Rand, actors map[string]auth.Actor) (kept []*watched, volatile map[string]bool) {
	type question struct {
		who, document string
		variables     map[string]any
	}
	var questions []question
	nested := paths(t, w)
	r.Shuffle(len(nested), func(i, j int) { nested[i], nested[j] = nested[j], nested[i] })
	for i, p := range nested {
		questions = append(questions, question{[]string{"admin", "ada", "manager", ""}[i%4], p.document, nil})
	}
	made := newGenerator(contract(t), w, nil)
	for range readsQueries {
		document, variables := made.with(r).operation()
		questions = append(questions, question{everyone[r.IntN(len(everyone))], document, variables})
	}
	all := make([]*watched, len(questions))
	inParallel(len(questions), func(i int) {
		q := questions[i]
		all[i] = w.watchOne(t, actors, q.who, q.document, q.variables)
	})
	seen, volatile := map[string]int{}, map[string]bool{}
	for _, q := range all {
		switch {
		case q == nil:
			continue
		case q.uncacheable != "":
			volatile[q.uncacheable] = true
			continue
		}
		wanted := false
		who := q.who
		if actors[who].Staff() {
			who = "staff"
		} else if actors[who].Has(auth.RoleCustomer) {
			who = "a customer"
		}
		for _, s := range slices.Compact(slices.Sorted(slices.Values(q.statements))) {
			wanted = wanted || seen[s+who] < readsPerReason
			seen[s+who]++
		}
		if wanted {
			kept = append(kept, q)
		}
	}
	return kept, volatile
}

func inParallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	for client := range 6 { // some of which wait for Postgres
		wg.Go(func() {
			for i := client; i < n; i += 6 {
				do(i)
			}
		})
	}
	wg.Wait()
}

func (q *watched) isVoid(stamped map[postgres.Tag]bool) bool {
	for tag := range stamped {
		if q.tags[tag] {
			return true
		}
	}
	return false
}

type changedAnswer struct {
	q   *watched
	now string
}

// changed asks again and returns the answers that are not what they were.
func (w *world) changed(queries []*watched, actors map[string]auth.Actor) (found []changedAnswer) {
	now := make([]string, len(queries))
	inParallel(len(queries), func(i int) {
		_, now[i] = w.answerFor(w.t.Context(), actors[queries[i].who], queries[i].document, queries[i].variables)
	})
	for i, q := range queries {
		if now[i] != q.body {
			found = append(found, changedAnswer{q, now[i]})
		}
	}
	return found
}

// stamps are what a follower of the database makes of a change.
func (c rowChange) stamps() map[postgres.Tag]bool {
	stamps := map[postgres.Tag]bool{postgres.WholeTag(c.table.relation): true}
	for name, column := range postgres.Columns(c.table.relation) {
		for _, row := range []map[string]any{c.old, c.new} {
			text, ok := row[name].(string)
			if !ok { // NULL, or no row
				continue
			}
			value := []byte(text)
			if slices.ContainsFunc(c.table.columns, func(x changingColumn) bool { return x.name == name && x.kind == "uuid" }) {
				key := uuid.MustParse(text)
				value = key[:]
			}
			stamps[column.Tag(value)] = true
		}
	}
	return stamps
}

// tables returns all tables of the domains but those of the queue of jobs, which nobody follows.
func (w *world) tables(t testing.TB) []*changingTable {
	var tables []*changingTable
	for schema, db := range map[string]*postgres.DB{"users": w.dbs.Users, "products": w.dbs.Products, "orders": w.dbs.Orders, "payments": w.dbs.Payments} {
		type row struct {
			Table, Column, Kind string
			Nullable, Key       bool
			Checks              string
		}
		rows, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.columns", SQL: `
			SELECT c.relname, a.attname, format_type(a.atttypid, NULL), NOT a.attnotnull, coalesce(a.attnum = ANY(k.conkey), false),
				coalesce((SELECT string_agg(pg_get_constraintdef(x.oid), ' ') FROM pg_constraint x
					WHERE x.conrelid = c.oid AND x.contype = 'c' AND x.conkey = ARRAY[a.attnum]), '')
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
				LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
			WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' AND c.relname NOT LIKE 'river%' AND c.relname NOT LIKE 'goose%'
			ORDER BY c.relname, a.attnum`}, pgx.RowToStructByPos[row], schema)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range rows {
			relation := schema + "." + x.Table
			if len(tables) == 0 || tables[len(tables)-1].relation != relation {
				tables = append(tables, &changingTable{db: db, relation: relation})
			}
			of := tables[len(tables)-1]
			column := changingColumn{name: x.Column, kind: x.Kind, nullable: x.Nullable}
			for _, literal := range regexp.MustCompile(`'([A-Z_]{2,})'`).FindAllStringSubmatch(x.Checks, -1) {
				column.literals = append(column.literals, literal[1])
			}
			of.columns = append(of.columns, column)
			if x.Key {
				of.key = append(of.key, x.Column)
			}
		}
	}
	for _, of := range tables {
		texts, err := postgres.Select(t.Context(), of.db, postgres.Stmt{Name: "test.rows",
			SQL: "SELECT to_jsonb(x)::text FROM " + of.relation + " x ORDER BY 1", Reads: postgres.All(of.relation)}, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			d, row := json.NewDecoder(strings.NewReader(text)), map[string]any{}
			d.UseNumber()
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			of.rows = append(of.rows, row)
		}
	}
	slices.SortFunc(tables, func(a, b *changingTable) int { return strings.Compare(a.relation, b.relation) })
	return tables
}

// changes returns what may happen to some rows: the one that has most to do with what is asked for by its ID, also where a
// query should depend on it and does not say so, and then with what queries declare; and others.
func (x *changingTable) changes(r *rand.Rand, rows int, queries []*watched, ids map[string]id.ID) (changes []rowChange) {
	places := r.Perm(len(x.rows))
	concerned := func(i int) (n int) {
		stamps := rowChange{x, "", x.rows[i], nil}.stamps()
		delete(stamps, postgres.WholeTag(x.relation))
		for _, q := range queries {
			if q.isVoid(stamps) {
				n++
			}
		}
		for _, asked := range ids {
			for _, value := range x.rows[i] {
				if value == asked.Key.String() {
					n += len(queries)
				}
			}
		}
		return n
	}
	few := slices.Clone(places)
	concern := make([]int, len(few))
	for i := range concern {
		concern[i] = concerned(i)
	}
	slices.SortStableFunc(few, func(a, b int) int { return concern[b] - concern[a] })
	if len(few) > 1 {
		few = append(few[:1], places[1+r.IntN(len(places)-1):]...)
	}
	for _, i := range few[:min(rows, len(few))] {
		changes = append(changes, x.changesOf(x.rows[i], r)...)
	}
	return changes
}

// changesOf returns what may happen to a row: it goes, another one comes, each column changes. Keys, by which rows belong
// to others, are given the values of other rows.
func (x *changingTable) changesOf(row map[string]any, r *rand.Rand) []rowChange {
	with := func(column string, value any) map[string]any {
		changed := maps.Clone(row)
		changed[column] = value
		return changed
	}
	other := func(column string) any { return x.rows[r.IntN(len(x.rows))][column] }
	changes := []rowChange{{x, "the end", row, nil}}
	for _, key := range x.key { // one that belongs where this one does, and one like it elsewhere
		values := x.values(changingColumn{name: key, kind: x.kind(key)}, row[key], other)
		for _, value := range values[max(0, len(values)-1):] {
			changes = append(changes, rowChange{x, "the coming", nil, with(key, value)})
		}
	}
	for _, c := range x.columns {
		values := x.values(c, row[c.name], other)
		if _, ok := postgres.Columns(x.relation)[c.name]; !ok {
			values = values[:min(1, len(values))] // whichever it is, the stamps are the same
		}
		for _, value := range values {
			changes = append(changes, rowChange{x, fmt.Sprintf("another %s (%v instead of %v)", c.name, value, row[c.name]), row, with(c.name, value)})
		}
	}
	return changes
}

func (x *changingTable) kind(column string) string {
	return x.columns[slices.IndexFunc(x.columns, func(c changingColumn) bool { return c.name == column })].kind
}

// values returns what a column may hold instead.
func (x *changingTable) values(c changingColumn, now any, other func(string) any) []any {
	values := []any{other(c.name)}
	switch c.kind {
	case "uuid":
		values = append(values, other(c.name), uuid.NewString())
	case "text":
		for _, literal := range c.literals {
			values = append(values, literal)
		}
		if text, ok := now.(string); ok && len(c.literals) == 0 {
			values = []any{text + "x", other(c.name)}
		}
	case "integer", "bigint":
		n, ok := now.(json.Number)
		i, err := n.Int64()
		if ok && err == nil {
			values = []any{i + 1, i - 1}
		}
	case "boolean":
		values = []any{now != true}
	case "timestamp with time zone":
		if text, ok := now.(string); ok {
			at, err := time.Parse(time.RFC3339Nano, text)
			if err == nil {
				values = []any{at.Add(time.Hour), at.Add(-time.Hour)}
			}
		} else {
			values = []any{"2040-01-01T00:00:00Z"}
		}
	case "jsonb":
		values = append(values, map[string]any{"changed": true}, []any{})
	case "text[]":
		values = append(values, []any{"linen", "changed"})
	}
	if c.nullable {
		values = append(values, nil)
	}
	var fresh []any
	for _, v := range values {
		same := func(o any) bool { return fmt.Sprint(o) == fmt.Sprint(v) }
		if !same(now) && !slices.ContainsFunc(fresh, same) {
			fresh = append(fresh, v)
		}
	}
	return fresh
}

// apply makes a change, calls what looks at its effects, and undoes it; false if a constraint does not allow it. Foreign keys
// are left aside, so that each row can change on its own; a superuser may do so.
func (w *world) apply(t testing.TB, c rowChange, look func()) bool {
	if !c.table.replace(t, c.old, c.new) {
		return false
	}
	look()
	if !c.table.replace(t, c.new, c.old) {
		t.Fatalf("%s of %s can not be undone", c.what, c.table.relation)
	}
	return true
}

func (x *changingTable) replace(t testing.TB, old, new map[string]any) bool {
	err := x.db.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test.replica", SQL: "SELECT set_config('session_replication_role', 'replica', true)"}); err != nil {
			return err
		}
		if old != nil {
			conditions := make([]string, len(x.key))
			for i, k := range x.key {
				conditions[i] = fmt.Sprintf("x.%s = o.%s", k, k)
			}
			n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test.remove", SQL: "DELETE FROM " + x.relation +
				" x USING jsonb_populate_record(NULL::" + x.relation + ", $1::jsonb) o WHERE " + strings.Join(conditions, " AND ")}, old)
			if err != nil || n != 1 {
				return errors.Join(fmt.Errorf("removed %d rows", n), err)
			}
		}
		if new == nil {
			return nil
		}
		names := make([]string, len(x.columns))
		for i, c := range x.columns {
			names[i] = c.name
		}
		columns := strings.Join(names, ", ")
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test.add", SQL: "INSERT INTO " + x.relation + " (" + columns + ") SELECT " + columns +
			" FROM jsonb_populate_record(NULL::" + x.relation + ", $1::jsonb)"}, new)
		return err
	})
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && (strings.HasPrefix(refusal.Code, "22") || strings.HasPrefix(refusal.Code, "23")) {
		return false // a value or a constraint
	}
	if err != nil {
		t.Fatalf("%s: %v", x.relation, err)
	}
	return true
}
