package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/page"
	"emporium/internal/postgres"
)

const (
	// maxStock is the most of a variant that may be on hand, and the most that an order may want of it: sums stay far
	// below what an int of Postgres holds.
	maxStock = 1_000_000_000
	maxLines = 250 // of an order's hold
	maxNote  = 1000
)

// StockReason is why stock has moved.
type StockReason string

const (
	StockOpening    StockReason = "OPENING"    // what was there when the ledger began
	StockImport     StockReason = "IMPORT"     // the catalogue was imported
	StockSale       StockReason = "SALE"       // of an order
	StockReturn     StockReason = "RETURN"     // of an order
	StockCount      StockReason = "COUNT"      // staff has counted
	StockReceived   StockReason = "RECEIVED"   // staff: it was delivered
	StockDamaged    StockReason = "DAMAGED"    // staff
	StockLost       StockReason = "LOST"       // staff
	StockCorrection StockReason = "CORRECTION" // staff: a mistake was mended
)

// adjustReasons are those that staff may give.
var adjustReasons = []StockReason{StockReceived, StockDamaged, StockLost, StockCorrection}

// Movement is an entry of the ledger of the stock; never changed. The movements of a variant add up to what is on hand.
type Movement struct {
	VariantID uuid.UUID
	ID        uuid.UUID
	Delta     int
	Reason    StockReason
	ActorID   *uuid.UUID // who has adjusted or counted; nil for orders and imports
	OrderID   *uuid.UUID // of a sale and of what has come back
	Note      *string
	CreatedAt time.Time
}

// Key returns the key, the variant in the place of an owner: the ledger is kept by variant.
func (m *Movement) Key() id.Key { return id.Key{Owner: m.VariantID, ID: m.ID} }

// GlobalID returns the ID in the graph.
func (m *Movement) GlobalID() id.ID { return id.Owned(id.StockMovement, m.Key()) }

// OwnedBy returns false: the ledger is the shop's, no customer's.
func (m *Movement) OwnedBy(uuid.UUID) bool { return false }

// MovementEdge is a movement in a list.
type MovementEdge = page.Edge[*Movement]

// MovementConnection is a page of movements.
type MovementConnection = page.Connection[*Movement]

const movementColumns = `m.variant_id, m.id, m.delta, m.reason, m.actor_id, m.order_id, m.note, m.created_at`

var (
	movementsByVariant = postgres.ColumnOf("products.stock_movements", "variant_id")

	movements       = postgres.TableOf[Movement](movementColumns, nil)
	movementsByKeys = postgres.ByKeys{Name: "products.movements_by_key", From: "FROM products.stock_movements m",
		Owner: "m.variant_id", Column: "m.id", Reads: postgres.ColumnOf("products.stock_movements", "id")}
)

// MovementsByKeys returns movements by key, for staff and machines.
func (s *Service) MovementsByKeys(ctx context.Context, keys []id.Key) ([]*Movement, error) {
	found := movements.In(ctx)
	return postgres.SelectByKeys(ctx, s.db, movementsByKeys, found.SQL, found.Scan, keys,
		func(uuid.UUID) bool { return seesAll(ctx) })
}

// Movements returns a page of the ledger of each variant, the newest first, in one statement for all; for staff and
// machines. Each variant asked for has a page, which is empty for others.
func (s *Service) Movements(ctx context.Context, variantIDs []uuid.UUID, args page.Args) (map[uuid.UUID]*MovementConnection, error) {
	// Hung on the stock, which is distributed alike: each shard takes the newest of its own variants.
	return pagesOf(ctx, s, history[Movement]{name: "movements", table: movements, relation: "products.stock_movements", reads: movementsByVariant,
		parents: "products.stock", parent: "variant_id", readsParents: stockByVariant, key: (*Movement).Key}, variantIDs, args)
}

// history is a table m of entries that are kept by variant and never changed.
type history[T any] struct {
	name            string // of the statement and the order of the list
	table           *postgres.Table[T]
	relation        string          // the table's
	reads           postgres.Column // its column of the variant
	parents, parent string          // a relation with a row for each variant, and its column of the variant
	readsParents    postgres.Column // the same
	key             func(*T) id.Key
}

