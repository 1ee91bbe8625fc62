package order

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const (
	cartColumns = `c.owner_id AS owner, c.id, c.status, c.guest, c.email, c.shipping_address, c.billing_address, c.note,
		c.shipping_method_id, c.discount_id, c.order_id, c.merged_owner_id, c.merged_cart_id, c.created_at, c.updated_at`
	fromCarts = `FROM orders.carts c`

	cartLineColumns = `l.owner_id AS owner, l.id, l.cart_id, l.variant_id, l.quantity, l.unit_price AS unit_price_minor`
	fromCartLines   = `FROM orders.cart_lines l`
)

var (
	cartsByID    = postgres.ColumnOf("orders.carts", "id")
	cartsByOwner = postgres.ColumnOf("orders.carts", "owner_id")

	cartsByKey = postgres.ByKeys{Name: "orders.carts_by_key", From: fromCarts,
		Owner: "c.owner_id", Column: "c.id", Reads: cartsByID}
	cartLinesByKey = postgres.ByKeys{Name: "orders.cart_lines_by_key", From: fromCartLines,
		Owner: "l.owner_id", Column: "l.id", Reads: postgres.ColumnOf("orders.cart_lines", "id")}
	cartLinesByCart = postgres.ByKeys{Name: "orders.cart_lines_by_cart", From: fromCartLines,
		Owner: "l.owner_id", Column: "l.cart_id", Tail: " ORDER BY l.id", Reads: postgres.ColumnOf("orders.cart_lines", "cart_id")}
)

func (s *Service) cartTable() *postgres.Table[Cart] {
	return postgres.TableOf(cartColumns, map[string]postgres.Unseal[Cart]{
		"Email": func(_ context.Context, c *Cart, sealed []byte) (err error) {
			c.Email, err = s.sealer.OpenNullable(cartField("email", c.Key()), sealed)
			return err
		},
		"ShippingAddress": func(_ context.Context, c *Cart, sealed []byte) (err error) {
			c.ShippingAddress, err = s.openAddress(cartField("shipping_address", c.Key()), c.Owner, sealed)
			return err
		},
		"BillingAddress": func(_ context.Context, c *Cart, sealed []byte) (err error) {
			c.BillingAddress, err = s.openAddress(cartField("billing_address", c.Key()), c.Owner, sealed)
			return err
		},
		"Note": func(_ context.Context, c *Cart, sealed []byte) (err error) {
			c.Note, err = s.sealer.OpenNullable(cartField("note", c.Key()), sealed)
			return err
		},
	})
}

// whole makes reads fill all of their rows: a cart is priced by most of what it is made of, whatever is shown.
func whole(ctx context.Context) context.Context { return postgres.WithWanted(ctx, nil) }

// readCarts returns carts with their lines, in two statements.
func (s *Service) readCarts(ctx context.Context, q postgres.Querier, keys []id.Key, visible func(uuid.UUID) bool) ([]*Cart, error) {
	carts := s.tables.carts.In(whole(ctx))
	found, err := postgres.SelectByKeys(ctx, q, cartsByKey, carts.SQL, carts.Scan, keys, visible)
	if err != nil {
		return nil, err
	}
	return found, s.readLines(ctx, q, found...)
}

// readLines fills the lines of carts.
func (s *Service) readLines(ctx context.Context, q postgres.Querier, carts ...*Cart) error {
	keys, of := make([]id.Key, len(carts)), make(map[id.Key]*Cart, len(carts))
	for i, c := range carts {
		keys[i], of[c.Key()] = c.Key(), c
		c.Lines = []*CartLine{}
	}
	lines := s.tables.cartLines.In(whole(ctx))
	found, err := postgres.SelectByKeys(ctx, q, cartLinesByCart, lines.SQL, lines.Scan, keys, func(uuid.UUID) bool { return true })
	for _, l := range found {
		l.Cart = of[l.CartKey()]
		l.Cart.Lines = append(l.Cart.Lines, l)
	}
	return err
}

// cartTokenLen is the length of a token in bytes.
const cartTokenLen = 32

// newCartToken returns a token and the hash that is stored of it.
func newCartToken() (string, []byte) {
	var raw [cartTokenLen]byte
	_, _ = rand.Read(raw[:]) // never fails
	hash := sha256.Sum256(raw[:])
	return base64.RawURLEncoding.EncodeToString(raw[:]), hash[:]
}

