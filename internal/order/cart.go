package order

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/product"
	"emporium/internal/seal"
	"emporium/internal/user"
)

const (
	maxCartLines    = 100
	maxCartQuantity = 9999
	maxCartNote     = 2000
)

// CartStatus tells what can be done with a cart.
type CartStatus string

const (
	CartOpen      CartStatus = "OPEN"
	CartPlacing   CartStatus = "PLACING"   // an order is being placed from it: nothing of it changes
	CartOrdered   CartStatus = "ORDERED"   // final
	CartMerged    CartStatus = "MERGED"    // final
	CartAbandoned CartStatus = "ABANDONED" // final
)

// Cart is what somebody means to buy. It belongs to a user, or to a guest to be, who comes back to it by a token.
type Cart struct {
	Owner            uuid.UUID
	ID               uuid.UUID
	Status           CartStatus
	Guest            bool           // of somebody without an account
	Email            *string        // opened
	ShippingAddress  *PostalAddress // opened
	BillingAddress   *PostalAddress // opened
	Note             *string        // opened
	ShippingMethodID *uuid.UUID
	DiscountID       *uuid.UUID
	OrderID          *uuid.UUID // while PLACING, and once ORDERED
	MergedOwnerID    *uuid.UUID // with MergedCartID what a MERGED cart went into
	MergedCartID     *uuid.UUID
	CreatedAt        time.Time
	UpdatedAt        time.Time

	Lines []*CartLine // in the order in which they were added
	borne bool        // reached by its token
}

// Key returns the owner-first key.
func (c *Cart) Key() id.Key { return id.Key{Owner: c.Owner, ID: c.ID} }

// GlobalID returns the ID in the graph.
func (c *Cart) GlobalID() id.ID { return id.Owned(id.Cart, c.Key()) }

// OwnedBy reports whether the cart is the owner's.
func (c *Cart) OwnedBy(owner uuid.UUID) bool { return c.Owner == owner }

// Borne reports whether the cart was reached by its token.
func (c *Cart) Borne() bool { return c.borne }

// ItemCount is the sum of the quantities.
func (c *Cart) ItemCount() int {
	n := 0
	for _, l := range c.Lines {
		n += l.Quantity
	}
	return n
}

// bear makes the cart, with all that hangs on it, one that was reached by its token.
func (c *Cart) bear() {
	c.borne = true
	for _, a := range []*PostalAddress{c.ShippingAddress, c.BillingAddress} {
		if a != nil {
			a.borne = true
		}
	}
}

// line returns the line of a variant, or nil.
func (c *Cart) line(variant uuid.UUID) *CartLine {
	for _, l := range c.Lines {
		if l.VariantID == variant {
			return l
		}
	}
	return nil
}

// CartLine is a variant in a cart, with how many are wanted. A cart has one line for a variant.
type CartLine struct {
	Owner          uuid.UUID
	ID             uuid.UUID
	CartID         uuid.UUID
	VariantID      uuid.UUID
	Quantity       int
	UnitPriceMinor int64 // that the customer was last told, in the shop's currency

	Cart *Cart
}

// Key returns the owner-first key.
func (l *CartLine) Key() id.Key { return id.Key{Owner: l.Owner, ID: l.ID} }

// CartKey returns the key of the cart.
func (l *CartLine) CartKey() id.Key { return id.Key{Owner: l.Owner, ID: l.CartID} }

// GlobalID returns the ID in the graph.
func (l *CartLine) GlobalID() id.ID { return id.Owned(id.CartLine, l.Key()) }

// OwnedBy reports whether the line is the owner's.
func (l *CartLine) OwnedBy(owner uuid.UUID) bool { return l.Owner == owner }

// Borne reports whether the line was reached by the token of its cart.
func (l *CartLine) Borne() bool { return l.Cart != nil && l.Cart.borne }

// CartPayload is the outcome of changing a cart.
type CartPayload struct {
	Cart       *Cart
	Token      *string // of a cart of somebody who is not signed in, in the answer that has made it and never again
	UserErrors []fault.Problem
}

// CartLinesAddInput is what comes into a cart.
type CartLinesAddInput struct {
	Token *string
	Lines []CartLineInput
}

// CartLineInput is how many of a variant are added.
type CartLineInput struct {
	VariantID id.ID
	Quantity  int
}

// CartLinesUpdateInput is how many of lines are wanted.
type CartLinesUpdateInput struct {
	Token *string
	Lines []CartLineUpdateInput
}