// pagesOf returns a page of the history of each variant, the newest first, in one statement; empty ones for shoppers.
func pagesOf[T any](
	ctx context.Context, s *Service, h history[T], variantIDs []uuid.UUID, args page.Args,
) (map[uuid.UUID]*page.Connection[*T], error) {
	w, err := args.Window(h.name, 1)
	if err != nil {
		return nil, err
	}
	rows := map[uuid.UUID][]*T{}
	if len(variantIDs) > 0 && seesAll(ctx) {
		var b postgres.Builder
		if len(variantIDs) == 1 {
			b.And("m.variant_id = ?", variantIDs[0])
		} else {
			b.And("m.variant_id = s." + h.parent)
		}
		tail, err := b.Page(w, []postgres.Key{{Expr: "m.id", Cast: "uuid", Desc: true}})
		if err != nil {
			return nil, err
		}
		found := h.table.In(ctx)
		stmt := postgres.Stmt{Name: "products." + h.name + "_by_variant", Reads: h.reads.Of(variantIDs...),
			SQL: "SELECT " + found.SQL + " FROM " + h.relation + " m" + b.Where() + tail}
		if len(variantIDs) > 1 {
			direction := "DESC"
			if w.Backward {
				direction = "ASC"
			}
			stmt.Reads = append(stmt.Reads, h.readsParents.Of(variantIDs...)...)
			stmt.SQL = "SELECT m.* FROM " + h.parents + " s CROSS JOIN LATERAL (" + stmt.SQL + ") m WHERE s." + h.parent + " = ANY(" +
				b.Arg(variantIDs) + ") ORDER BY m.variant_id, m.id " + direction
		}
		all, err := postgres.Select(ctx, s.db, stmt, found.Scan, b.Args()...)
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			v := h.key(m).Owner
			rows[v] = append(rows[v], m)
		}
	}
	pages := make(map[uuid.UUID]*page.Connection[*T], len(variantIDs))
	for _, v := range variantIDs {
		built := page.Build(w, rows[v], func(m *T) string { return page.Cursor(h.name, h.key(m).ID.String()) })
		pages[v] = &built
	}
	return pages, nil
}

// move is a change of what is on hand.
type move struct {
	variant uuid.UUID
	delta   int
}

// cause is why stock moves.
type cause struct {
	reason StockReason
	actor  *uuid.UUID
	order  *uuid.UUID
	note   *string
}

// record writes moves into the ledger, in the transaction that makes them, after it: then the newest movement is the
// latest to have had the lock of the stock.
func record(ctx context.Context, tx *postgres.Tx, why cause, moves []move) error {
	if len(moves) == 0 {
		return nil
	}
	variants, ids, deltas := make([]uuid.UUID, len(moves)), make([]uuid.UUID, len(moves)), make([]int, len(moves))
	for i, m := range moves {
		variants[i], ids[i], deltas[i] = m.variant, id.New(), m.delta
	}
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "products.record_movements",
		SQL: `INSERT INTO products.stock_movements (variant_id, id, delta, reason, actor_id, order_id, note)
			SELECT t.variant_id, t.id, t.delta, $4, $5, $6, $7 FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS t(variant_id, id, delta)`,
	}, variants, ids, deltas, why.reason, why.actor, why.order, why.note)
	return err
}

// The verbs by which orders hold, buy and bring back stock follow. They are called by other services of the process and
// look at no viewer. Each may be called any number of times. All of them lock the order's row first and then the stock
// of its variants in the order of their IDs, one statement for each, so that no two wait for each other.

// HoldLine is how many an order wants of a variant. Several lines of a variant are added up.
type HoldLine struct {
	VariantID uuid.UUID `json:"variantId"`
	Quantity  int       `json:"quantity"`
}

// HoldState is what became of what an order has held.
type HoldState string

const (
	HoldHeld     HoldState = "HELD"
	HoldSold     HoldState = "SOLD"     // final
	HoldReleased HoldState = "RELEASED" // final
)

// What errors of the verbs are, for errors.Is; their code is Conflict, of ErrNoHold NotFound.
var (
	ErrNoHold       = errors.New("the order has held nothing")
	ErrHoldReleased = errors.New("what the order has held was released")
	ErrHoldSold     = errors.New("what the order has held was sold")
	ErrHoldOpen     = errors.New("what the order holds was not sold yet")
	ErrOtherLines   = errors.New("it was asked for with other lines before")
)

// errHold returns a fresh error of a kind.
func errHold(kind error) error {
	if errors.Is(kind, ErrNoHold) {
		return fault.Wrap(fault.NotFound, kind, "nothing is held for this order")
	}
	return fault.Wrap(fault.Conflict, kind, kind.Error())
}

// Shortage is a line that can not be had.
type Shortage struct {
	VariantID uuid.UUID
	Wanted    int
	Available int  // how many there are; of what has come back, how many still may
	Unknown   bool // there is no such variant, or it is not on sale
}