// cartOfToken returns the cart that a token leads to.
func (s *Service) cartOfToken(ctx context.Context, q postgres.Querier, token string) (key id.Key, ok bool, err error) {
	if len(token) != base64.RawURLEncoding.EncodedLen(cartTokenLen) {
		return key, false, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != cartTokenLen { // it skips line breaks
		return key, false, nil
	}
	hash := sha256.Sum256(raw)
	return postgres.First(ctx, q, postgres.Stmt{Name: "orders.cart_of_token",
		SQL:   "SELECT owner_id, cart_id FROM orders.cart_tokens WHERE token_hash = $1",
		Reads: postgres.All("orders.cart_tokens")}, pgx.RowToStructByPos[id.Key], hash[:])
}

const open = `status IN ('OPEN', 'PLACING')`

// ownCart returns the cart that an owner is filling, or that is being ordered.
func (s *Service) ownCart(ctx context.Context, q postgres.Querier, owner uuid.UUID) (id.Key, bool, error) {
	cart, ok, err := postgres.First(ctx, q, postgres.Stmt{Name: "orders.cart_of_owner",
		SQL:   "SELECT id FROM orders.carts WHERE owner_id = $1 AND " + open,
		Reads: cartsByOwner.Of(owner)}, pgx.RowTo[uuid.UUID], owner)
	return id.Key{Owner: owner, ID: cart}, ok, err
}

// findCart resolves which cart is meant: that of the token, in any status, or without one the viewer's own that is open
// or being ordered. Whoever has a token needs no other proof.
func (s *Service) findCart(ctx context.Context, token *string) (id.Key, bool, error) {
	if token != nil {
		return s.cartOfToken(ctx, s.db, *token)
	}
	if viewer := auth.From(ctx); viewer.SignedIn() {
		return s.ownCart(ctx, s.db, viewer.ID)
	}
	return id.Key{}, false, nil
}

// openOwn returns the cart that an owner is filling, or that is being ordered, or a new one.
func (s *Service) openOwn(ctx context.Context, tx *postgres.Tx, owner uuid.UUID) (id.Key, error) {
	for {
		key, ok, err := s.ownCart(ctx, tx, owner)
		if err != nil || ok {
			return key, err
		}
		key = id.Key{Owner: owner, ID: id.New()}
		n, err := s.insertCart(ctx, tx, key, false)
		if err != nil || n == 1 {
			return key, err
		}
	}
}

// insertCart makes a cart, unless its owner has come by another one meanwhile.
func (s *Service) insertCart(ctx context.Context, tx *postgres.Tx, key id.Key, guest bool) (int64, error) {
	return postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.insert_cart",
		SQL: `INSERT INTO orders.carts (owner_id, id, guest, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
			ON CONFLICT (owner_id) WHERE ` + open + ` DO NOTHING`}, key.Owner, key.ID, guest, s.now())
}

// lockMeant returns the cart that is meant, locked. One that is made for somebody who is not signed in comes with its
// token.
func (s *Service) lockMeant(ctx context.Context, tx *postgres.Tx, token *string, create bool) (c *Cart, fresh *string, err error) {
	viewer := auth.From(ctx)
	if token == nil && !viewer.SignedIn() && create {
		key := id.Key{Owner: id.New(), ID: id.New()}
		if _, err := s.insertCart(ctx, tx, key, true); err != nil {
			return nil, nil, err
		}
		made, hash := newCartToken()
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.insert_cart_token",
			SQL: "INSERT INTO orders.cart_tokens (token_hash, owner_id, cart_id) VALUES ($1, $2, $3)"}, hash, key.Owner, key.ID); err != nil {
			return nil, nil, err
		}
		c, err = s.lockCart(ctx, tx, key)
		return c, &made, err
	}
	for {
		var key id.Key
		var ok bool
		switch {
		case token != nil:
			key, ok, err = s.cartOfToken(ctx, tx, *token)
		case viewer.SignedIn() && create:
			key, err = s.openOwn(ctx, tx, viewer.ID)
			ok = true
		case viewer.SignedIn():
			key, ok, err = s.ownCart(ctx, tx, viewer.ID)
		}
		if err == nil && !ok {
			err = errNoCart(token)
		}
		if err != nil {
			return nil, nil, err
		}
		// The viewer's own may have been ordered before it was locked: then it is not the one that is meant any more.
		c, err = s.lockCart(ctx, tx, key)
		if err != nil || token != nil || c.Status == CartOpen || c.Status == CartPlacing {
			return c, nil, err
		}
	}
}