// CartLineUpdateInput is how many of a line are wanted; 0: none any more.
type CartLineUpdateInput struct {
	LineID   id.ID
	Quantity int
}

// CartLinesRemoveInput are lines that go.
type CartLinesRemoveInput struct {
	Token   *string
	LineIDs []id.ID
}

// CartUpdateInput is what changes of a cart: what is absent stays, null clears. An address is given, or is an entry of
// the viewer's address book.
type CartUpdateInput struct {
	Token             *string
	Email             graphql.Omittable[*string]
	ShippingAddress   graphql.Omittable[*PostalAddressInput]
	ShippingAddressID *id.ID
	BillingAddress    graphql.Omittable[*PostalAddressInput]
	BillingAddressID  *id.ID
	ShippingMethodID  graphql.Omittable[*id.ID]
	Note              graphql.Omittable[*string]
}

// PostalAddressInput is an address as people write it.
type PostalAddressInput struct {
	Name       string
	Company    *string
	Line1      string
	Line2      *string
	City       string
	Region     *string
	PostalCode *string
	Country    string
	Phone      *string
}

// CartDiscountApplyInput is the code of a discount.
type CartDiscountApplyInput struct {
	Token *string
	Code  string
}

// CartDiscountRemoveInput is the cart that goes without a discount.
type CartDiscountRemoveInput struct{ Token *string }

// CartMergeInput is the token of the cart that goes into the viewer's.
type CartMergeInput struct{ Token string }

// Cart returns the cart of a token; without one the cart that the viewer is filling, or that is being ordered. Nil if
// there is none.
func (s *Service) Cart(ctx context.Context, token *string) (*Cart, error) {
	key, ok, err := s.findCart(ctx, token)
	if err != nil || !ok {
		return nil, err
	}
	found, err := s.readCarts(ctx, s.db, []id.Key{key}, func(uuid.UUID) bool { return true })
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if token != nil {
		found[0].bear()
	}
	return found[0], nil
}

// Carts returns the carts with these keys, in any order, in two statements.
func (s *Service) Carts(ctx context.Context, keys []id.Key) ([]*Cart, error) {
	return s.readCarts(ctx, s.db, keys, auth.Sees(ctx))
}

// CartLines returns the lines with these keys, in any order, each with its cart, in three statements.
func (s *Service) CartLines(ctx context.Context, keys []id.Key) ([]*CartLine, error) {
	lines, err := batch(ctx, s, cartLinesByKey, s.tables.cartLines, keys)
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	var carts []id.Key
	wanted := map[id.Key]bool{}
	for _, l := range lines {
		wanted[l.Key()] = true
		if !slices.Contains(carts, l.CartKey()) {
			carts = append(carts, l.CartKey())
		}
	}
	lines = lines[:0]
	found, err := s.Carts(ctx, carts)
	for _, c := range found {
		for _, l := range c.Lines {
			if wanted[l.Key()] {
				lines = append(lines, l)
			}
		}
	}
	return lines, err
}

// refuse returns the error of a problem that undoes a transaction.
func refuse(code fault.ProblemCode, message string, field ...string) error {
	return fault.Problems{fault.NewProblem(code, message, field...)}
}

// errNoCart returns the error about a cart that is not there, or not the viewer's.
func errNoCart(token *string) error {
	if token != nil {
		return notFound("there is no such cart", "input", "token")
	}
	return notFound("there is no such cart", "input")
}

// changeCart runs change in a transaction that holds the cart of the token, or the viewer's, which may be made for it,
// locked and open. It returns the cart as change has left it in the database. What change refuses leaves nothing behind.
func (s *Service) changeCart(
	ctx context.Context, token *string, create bool, change func(ctx context.Context, tx *postgres.Tx, c *Cart) error,
) (*CartPayload, error) {
	var payload *CartPayload
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		c, fresh, err := s.lockMeant(ctx, tx, token, create)
		if err != nil {
			return err
		}
		if c.Status != CartOpen {
			return errClosed(c)
		}
		if err := change(ctx, tx, c); err != nil {
			return err
		}
		if c, err = s.touch(ctx, tx, c.Key()); err != nil {
			return err
		}
		if token != nil || fresh != nil {
			c.bear()
		}
		payload = &CartPayload{Cart: c, Token: fresh}
		return nil
	})
	return outcome(payload, err)
}