// ShortageError is what can not be had of an order's lines, by variant. Its code is Conflict.
type ShortageError struct{ Lines []Shortage }

// Error names the variants.
func (e *ShortageError) Error() string {
	var b strings.Builder
	for i, l := range e.Lines {
		if i > 0 {
			b.WriteString(", ")
		}
		if l.Unknown {
			fmt.Fprintf(&b, "%s is not on sale", l.VariantID)
		} else {
			fmt.Fprintf(&b, "%d of %s are wanted, there are %d", l.Wanted, l.VariantID, l.Available)
		}
	}
	return b.String()
}

func errShortage(message string, lines []Shortage) error {
	return fault.Wrap(fault.Conflict, &ShortageError{lines}, message)
}

// merged checks lines and returns one for each variant, ordered by its ID as Postgres orders it.
func merged(lines []HoldLine) ([]HoldLine, error) {
	of := map[uuid.UUID]int{}
	for _, l := range lines {
		if l.Quantity < 1 || l.Quantity > maxStock || of[l.VariantID]+l.Quantity > maxStock {
			return nil, fault.Newf(fault.BadUserInput, "a line has a quantity of %d, not 1 to %d", l.Quantity, maxStock)
		}
		of[l.VariantID] += l.Quantity
	}
	if len(of) == 0 || len(of) > maxLines {
		return nil, fault.Newf(fault.BadUserInput, "there are lines of %d variants, not of 1 to %d", len(of), maxLines)
	}
	all := make([]HoldLine, 0, len(of))
	for v, n := range of {
		all = append(all, HoldLine{v, n})
	}
	slices.SortFunc(all, func(a, b HoldLine) int { return bytes.Compare(a.VariantID[:], b.VariantID[:]) })
	return all, nil
}

func keysOf(lines []HoldLine) []uuid.UUID {
	keys := make([]uuid.UUID, len(lines))
	for i, l := range lines {
		keys[i] = l.VariantID
	}
	return keys
}

// Hold sets stock aside for an order until an instant: all of its lines or nothing. Who wants more than there is, or
// something that is not on sale, gets a *ShortageError that lists every such variant.
//
// The same order again with the same lines succeeds and changes nothing, neither the instant nor what was sold meanwhile. With
// other lines it fails with ErrOtherLines, and once it was released with ErrHoldReleased.
func (s *Service) Hold(ctx context.Context, orderID uuid.UUID, lines []HoldLine, until time.Time) error {
	lines, err := merged(lines)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		// The order's row: a second call waits here for the first.
		first, err := openHold(ctx, tx, orderID, HoldHeld, until)
		if err != nil {
			return err
		}
		if !first {
			state, held, err := holdOf(ctx, tx, orderID)
			switch {
			case err != nil:
				return err
			case state == HoldReleased:
				return errHold(ErrHoldReleased)
			case !slices.Equal(held, lines):
				return errHold(ErrOtherLines)
			}
			return nil
		}
		sellable, err := postgres.Select(ctx, tx, postgres.Stmt{
			Name: "products.sellable_variants",
			SQL: `SELECT v.id FROM products.variants v JOIN products.products p ON p.id = v.product_id
				WHERE v.id = ANY($1) AND p.status = 'ACTIVE'`,
			Reads: postgres.All("products.variants", "products.products"),
		}, pgx.RowTo[uuid.UUID], keysOf(lines))
		if err != nil {
			return err
		}
		if len(sellable) < len(lines) {
			return shortages(ctx, tx, lines, sellable, uuid.Nil)
		}
		variants, quantities := keysOf(lines), make([]int, len(lines))
		for i, l := range lines {
			quantities[i] = l.Quantity
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.insert_holds",
			SQL: `INSERT INTO products.holds (order_id, variant_id, quantity)
				SELECT $1, t.variant_id, t.quantity FROM unnest($2::uuid[], $3::int[]) AS t(variant_id, quantity)`,
		}, orderID, variants, quantities); err != nil {
			return err
		}
		// What many want comes last, so that its lock is held for no longer than it takes to commit.
		for i, l := range lines {
			n, err := postgres.Exec(ctx, tx, postgres.Stmt{
				Name: "products.hold",
				SQL:  "UPDATE products.stock SET held = held + $2, changed_in = pg_current_xact_id() WHERE variant_id = $1 AND on_hand - held >= $2",
			}, l.VariantID, l.Quantity)
			if err != nil {
				return err
			}
			if n == 0 {
				// Those before are ours by now, and not short.
				return shortages(ctx, tx, lines[i:], sellable, l.VariantID)
			}
		}
		return nil
	})
}