// lockCart reads a cart with its lines and holds it until the transaction ends. Whoever has two locks them in the order
// of their IDs, and discounts after them.
func (s *Service) lockCart(ctx context.Context, tx *postgres.Tx, key id.Key) (*Cart, error) {
	carts := s.tables.carts.In(whole(ctx))
	c, ok, err := postgres.First(ctx, tx, postgres.Stmt{Name: "orders.lock_cart",
		SQL:   "SELECT " + carts.SQL + " " + fromCarts + " WHERE c.owner_id = $1 AND c.id = $2 FOR UPDATE",
		Reads: cartsByID.Of(key.ID)}, carts.Scan, key.Owner, key.ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNoCart(nil)
	}
	return c, s.readLines(ctx, tx, c)
}

// cartForOrder returns a cart with its lines, and holds it until the transaction ends. The key comes from findCart, which
// knows that the viewer may use it; NotFound if there is no such cart.
func (s *Service) cartForOrder(ctx context.Context, tx *postgres.Tx, key id.Key) (*Cart, []*CartLine, error) {
	c, err := s.lockCart(ctx, tx, key)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Lines, nil
}

// touch notes that a cart, which is locked, was changed, and returns it as it is.
func (s *Service) touch(ctx context.Context, tx *postgres.Tx, key id.Key) (*Cart, error) {
	carts := s.tables.carts.In(whole(ctx))
	c, _, err := postgres.First(ctx, tx, postgres.Stmt{Name: "orders.touch_cart",
		SQL: "UPDATE orders.carts c SET updated_at = $3 WHERE c.owner_id = $1 AND c.id = $2 RETURNING " + carts.SQL},
		carts.Scan, key.Owner, key.ID, s.now())
	if err != nil {
		return nil, err
	}
	return c, s.readLines(ctx, tx, c)
}

// addLines adds lines to a cart that is locked. What it has already becomes more, at the new price.
func (s *Service) addLines(ctx context.Context, tx *postgres.Tx, c *Cart, lines []*CartLine) error {
	ids, variants, quantities, prices := columnsOf(lines)
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.add_cart_lines",
		SQL: `INSERT INTO orders.cart_lines AS l (owner_id, cart_id, id, variant_id, quantity, unit_price)
			SELECT $1, $2, v.* FROM unnest($3::uuid[], $4::uuid[], $5::int[], $6::bigint[]) v
			ON CONFLICT (owner_id, cart_id, variant_id) DO UPDATE
				SET quantity = l.quantity + EXCLUDED.quantity, unit_price = EXCLUDED.unit_price`},
		c.Owner, c.ID, ids, variants, quantities, prices)
	return err
}

// updateLines stores the quantities and prices of lines of a cart that is locked.
func (s *Service) updateLines(ctx context.Context, tx *postgres.Tx, c *Cart, lines []*CartLine) error {
	if len(lines) == 0 {
		return nil
	}
	ids, _, quantities, prices := columnsOf(lines)
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.update_cart_lines",
		SQL: `UPDATE orders.cart_lines l SET quantity = v.quantity, unit_price = v.unit_price
			FROM unnest($2::uuid[], $3::int[], $4::bigint[]) v (id, quantity, unit_price)
			WHERE l.owner_id = $1 AND l.id = v.id`}, c.Owner, ids, quantities, prices)
	return err
}

func columnsOf(lines []*CartLine) (ids, variants []uuid.UUID, quantities []int, prices []int64) {
	for _, l := range lines {
		ids, variants = append(ids, l.ID), append(variants, l.VariantID)
		quantities, prices = append(quantities, l.Quantity), append(prices, l.UnitPriceMinor)
	}
	return ids, variants, quantities, prices
}

// removeLines deletes lines of a cart that is locked.
func (s *Service) removeLines(ctx context.Context, tx *postgres.Tx, c *Cart, lines []uuid.UUID) error {
	if len(lines) == 0 {
		return nil
	}
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.delete_cart_lines",
		SQL: "DELETE FROM orders.cart_lines WHERE owner_id = $1 AND id = ANY($2)"}, c.Owner, lines)
	return err
}

// saveCart stores what a cart that is locked says about its buyer.
func (s *Service) saveCart(ctx context.Context, tx *postgres.Tx, c *Cart) error {
	shipping, err := seal.SealJSON(s.sealer, cartField("shipping_address", c.Key()), c.ShippingAddress)
	if err != nil {
		return err
	}
	billing, err := seal.SealJSON(s.sealer, cartField("billing_address", c.Key()), c.BillingAddress)
	if err != nil {
		return err
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.save_cart",
		SQL: `UPDATE orders.carts SET email = $3, shipping_address = $4, billing_address = $5, note = $6, shipping_method_id = $7,
			discount_id = $8 WHERE owner_id = $1 AND id = $2`},
		c.Owner, c.ID, s.sealer.SealNullable(cartField("email", c.Key()), c.Email), shipping, billing,
		s.sealer.SealNullable(cartField("note", c.Key()), c.Note), c.ShippingMethodID, c.DiscountID)
	return err
}