// outcome makes what was refused a payload.
func outcome(payload *CartPayload, err error) (*CartPayload, error) {
	if problems, ok := err.(fault.Problems); ok {
		return &CartPayload{UserErrors: problems}, nil
	}
	if err != nil {
		return nil, err
	}
	return payload, nil
}

func errClosed(c *Cart) error {
	switch c.Status {
	case CartPlacing:
		return refuse(fault.ProblemCartClosed, "this cart is being ordered")
	case CartMerged:
		return refuse(fault.ProblemCartClosed, "this cart was merged into another one")
	default:
		return refuse(fault.ProblemCartClosed, "this cart was ordered")
	}
}

// AddCartLines puts variants into a cart. What is in it already becomes more; its price counts as seen. Without a cart
// one is made; somebody who is not signed in gets a token by which to come back to it.
func (s *Service) AddCartLines(ctx context.Context, in CartLinesAddInput) (*CartPayload, error) {
	if len(in.Lines) == 0 || len(in.Lines) > maxCartLines {
		return nil, fault.Input(fmt.Sprintf("give 1 to %d lines", maxCartLines), "input", "lines")
	}
	variants := make([]uuid.UUID, len(in.Lines))
	for i, l := range in.Lines {
		variants[i] = l.VariantID.Key
	}
	goods, err := s.goods(ctx, variants)
	if err != nil {
		return nil, err
	}
	var problems fault.Problems
	wanted := map[uuid.UUID]int{}
	var distinct []uuid.UUID
	for i, l := range in.Lines {
		at := []string{"lines", strconv.Itoa(i)}
		switch {
		case l.Quantity < 1 || l.Quantity > maxCartQuantity:
			problems = append(problems, badQuantity(1, append(at, "quantity")...))
		case l.VariantID.Kind != id.Variant || goods[l.VariantID.Key] == nil:
			problems = append(problems, fault.NewProblem(fault.ProblemUnavailable, "there is no such variant on sale", append(at, "variantId")...))
		default:
			if wanted[l.VariantID.Key] == 0 {
				distinct = append(distinct, l.VariantID.Key)
			}
			wanted[l.VariantID.Key] += l.Quantity
		}
	}
	if problems != nil {
		return &CartPayload{UserErrors: problems}, nil
	}
	return s.changeCart(ctx, in.Token, true, func(ctx context.Context, tx *postgres.Tx, c *Cart) error {
		count := len(c.Lines)
		added := make([]*CartLine, len(distinct))
		for i, variant := range distinct {
			had := c.line(variant)
			if had == nil {
				count++
			} else if had.Quantity+wanted[variant] > maxCartQuantity {
				return fault.Problems{badQuantity(1, "lines")}
			}
			if wanted[variant] > maxCartQuantity {
				return fault.Problems{badQuantity(1, "lines")}
			}
			added[i] = &CartLine{ID: id.New(), VariantID: variant, Quantity: wanted[variant], UnitPriceMinor: goods[variant].PriceMinor}
		}
		if count > maxCartLines {
			return refuse(fault.ProblemTooMany, fmt.Sprintf("a cart has at most %d lines", maxCartLines), "lines")
		}
		return s.addLines(ctx, tx, c, added)
	})
}

func badQuantity(least int, field ...string) fault.Problem {
	return fault.NewProblem(fault.ProblemInvalid, fmt.Sprintf("a quantity is between %d and %d", least, maxCartQuantity), field...)
}

// UpdateCartLines says how many of lines are wanted. Their prices count as seen.
func (s *Service) UpdateCartLines(ctx context.Context, in CartLinesUpdateInput) (*CartPayload, error) {
	if len(in.Lines) == 0 || len(in.Lines) > maxCartLines {
		return nil, fault.Input(fmt.Sprintf("give 1 to %d lines", maxCartLines), "input", "lines")
	}
	var problems fault.Problems
	for i, l := range in.Lines {
		if l.Quantity < 0 || l.Quantity > maxCartQuantity {
			problems = append(problems, badQuantity(0, "lines", strconv.Itoa(i), "quantity"))
		}
	}
	if problems != nil {
		return &CartPayload{UserErrors: problems}, nil
	}
	// Prices are asked of the catalogue before the cart is locked: what comes into it meanwhile was not meant.
	prices, err := s.pricesOfCart(ctx, in.Token)
	if err != nil {
		return nil, err
	}
	return s.changeCart(ctx, in.Token, false, func(ctx context.Context, tx *postgres.Tx, c *Cart) error {
		var problems fault.Problems
		quantities := map[uuid.UUID]int{}
		for i, given := range in.Lines {
			l := c.lineOf(given.LineID)
			if l == nil {
				problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "there is no such line in the cart", "lines", strconv.Itoa(i), "lineId"))
				continue
			}
			quantities[l.ID] = given.Quantity
		}
		if problems != nil {
			return problems
		}
		var changed []*CartLine
		var removed []uuid.UUID
		for _, l := range c.Lines {
			quantity, given := quantities[l.ID]
			switch {
			case !given:
			case quantity == 0:
				removed = append(removed, l.ID)
			default:
				l.Quantity = quantity
				if price, ok := prices[l.VariantID]; ok {
					l.UnitPriceMinor = price
				}
				changed = append(changed, l)
			}
		}
		if err := s.updateLines(ctx, tx, c, changed); err != nil {
			return err
		}
		return s.removeLines(ctx, tx, c, removed)
	})
}