// shortages returns the error that lists which of the lines can not be had. That of the variant short, if it is one, was
// refused already, whatever there is by now.
func shortages(ctx context.Context, tx *postgres.Tx, lines []HoldLine, sellable []uuid.UUID, short uuid.UUID) error {
	type row struct {
		Variant uuid.UUID
		Free    int
	}
	rows, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name: "products.free_stock", SQL: "SELECT variant_id, on_hand - held FROM products.stock WHERE variant_id = ANY($1)",
		Reads: stockByVariant.Of(keysOf(lines)...),
	}, pgx.RowToStructByPos[row], keysOf(lines))
	if err != nil {
		return err
	}
	free := map[uuid.UUID]int{}
	for _, r := range rows {
		free[r.Variant] = r.Free
	}
	var found []Shortage
	for _, l := range lines {
		n, unknown := free[l.VariantID], !slices.Contains(sellable, l.VariantID)
		switch {
		case unknown:
			found = append(found, Shortage{VariantID: l.VariantID, Wanted: l.Quantity, Unknown: true})
		case l.VariantID == short:
			found = append(found, Shortage{VariantID: l.VariantID, Wanted: l.Quantity, Available: min(n, l.Quantity-1)})
		case n < l.Quantity:
			found = append(found, Shortage{VariantID: l.VariantID, Wanted: l.Quantity, Available: n})
		}
	}
	return errShortage("not everything can be had in the quantity that is wanted", found)
}

// openHold makes the row of an order, or reports that there is one.
func openHold(ctx context.Context, tx *postgres.Tx, orderID uuid.UUID, state HoldState, until time.Time) (first bool, err error) {
	n, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "products.open_hold",
		SQL:  "INSERT INTO products.hold_orders (order_id, state, expires_at) VALUES ($1, $2, $3) ON CONFLICT (order_id) DO NOTHING",
	}, orderID, state, until)
	return n == 1, err
}

// holdOf returns the state of an order's hold and its lines, ordered by variant; "" if there is none.
func holdOf(ctx context.Context, tx *postgres.Tx, orderID uuid.UUID) (state HoldState, lines []HoldLine, err error) {
	type row struct {
		State    HoldState
		Variant  *uuid.UUID
		Quantity *int
	}
	rows, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name: "products.hold_of_order",
		SQL: `SELECT o.state, h.variant_id, h.quantity FROM products.hold_orders o LEFT JOIN products.holds h ON h.order_id = o.order_id
			WHERE o.order_id = $1 ORDER BY h.variant_id`,
		Reads: postgres.All("products.hold_orders", "products.holds"),
	}, pgx.RowToStructByPos[row], orderID)
	for _, r := range rows {
		state = r.State
		if r.Variant != nil {
			lines = append(lines, HoldLine{*r.Variant, *r.Quantity})
		}
	}
	return state, lines, err
}

// settleHold brings an order's hold from HELD to another state, and returns the state that it was in, "" for none, with
// its lines. It waits for whoever else is at it.
func settleHold(ctx context.Context, tx *postgres.Tx, orderID uuid.UUID, to HoldState) (was HoldState, lines []HoldLine, err error) {
	for {
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.settle_hold",
			SQL:  "UPDATE products.hold_orders SET state = $2, updated_at = now() WHERE order_id = $1 AND state = 'HELD'",
		}, orderID, to)
		if err != nil {
			return "", nil, err
		}
		state, lines, err := holdOf(ctx, tx, orderID)
		if n == 1 {
			return HoldHeld, lines, err
		}
		if err != nil || state != HoldHeld { // one that has come between the two statements is settled
			return state, lines, err
		}
	}
}