// forgetPersonal is what a cart that is closed keeps nothing of.
const forgetPersonal = `email = NULL, shipping_address = NULL, billing_address = NULL, note = NULL`

// closeMerged closes a cart whose lines have gone into another one.
func (s *Service) closeMerged(ctx context.Context, tx *postgres.Tx, from, into *Cart) error {
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.empty_cart",
		SQL: "DELETE FROM orders.cart_lines WHERE owner_id = $1 AND cart_id = $2"}, from.Owner, from.ID); err != nil {
		return err
	}
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.close_merged_cart",
		SQL: `UPDATE orders.carts SET status = 'MERGED', merged_owner_id = $3, merged_cart_id = $4, updated_at = $5, ` + forgetPersonal + `
			WHERE owner_id = $1 AND id = $2`}, from.Owner, from.ID, into.Owner, into.ID, s.now())
	return err
}

// setCartStatus brings a cart from one status to another, and reports whether it was in the former. PLACING and ORDERED
// take the order that it becomes; nil leaves the one that it has. What an ORDERED cart has said about its buyer is on the
// order, and stays there alone.
func (s *Service) setCartStatus(ctx context.Context, tx *postgres.Tx, key id.Key, from, to CartStatus, orderID *uuid.UUID) (bool, error) {
	forget := ""
	if to == CartOrdered {
		forget = ", " + forgetPersonal
	}
	n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.set_cart_status",
		SQL: `UPDATE orders.carts SET status = $4, updated_at = $6` + forget + `,
				order_id = CASE WHEN $4 IN ('PLACING', 'ORDERED') THEN coalesce($5, order_id) END
			WHERE owner_id = $1 AND id = $2 AND status = $3`}, key.Owner, key.ID, from, to, orderID, s.now())
	return n == 1, err
}

// AbandonCarts closes up to limit open carts that nobody has changed since an instant: their lines, what they say about
// their buyers and their tokens are deleted. It returns how many it has closed, for a job that calls it again until it is
// less than the limit. Carts that are being changed right now are left alone.
func (s *Service) AbandonCarts(ctx context.Context, olderThan time.Time, limit int) (int, error) {
	var n int
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		keys, err := postgres.Select(ctx, tx, postgres.Stmt{Name: "orders.lock_idle_carts",
			SQL: `SELECT owner_id, id FROM orders.carts WHERE status = 'OPEN' AND updated_at < $1
				ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED`,
			Reads: postgres.All("orders.carts"), Volatile: true}, pgx.RowToStructByPos[id.Key], olderThan, limit)
		if n = len(keys); err != nil || n == 0 {
			return err
		}
		return abandon(ctx, tx, keys)
	})
	return n, err
}

// abandon closes open carts that are locked.
func abandon(ctx context.Context, tx *postgres.Tx, keys []id.Key) error {
	owners, carts := make([]uuid.UUID, len(keys)), make([]uuid.UUID, len(keys))
	for i, k := range keys {
		owners[i], carts[i] = k.Owner, k.ID
	}
	const these = "IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))"
	for _, stmt := range []postgres.Stmt{
		{Name: "orders.delete_lines_of_idle_carts", SQL: "DELETE FROM orders.cart_lines WHERE (owner_id, cart_id) " + these},
		{Name: "orders.delete_tokens_of_idle_carts", SQL: "DELETE FROM orders.cart_tokens WHERE (owner_id, cart_id) " + these},
		{Name: "orders.close_idle_carts", SQL: "UPDATE orders.carts SET status = 'ABANDONED', " + forgetPersonal + " WHERE (owner_id, id) " + these},
	} {
		if _, err := postgres.Exec(ctx, tx, stmt, owners, carts); err != nil {
			return err
		}
	}
	return nil
}

// ForgetOwner closes the cart of somebody whose account was deleted, with all that it says about them. It is
// fault.InProgress while the cart is being ordered: when that comes to nothing it is open again. Orders stay as they were
// placed. It is for a job and looks at no viewer.
func (s *Service) ForgetOwner(ctx context.Context, owner uuid.UUID) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		key, found, err := s.ownCart(ctx, tx, owner)
		if err != nil || !found {
			return err
		}
		c, err := s.lockCart(ctx, tx, key)
		switch {
		case err != nil:
			return err
		case c.Status == CartPlacing:
			return fault.New(fault.InProgress, "the cart is being ordered")
		case c.Status == CartOpen:
			return abandon(ctx, tx, []id.Key{key})
		}
		return nil
	})
}