// lineOf returns the line with an ID, or nil.
func (c *Cart) lineOf(line id.ID) *CartLine {
	for _, l := range c.Lines {
		if l.GlobalID() == line {
			return l
		}
	}
	return nil
}

// pricesOfCart returns what the goods of the meant cart cost now; of what is not on sale nothing.
func (s *Service) pricesOfCart(ctx context.Context, token *string) (map[uuid.UUID]int64, error) {
	c, err := s.Cart(ctx, token)
	if err != nil || c == nil {
		return nil, err
	}
	goods, err := s.goods(ctx, variantsOf(c))
	prices := make(map[uuid.UUID]int64, len(goods))
	for variant, g := range goods {
		prices[variant] = g.PriceMinor
	}
	return prices, err
}

func variantsOf(carts ...*Cart) []uuid.UUID {
	var variants []uuid.UUID
	for _, c := range carts {
		for _, l := range c.Lines {
			variants = append(variants, l.VariantID)
		}
	}
	return variants
}

// RemoveCartLines takes lines out of a cart. One that is not there any more is no mistake.
func (s *Service) RemoveCartLines(ctx context.Context, in CartLinesRemoveInput) (*CartPayload, error) {
	if len(in.LineIDs) == 0 || len(in.LineIDs) > maxCartLines {
		return nil, fault.Input(fmt.Sprintf("give 1 to %d lines", maxCartLines), "input", "lineIds")
	}
	return s.changeCart(ctx, in.Token, false, func(ctx context.Context, tx *postgres.Tx, c *Cart) error {
		var removed []uuid.UUID
		for _, line := range in.LineIDs {
			if l := c.lineOf(line); l != nil {
				removed = append(removed, l.ID)
			}
		}
		return s.removeLines(ctx, tx, c, removed)
	})
}

// UpdateCart changes what a cart says about its buyer.
func (s *Service) UpdateCart(ctx context.Context, in CartUpdateInput) (*CartPayload, error) {
	var problems fault.Problems
	email, note := in.Email.Value(), in.Note.Value()
	if email != nil {
		normalized, err := seal.NormalizeEmail(*email)
		if err != nil {
			problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "this is not a valid e-mail address", "email"))
		}
		email = &normalized
	}
	if note != nil {
		// A note may have several lines; no other control character.
		if _, ok := seal.NormalizeText(strings.ReplaceAll(*note, "\n", " "), maxCartNote); !ok {
			problems = append(problems, fault.NewProblem(fault.ProblemInvalid,
				fmt.Sprintf("a note has up to %d characters, none of them a control character", maxCartNote), "note"))
		}
		if trimmed := strings.TrimSpace(*note); trimmed == "" {
			note = nil
		} else {
			note = &trimmed
		}
	}
	address := func(field string, given graphql.Omittable[*PostalAddressInput], of *id.ID) (*PostalAddress, error) {
		switch {
		case of != nil && given.IsSet():
			problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "give an address or the ID of one, not both", field))
		case of != nil:
			return s.bookedAddress(ctx, *of, field+"Id")
		case given.Value() != nil:
			made, wrong := writtenAddress(field, given.Value())
			problems = append(problems, wrong...)
			return made, nil
		}
		return nil, nil
	}
	shipping, err := address("shippingAddress", in.ShippingAddress, in.ShippingAddressID)
	if err != nil {
		return nil, err
	}
	billing, err := address("billingAddress", in.BillingAddress, in.BillingAddressID)
	if err != nil {
		return nil, err
	}
	method := in.ShippingMethodID.Value()
	if method != nil {
		known, err := s.activeMethods(ctx)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(known, func(m *ShippingMethod) bool { return m.GlobalID() == *method }) {
			problems = append(problems, fault.NewProblem(fault.ProblemUnavailable, "there is no such shipping method", "shippingMethodId"))
		}
	}
	if problems != nil {
		return &CartPayload{UserErrors: problems}, nil
	}
	return s.changeCart(ctx, in.Token, false, func(ctx context.Context, tx *postgres.Tx, c *Cart) error {
		if in.Email.IsSet() {
			c.Email = email
		}
		if in.Note.IsSet() {
			c.Note = note
		}
		if in.ShippingAddress.IsSet() || in.ShippingAddressID != nil {
			c.ShippingAddress = shipping
		}
		if in.BillingAddress.IsSet() || in.BillingAddressID != nil {
			c.BillingAddress = billing
		}
		if in.ShippingMethodID.IsSet() {
			c.ShippingMethodID = nil
			if method != nil {
				c.ShippingMethodID = &method.Key
			}
		}
		return s.saveCart(ctx, tx, c)
	})
}