// takeBack takes lines out of what is held, and out of what is on hand if they are sold.
func takeBack(ctx context.Context, tx *postgres.Tx, orderID uuid.UUID, lines []HoldLine, stmt postgres.Stmt) error {
	for _, l := range lines {
		n, err := postgres.Exec(ctx, tx, stmt, l.VariantID, l.Quantity)
		if err == nil && n == 0 {
			err = fmt.Errorf("%s: variant %s, which order %s holds, has no stock", stmt.Name, l.VariantID, orderID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sell makes what an order holds a sale. What was sold already stays so. It fails with ErrHoldReleased for what was
// released, and with ErrNoHold for an order that has held nothing. A hold that has expired but was not released yet is sold.
func (s *Service) Sell(ctx context.Context, orderID uuid.UUID) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		state, lines, err := settleHold(ctx, tx, orderID, HoldSold)
		switch {
		case err != nil:
			return err
		case state == HoldSold:
			return nil
		case state == HoldReleased:
			return errHold(ErrHoldReleased)
		case state == "":
			return errHold(ErrNoHold)
		}
		if err := takeBack(ctx, tx, orderID, lines, postgres.Stmt{
			Name: "products.sell",
			SQL:  "UPDATE products.stock SET on_hand = on_hand - $2, held = held - $2, changed_in = pg_current_xact_id() WHERE variant_id = $1",
		}); err != nil {
			return err
		}
		moves := make([]move, len(lines))
		for i, l := range lines {
			moves[i] = move{l.VariantID, -l.Quantity}
		}
		return record(ctx, tx, cause{reason: StockSale, order: &orderID}, moves)
	})
}

// Release gives back what an order holds. What was released already stays so. An order that has held nothing is marked,
// so that a Hold which is late holds nothing for an order that was given up. It fails with ErrHoldSold for what was sold.
func (s *Service) Release(ctx context.Context, orderID uuid.UUID) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		first, err := openHold(ctx, tx, orderID, HoldReleased, time.Now())
		if err != nil || first {
			return err
		}
		return release(ctx, tx, orderID)
	})
}

func release(ctx context.Context, tx *postgres.Tx, orderID uuid.UUID) error {
	state, lines, err := settleHold(ctx, tx, orderID, HoldReleased)
	switch {
	case err != nil:
		return err
	case state == HoldSold:
		return errHold(ErrHoldSold)
	case state == HoldReleased:
		return nil
	}
	return takeBack(ctx, tx, orderID, lines, postgres.Stmt{
		Name: "products.release",
		SQL:  "UPDATE products.stock SET held = held - $2, changed_in = pg_current_xact_id() WHERE variant_id = $1",
	})
}

// ReleaseExpired releases up to limit holds that have expired by now, the oldest first, each in a transaction of its
// own, and returns how many. It passes over those at which somebody else is, so that any number of processes may call it at
// once. One that fails does not keep the others from being released.
func (s *Service) ReleaseExpired(ctx context.Context, now time.Time, limit int) (released int, err error) {
	expired, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "products.expired_holds",
		SQL: `SELECT order_id FROM products.hold_orders WHERE state = 'HELD' AND expires_at <= $1
			ORDER BY expires_at, order_id LIMIT $2`,
		Reads: postgres.All("products.hold_orders"), Volatile: true,
	}, pgx.RowTo[uuid.UUID], now, limit)
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, orderID := range expired {
		var done bool
		err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
			// Locked one by one: Citus skips locked rows on one shard only.
			_, done, err = postgres.First(ctx, tx, postgres.Stmt{
				Name: "products.lock_expired_hold", Volatile: true,
				SQL: `SELECT order_id FROM products.hold_orders WHERE order_id = $1 AND state = 'HELD' AND expires_at <= $2
					FOR UPDATE SKIP LOCKED`,
				Reads: holdsByOrder.Of(orderID),
			}, pgx.RowTo[uuid.UUID], orderID, now)
			if err != nil || !done {
				return err
			}
			return release(ctx, tx, orderID)
		})
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("release the hold of order %s: %w", orderID, err))
		case done:
			released++
		}
		if ctx.Err() != nil {
			break
		}
	}
	return released, errors.Join(failed...)
}

// Restock puts back what was sold to an order: because it was cancelled, or the goods have come back. The key names the
// occasion, within the order: the same again changes nothing, with other lines it fails with ErrOtherLines. More than
// was sold, less what was put back before, is a *ShortageError. An order whose hold was not sold is a Conflict.
func (s *Service) Restock(ctx context.Context, orderID uuid.UUID, key string, lines []HoldLine) error {
	lines, err := merged(lines)
	if err != nil {
		return err
	}
	if key == "" || utf8.RuneCountInString(key) > maxName {
		return fault.Newf(fault.BadUserInput, "the key of a restock has 1 to %d characters", maxName)
	}
	text, err := json.Marshal(lines)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		state, found, err := postgres.First(ctx, tx, postgres.Stmt{
			Name: "products.lock_hold", SQL: "SELECT state FROM products.hold_orders WHERE order_id = $1 FOR UPDATE",
			Reads: holdsByOrder.Of(orderID),
		}, pgx.RowTo[HoldState], orderID)
		switch {
		case err != nil:
			return err
		case !found:
			return errHold(ErrNoHold)
		case state == HoldReleased:
			return errHold(ErrHoldReleased)
		case state == HoldHeld:
			return errHold(ErrHoldOpen)
		}
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.insert_restock",
			SQL:  "INSERT INTO products.restocks (order_id, key, lines) VALUES ($1, $2, $3) ON CONFLICT (order_id, key) DO NOTHING",
		}, orderID, key, string(text))
		if err != nil {
			return err
		}
		if n == 0 {
			same, _, err := postgres.First(ctx, tx, postgres.Stmt{
				Name:  "products.restock",
				SQL:   "SELECT lines = $3::jsonb FROM products.restocks WHERE order_id = $1 AND key = $2",
				Reads: postgres.All("products.restocks"),
			}, pgx.RowTo[bool], orderID, key, string(text))
			if err == nil && !same {
				err = errHold(ErrOtherLines)
			}
			return err
		}
		if err := comeBack(ctx, tx, orderID, lines); err != nil {
			return err
		}
		moves := make([]move, len(lines))
		for i, l := range lines {
			// A variant that the catalogue no longer has gets its stock back: the goods are there.
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
				Name: "products.restock_variant",
				SQL: `INSERT INTO products.stock AS s (variant_id, on_hand) VALUES ($1, $2)
					ON CONFLICT (variant_id) DO UPDATE SET on_hand = s.on_hand + EXCLUDED.on_hand, changed_in = pg_current_xact_id()`,
			}, l.VariantID, l.Quantity); err != nil {
				return err
			}
			moves[i] = move{l.VariantID, l.Quantity}
		}
		return record(ctx, tx, cause{reason: StockReturn, order: &orderID}, moves)
	})
}

// comeBack counts lines as come back, or returns the error that lists those of which not so many were sold.
func comeBack(ctx context.Context, tx *postgres.Tx, orderID uuid.UUID, lines []HoldLine) error {
	sold, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name:  "products.restockable",
		SQL:   "SELECT variant_id, quantity - restocked FROM products.holds WHERE order_id = $1",
		Reads: postgres.All("products.holds"),
	}, pgx.RowToStructByPos[HoldLine], orderID)
	if err != nil {
		return err
	}
	left := map[uuid.UUID]int{}
	for _, l := range sold {
		left[l.VariantID] = l.Quantity
	}
	var short []Shortage
	quantities := make([]int, len(lines))
	for i, l := range lines {
		if quantities[i] = l.Quantity; left[l.VariantID] < l.Quantity {
			short = append(short, Shortage{VariantID: l.VariantID, Wanted: l.Quantity, Available: left[l.VariantID]})
		}
	}
	if short != nil {
		return errShortage("more would come back than was sold", short)
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "products.come_back",
		SQL: `UPDATE products.holds h SET restocked = h.restocked + t.quantity
			FROM unnest($2::uuid[], $3::int[]) AS t(variant_id, quantity) WHERE h.order_id = $1 AND h.variant_id = t.variant_id`,
	}, orderID, keysOf(lines), quantities)
	return err
}

// The verbs of staff follow.

// StockAdjustInput is by how much the stock of a variant changes.
type StockAdjustInput struct {
	VariantID id.ID
	Delta     int
	Reason    StockReason
	Note      *string
}

// StockSetInput is how much of a variant is on hand, and how much the viewer believes there to be by now.
type StockSetInput struct {
	VariantID       id.ID
	Quantity        int
	CompareQuantity int
	Note            *string
}

// StockAdjustPayload is the outcome of adjusting stock.
type StockAdjustPayload struct {
	VariantID  *uuid.UUID
	UserErrors []fault.Problem
}

// StockSetPayload is the outcome of setting stock.
type StockSetPayload StockAdjustPayload

// keys are the idempotency keys of the catalogue.
const keys idempotency.Keys = "products"