// writtenAddress checks an address, and says what is wrong with it in the field.
func writtenAddress(field string, in *PostalAddressInput) (*PostalAddress, fault.Problems) {
	made, wrong := user.NewAddress(user.AddressCreateInput{Name: in.Name, Company: in.Company, Line1: in.Line1, Line2: in.Line2,
		City: in.City, Region: in.Region, PostalCode: in.PostalCode, Country: in.Country, Phone: in.Phone})
	var problems fault.Problems
	for _, p := range wrong {
		problems = append(problems, fault.NewProblem(p.Code, p.Message, append([]string{field}, p.Field...)...))
	}
	return postalAddress(made), problems
}

// bookedAddress returns an entry of the viewer's own address book; those of others are not there, whoever asks.
func (s *Service) bookedAddress(ctx context.Context, address id.ID, field string) (*PostalAddress, error) {
	if address.Kind == id.Address && auth.From(ctx).Is(address.Owner) {
		found, err := s.users.Addresses(ctx, []id.Key{address.OwnedKey()})
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			return postalAddress(found[0]), nil
		}
	}
	return nil, notFound("there is no such address", "input", field)
}

func postalAddress(a *user.Address) *PostalAddress {
	return &PostalAddress{Name: a.Name, Company: a.Company, Line1: a.Line1, Line2: a.Line2, City: a.City, Region: a.Region,
		PostalCode: a.PostalCode, Country: a.Country, Phone: a.Phone}
}

// ApplyCartDiscount gives a cart the discount of a code, in place of another one. That its goods are not worth enough
// yet is no obstacle: it counts as soon as they are.
func (s *Service) ApplyCartDiscount(ctx context.Context, in CartDiscountApplyInput) (*CartPayload, error) {
	d, err := s.discountByCode(ctx, in.Code)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return &CartPayload{UserErrors: []fault.Problem{fault.NewProblem(fault.ProblemNotApplicable, "there is no such discount", "code")}}, nil
	}
	return s.changeCart(ctx, in.Token, false, func(ctx context.Context, tx *postgres.Tx, c *Cart) error {
		by := taken{d.ID, c.Owner}
		uses, err := s.uses(ctx, tx, []taken{by})
		if err != nil {
			return err
		}
		if why := d.refusal(s.now(), s.currency, uses[by]); why != "" {
			return refuse(fault.ProblemNotApplicable, why, "code")
		}
		c.DiscountID = &d.ID
		return s.saveCart(ctx, tx, c)
	})
}

// RemoveCartDiscount takes the discount from a cart.
func (s *Service) RemoveCartDiscount(ctx context.Context, in CartDiscountRemoveInput) (*CartPayload, error) {
	return s.changeCart(ctx, in.Token, false, func(ctx context.Context, tx *postgres.Tx, c *Cart) error {
		c.DiscountID = nil
		return s.saveCart(ctx, tx, c)
	})
}