// AdjustStock changes what is on hand of a variant by an amount, for managers, admins and machines, such as a warehouse's
// system. It never goes below what orders hold.
func (s *Service) AdjustStock(ctx context.Context, in StockAdjustInput, key string) (*StockAdjustPayload, error) {
	return s.moveStock(ctx, idempotency.Request{Key: key, Verb: "stockAdjust", Input: in}, in.VariantID, audit.StockAdjusted, in.Reason, in.Note,
		func(x Stock) (int, *fault.Problem) {
			switch {
			case !slices.Contains(adjustReasons, in.Reason):
				return 0, problem(fault.ProblemInvalid, "reason", "this is no reason to adjust stock by hand")
			case in.Delta == 0 || in.Delta < -maxStock || in.Delta > maxStock-x.OnHand:
				return 0, problem(fault.ProblemInvalid, "delta", "stock changes by something, and to 1,000,000,000 at most")
			case in.Delta < -x.Available():
				return 0, problem(fault.ProblemOutOfStock, "delta", "%d are on hand, of which %d are held for orders: %d can be taken",
					x.OnHand, x.Held, x.Available())
			}
			return in.Delta, nil
		})
}

// SetStock says how much of a variant is on hand, for the same as AdjustStock, if there is as much by now as they
// believe. It never goes below what orders hold.
func (s *Service) SetStock(ctx context.Context, in StockSetInput, key string) (*StockSetPayload, error) {
	payload, err := s.moveStock(ctx, idempotency.Request{Key: key, Verb: "stockSet", Input: in}, in.VariantID, audit.StockSet, StockCount, in.Note,
		func(x Stock) (int, *fault.Problem) {
			switch {
			case in.Quantity < 0 || in.Quantity > maxStock:
				return 0, problem(fault.ProblemInvalid, "quantity", "a stock is between 0 and 1,000,000,000")
			case in.CompareQuantity != x.OnHand:
				return 0, problem(fault.ProblemStale, "compareQuantity", "%d are on hand by now", x.OnHand)
			case in.Quantity < x.Held:
				return 0, problem(fault.ProblemOutOfStock, "quantity", "%d are held for orders", x.Held)
			}
			return in.Quantity - x.OnHand, nil
		})
	return (*StockSetPayload)(payload), err
}

func problem(code fault.ProblemCode, field, format string, args ...any) *fault.Problem {
	p := fault.NewProblem(code, fmt.Sprintf(format, args...), field)
	return &p
}

// moveStock changes the stock of a variant by what delta makes of it, once for a key.
func (s *Service) moveStock(
	ctx context.Context, r idempotency.Request, variant id.ID, action audit.Action, reason StockReason, note *string, delta func(Stock) (int, *fault.Problem),
) (*StockAdjustPayload, error) {
	viewer := auth.From(ctx)
	switch {
	case !viewer.SignedIn():
		return nil, fault.New(fault.Unauthenticated, "sign in first")
	case !viewer.Has(auth.RoleManager, auth.RoleAdmin, auth.RoleService):
		return nil, fault.New(fault.Forbidden, "your roles do not allow you to change stock")
	}
	r.Actor = viewer.ID
	if note != nil {
		trimmed := strings.TrimSpace(*note)
		if note = &trimmed; trimmed == "" {
			note = nil
		}
	}
	payload, err := idempotency.Do(ctx, s.db, keys, r, func(ctx context.Context, tx *postgres.Tx) (StockAdjustPayload, error) {
		refuse := func(p *fault.Problem) (StockAdjustPayload, error) {
			return StockAdjustPayload{UserErrors: []fault.Problem{*p}}, nil
		}
		if note != nil && utf8.RuneCountInString(*note) > maxNote {
			return refuse(problem(fault.ProblemInvalid, "note", "a note has at most %d characters", maxNote))
		}
		x, found, err := lockStock(ctx, tx, variant)
		if err != nil {
			return StockAdjustPayload{}, err
		}
		if !found {
			return refuse(problem(fault.ProblemInvalid, "variantId", "there is no such variant"))
		}
		by, wrong := delta(x)
		if wrong != nil {
			// The variant comes along, for what is on hand by now.
			return StockAdjustPayload{VariantID: &x.VariantID, UserErrors: []fault.Problem{*wrong}}, nil
		}
		if by != 0 {
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
				Name: "products.move_stock",
				SQL:  "UPDATE products.stock SET on_hand = on_hand + $2, changed_in = pg_current_xact_id() WHERE variant_id = $1",
			}, x.VariantID, by); err != nil {
				return StockAdjustPayload{}, err
			}
			if err := record(ctx, tx, cause{reason: reason, actor: &viewer.ID, note: note}, []move{{x.VariantID, by}}); err != nil {
				return StockAdjustPayload{}, err
			}
			if err := s.jobs.Audit(ctx, tx, audit.Of(ctx, action, variant, audit.Details{
				"onHand": audit.FromTo(x.OnHand, x.OnHand+by), "reason": reason})...); err != nil {
				return StockAdjustPayload{}, err
			}
		}
		return StockAdjustPayload{VariantID: &x.VariantID, UserErrors: []fault.Problem{}}, nil
	})
	if err != nil {
		return nil, err
	}
	return &payload, nil
}