// MergeCart moves what is in the cart of a token into the viewer's, which is made if there is none, and closes the
// former. Of the same variant the quantities are added, up to the most that a line can have: a merge does what adding the
// same again would do, so that it makes no difference which of the two comes first. What the viewer's cart says about its
// buyer stays; what it does not say is taken over. Together they have no more lines than one cart may have, or nothing is
// done. The same token again changes nothing and answers the same, and so does that of a cart which is the viewer's already:
// whoever has ordered without signing in has both its token and, as a guest, an access token.
func (s *Service) MergeCart(ctx context.Context, in CartMergeInput) (*CartPayload, error) {
	viewer := auth.From(ctx)
	if !viewer.SignedIn() {
		return nil, fault.New(fault.Unauthenticated, "sign in first")
	}
	var payload *CartPayload
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		key, ok, err := s.cartOfToken(ctx, tx, in.Token)
		if err != nil {
			return err
		}
		if !ok {
			return errNoCart(&in.Token)
		}
		if key.Owner == viewer.ID { // a guest who has come back
			own, _, err := s.lockMeant(ctx, tx, nil, true)
			payload = &CartPayload{Cart: own}
			return err
		}
		into, err := s.openOwn(ctx, tx, viewer.ID)
		if err != nil {
			return err
		}
		from, to, err := s.lockBoth(ctx, tx, key, into)
		if err != nil {
			return err
		}
		switch {
		case from.Status == CartMerged && *from.MergedOwnerID != viewer.ID:
			return errNoCart(&in.Token)
		case from.Status == CartMerged:
			payload = &CartPayload{Cart: to}
			return nil
		case from.Status != CartOpen:
			return errClosed(from)
		case to.Status != CartOpen:
			return errClosed(to)
		}
		if err := s.merge(ctx, tx, from, to); err != nil {
			return err
		}
		if to, err = s.touch(ctx, tx, into); err != nil {
			return err
		}
		payload = &CartPayload{Cart: to}
		return nil
	})
	return outcome(payload, err)
}

// lockBoth locks two carts in the order of their IDs, as everybody does who has two.
func (s *Service) lockBoth(ctx context.Context, tx *postgres.Tx, a, b id.Key) (first, second *Cart, err error) {
	if bytes.Compare(a.ID[:], b.ID[:]) > 0 {
		second, first, err = s.lockBoth(ctx, tx, b, a)
		return first, second, err
	}
	if first, err = s.lockCart(ctx, tx, a); err != nil {
		return nil, nil, err
	}
	second, err = s.lockCart(ctx, tx, b)
	return first, second, err
}

// merge moves what is in one open cart into another one. Both are locked.
func (s *Service) merge(ctx context.Context, tx *postgres.Tx, from, to *Cart) error {
	var added, changed []*CartLine
	for _, l := range from.Lines {
		if had := to.line(l.VariantID); had != nil {
			had.Quantity = min(had.Quantity+l.Quantity, maxCartQuantity)
			changed = append(changed, had)
			continue
		}
		added = append(added, &CartLine{ID: id.New(), VariantID: l.VariantID, Quantity: l.Quantity, UnitPriceMinor: l.UnitPriceMinor})
	}
	if len(to.Lines)+len(added) > maxCartLines {
		return refuse(fault.ProblemTooMany, fmt.Sprintf("together the carts have more than %d lines", maxCartLines))
	}
	if err := s.addLines(ctx, tx, to, added); err != nil {
		return err
	}
	if err := s.updateLines(ctx, tx, to, changed); err != nil {
		return err
	}
	inherit(&to.Email, from.Email)
	inherit(&to.ShippingAddress, from.ShippingAddress)
	inherit(&to.BillingAddress, from.BillingAddress)
	inherit(&to.Note, from.Note)
	inherit(&to.ShippingMethodID, from.ShippingMethodID)
	inherit(&to.DiscountID, from.DiscountID)
	if err := s.saveCart(ctx, tx, to); err != nil {
		return err
	}
	return s.closeMerged(ctx, tx, from, to)
}

func inherit[T any](mine **T, theirs *T) {
	if *mine == nil {
		*mine = theirs
	}
}

// normalizeOptional returns a text as it is stored: nil if it is blank. False if it is not acceptable.
func normalizeOptional(text *string, most int) (*string, bool) {
	if text == nil {
		return nil, true
	}
	normalized, ok := seal.NormalizeText(*text, most)
	if normalized == "" {
		return nil, ok
	}
	return &normalized, ok
}

// goods returns those of the variants that are on sale for the shop's currency, whoever asks.
func (s *Service) goods(ctx context.Context, variants []uuid.UUID) (map[uuid.UUID]*product.Variant, error) {
	found, err := s.offered(ctx, variants)
	if err != nil {
		return nil, err
	}
	of := make(map[uuid.UUID]*product.Variant, len(found))
	for variant, g := range found {
		of[variant] = g.variant
	}
	return of, nil
}