// lockStock returns the stock of a variant that the catalogue has, locked; one that was never counted gets a row.
func lockStock(ctx context.Context, tx *postgres.Tx, variant id.ID) (x Stock, found bool, err error) {
	if variant.Kind != id.Variant {
		return x, false, nil
	}
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name:  "products.open_stock",
		SQL:   "INSERT INTO products.stock (variant_id) SELECT id FROM products.variants WHERE id = $1 ON CONFLICT (variant_id) DO NOTHING",
		Reads: variantsByID.Of(variant.Key),
	}, variant.Key); err != nil {
		return x, false, err
	}
	return postgres.First(ctx, tx, postgres.Stmt{
		Name: "products.lock_stock",
		SQL: `SELECT s.variant_id, s.on_hand, s.held FROM products.stock s JOIN products.variants v ON v.id = s.variant_id
			WHERE s.variant_id = $1 FOR UPDATE OF s`,
		Reads: append(stockByVariant.Of(variant.Key), variantsByID.Of(variant.Key)...),
	}, pgx.RowToStructByPos[Stock], variant.Key)
}

// ForgetKeys deletes up to limit idempotency keys from before an instant, and returns how many: for a job.
func (s *Service) ForgetKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	return idempotency.DeleteBefore(ctx, s.db, keys, before, limit)
}

// restocking is what a bulk write makes of the stock: what is on hand of variants, and which of them are gone.
type restocking struct {
	counts map[uuid.UUID]int
	gone   []uuid.UUID
	why    cause
}

// write brings the stock to what was counted, though never below what orders hold, and that of variants that are gone to
// nothing, with movements for the differences. It comes last in its transaction and goes by the order of the IDs, like
// the verbs of orders, so that these wait for it shortly and never for each other.
func (r *restocking) write(ctx context.Context, tx *postgres.Tx) error {
	all := make([]uuid.UUID, 0, len(r.counts)+len(r.gone))
	for v := range r.counts {
		all = append(all, v)
	}
	gone := make(map[uuid.UUID]bool, len(r.gone))
	for _, v := range r.gone {
		gone[v] = true
	}
	all = append(all, r.gone...)
	slices.SortFunc(all, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for piece := range slices.Chunk(all, 5_000) {
		kept := slices.DeleteFunc(slices.Clone(piece), func(v uuid.UUID) bool { return gone[v] })
		if len(kept) > 0 {
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
				Name: "products.open_stocks",
				SQL:  "INSERT INTO products.stock (variant_id) SELECT v FROM unnest($1::uuid[]) AS v ON CONFLICT (variant_id) DO NOTHING",
			}, kept); err != nil {
				return err
			}
		}
		locked, err := postgres.Select(ctx, tx, postgres.Stmt{
			Name:  "products.lock_stocks",
			SQL:   "SELECT variant_id, on_hand, held FROM products.stock WHERE variant_id = ANY($1) ORDER BY variant_id FOR UPDATE",
			Reads: postgres.All("products.stock"),
		}, pgx.RowToStructByPos[Stock], piece)
		if err != nil {
			return err
		}
		var moves []move
		var moved []uuid.UUID
		var deltas []int
		for _, x := range locked {
			if by := max(r.counts[x.VariantID], x.Held) - x.OnHand; by != 0 {
				moves, moved, deltas = append(moves, move{x.VariantID, by}), append(moved, x.VariantID), append(deltas, by)
			}
		}
		if len(moves) > 0 {
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
				Name: "products.move_stocks",
				SQL: `UPDATE products.stock s SET on_hand = s.on_hand + t.delta, changed_in = pg_current_xact_id()
					FROM unnest($1::uuid[], $2::int[]) AS t(variant_id, delta) WHERE s.variant_id = t.variant_id`,
			}, moved, deltas); err != nil {
				return err
			}
			if err := record(ctx, tx, r.why, moves); err != nil {
				return err
			}
		}
		if len(kept) < len(piece) {
			// What is held of a variant that is gone stays until its orders are through.
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
				Name: "products.remove_stocks",
				SQL:  "DELETE FROM products.stock WHERE variant_id = ANY($1) AND on_hand = 0",
			}, slices.DeleteFunc(slices.Clone(piece), func(v uuid.UUID) bool { return !gone[v] })); err != nil {
				return err
			}
		}
	}
	return nil
}
