package order

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
)

// DiscountKind is what a discount takes off.
type DiscountKind string

const (
	DiscountPercentage   DiscountKind = "PERCENTAGE"    // a part of what the goods are worth
	DiscountFixed        DiscountKind = "FIXED"         // an amount, of the goods alone
	DiscountFreeShipping DiscountKind = "FREE_SHIPPING" // the price of shipping
)

// Discount is what customers get for a code. Amounts are minor units of Currency.
type Discount struct {
	ID                   uuid.UUID
	Code                 string // in capitals
	Kind                 DiscountKind
	BasisPoints          *int   // of a PERCENTAGE
	AmountMinor          *int64 // of a FIXED
	Currency             money.Currency
	MinimumSubtotalMinor int64
	StartsAt             *time.Time
	EndsAt               *time.Time // exclusive
	UsageLimit           *int       // orders in all
	CustomerLimit        *int       // orders of one owner
	Used                 int
	Active               bool
	CreatedAt            time.Time
}

// GlobalID returns the ID in the graph.
func (d *Discount) GlobalID() id.ID { return id.Of(id.Discount, d.ID) }

// Amount is what a FIXED discount takes off, otherwise nil.
func (d *Discount) Amount() *money.Money {
	if d.AmountMinor == nil {
		return nil
	}
	return new(money.New(*d.AmountMinor, d.Currency))
}

// MinimumSubtotal is what the goods have to be worth at least.
func (d *Discount) MinimumSubtotal() money.Money {
	return money.New(d.MinimumSubtotalMinor, d.Currency)
}

// DiscountTerms are those of a discount that price looks at.
type DiscountTerms struct {
	Kind        DiscountKind
	BasisPoints int
	AmountMinor int64
}

func (d *Discount) terms() *DiscountTerms {
	t := &DiscountTerms{Kind: d.Kind}
	if d.BasisPoints != nil {
		t.BasisPoints = *d.BasisPoints
	}
	if d.AmountMinor != nil {
		t.AmountMinor = *d.AmountMinor
	}
	return t
}

// of returns what is taken off goods that are worth subtotal: no more than that.
func (t *DiscountTerms) of(subtotal int64) int64 {
	switch {
	case t == nil:
		return 0
	case t.Kind == DiscountPercentage:
		return mulDiv(subtotal, int64(t.BasisPoints), wholeRate)
	case t.Kind == DiscountFixed:
		return min(t.AmountMinor, subtotal)
	default:
		return 0
	}
}

// refusal tells customers why they do not get a discount now, where uses is how often its limit counts them; "" if they do.
func (d *Discount) refusal(now time.Time, currency money.Currency, uses int) string {
	switch {
	case !d.Active || d.Currency != currency:
		return "this discount is not given any more"
	case d.StartsAt != nil && now.Before(*d.StartsAt):
		return "this discount is not given yet"
	case d.EndsAt != nil && !now.Before(*d.EndsAt):
		return "this discount has ended"
	case d.UsageLimit != nil && d.Used >= *d.UsageLimit:
		return "this discount is used up"
	case d.CustomerLimit != nil && uses >= *d.CustomerLimit:
		return "you have used this discount as often as you may"
	}
	return ""
}

const (
	discountColumns = `d.id, d.code, d.kind, d.basis_points, d.amount AS amount_minor, d.currency,
		d.minimum_subtotal AS minimum_subtotal_minor, d.starts_at, d.ends_at, d.usage_limit, d.customer_limit, d.used,
		d.active, d.created_at`
	fromDiscounts = ` FROM orders.discounts d`
)

var (
	discountsByID      = postgres.ColumnOf("orders.discounts", "id")
	discountsByCode    = postgres.ColumnOf("orders.discounts", "code")
	redemptionsByOrder = postgres.ColumnOf("orders.discount_redemptions", "order_id")
	redemptionsByOwner = postgres.ColumnOf("orders.discount_redemptions", "owner_id")

	discounts         = postgres.TableOf[Discount](discountColumns, nil)
	allDiscountFields = []string{"Code", "Kind", "BasisPoints", "AmountMinor", "Currency", "MinimumSubtotalMinor", "StartsAt",
		"EndsAt", "UsageLimit", "CustomerLimit", "Used", "Active", "CreatedAt"}
)

// discountByCode returns the discount with a code, in any case, or nil.
func (s *Service) discountByCode(ctx context.Context, code string) (*Discount, error) {
	found := discounts.In(ctx, allDiscountFields...)
	code = normalizeCode(code)
	d, _, err := postgres.First(ctx, s.db, postgres.Stmt{Name: "orders.discount_by_code",
		SQL: "SELECT " + found.SQL + fromDiscounts + " WHERE d.code = $1", Reads: discountsByCode.OfTexts(code)}, found.Scan, code)
	return d, err
}

// discountsByIDs returns discounts by key.
func (s *Service) discountsByIDs(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*Discount, error) {
	of := make(map[uuid.UUID]*Discount, len(ids))
	if len(ids) == 0 {
		return of, nil
	}
	found := discounts.In(ctx, allDiscountFields...)
	condition, arg := postgres.AnyOf("d.id", "$1", ids)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "orders.discounts_by_id",
		SQL: "SELECT " + found.SQL + fromDiscounts + " WHERE " + condition, Reads: discountsByID.Of(ids...)},
		found.Scan, arg)
	for _, d := range rows {
		of[d.ID] = d
	}
	return of, err
}

// taken is who has taken a discount.
type taken struct{ discount, owner uuid.UUID }

// uses returns how often owners have taken discounts.
func (s *Service) uses(ctx context.Context, q postgres.Querier, of []taken) (map[taken]int, error) {
	counts := make(map[taken]int, len(of))
	if len(of) == 0 {
		return counts, nil
	}
	discounts, owners := make([]uuid.UUID, len(of)), make([]uuid.UUID, len(of))
	for i, t := range of {
		discounts[i], owners[i] = t.discount, t.owner
	}
	type row struct {
		taken
		n int
	}
	rows, err := postgres.Select(ctx, q, postgres.Stmt{Name: "orders.discount_uses", Reads: redemptionsByOwner.Of(owners...),
		SQL: `SELECT discount_id, owner_id, count(*) FROM orders.discount_redemptions
			WHERE (discount_id, owner_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) GROUP BY 1, 2`},
		func(r pgx.CollectableRow) (x row, err error) { return x, r.Scan(&x.discount, &x.owner, &x.n) }, discounts, owners)
	for _, r := range rows {
		counts[r.taken] = r.n
	}
	return counts, err
}

// lockDiscount reads a discount and holds it until the transaction ends. Whoever takes it or gives it back does so first,
// after the cart: so its limits hold, and what was counted stays true.
func (s *Service) lockDiscount(ctx context.Context, tx *postgres.Tx, discount uuid.UUID) (*Discount, error) {
	found := discounts.In(ctx, allDiscountFields...)
	d, _, err := postgres.First(ctx, tx, postgres.Stmt{Name: "orders.lock_discount",
		SQL:   "SELECT " + found.SQL + fromDiscounts + " WHERE d.id = $1 FOR UPDATE",
		Reads: discountsByID.Of(discount)}, found.Scan, discount)
	return d, err
}

// redeem takes one use of the discount of a quote for an order, in the transaction that places it. The problem says why
// it can not be had any more; then nothing was written. The same order again takes nothing. The discount is locked until
// the transaction ends, so this comes late in it.
func (s *Service) redeem(ctx context.Context, tx *postgres.Tx, q *Quote, owner, orderID uuid.UUID) (*fault.Problem, error) {
	if q.Discount == nil {
		return nil, nil
	}
	d, err := s.lockDiscount(ctx, tx, q.Discount.ID)
	if err != nil {
		return nil, err
	}
	if d == nil { // none is ever deleted
		return nil, fmt.Errorf("orders: discount %s is gone", q.Discount.ID)
	}
	_, again, err := s.redeemed(ctx, tx, orderID)
	if err != nil || again {
		return nil, err
	}
	by := taken{d.ID, owner}
	uses, err := s.uses(ctx, tx, []taken{by})
	if err != nil {
		return nil, err
	}
	if why := d.refusal(s.now(), s.currency, uses[by]); why != "" {
		return new(fault.NewProblem(fault.ProblemNotApplicable, why, "discount")), nil
	}
	n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.use_discount",
		SQL: "UPDATE orders.discounts SET used = used + 1 WHERE id = $1 AND (usage_limit IS NULL OR used < usage_limit)"}, d.ID)
	if err == nil && n != 1 {
		err = fmt.Errorf("orders: discount %s was used up while it was locked", d.ID)
	}
	if err != nil {
		return nil, err
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.redeem_discount",
		SQL: "INSERT INTO orders.discount_redemptions (order_id, discount_id, owner_id) VALUES ($1, $2, $3)"}, orderID, d.ID, owner)
	return nil, err
}

// unredeem gives back what an order has taken of a discount, once however often it is called.
func (s *Service) unredeem(ctx context.Context, tx *postgres.Tx, orderID uuid.UUID) error {
	discount, ok, err := s.redeemed(ctx, tx, orderID)
	if err != nil || !ok {
		return err
	}
	if _, err := s.lockDiscount(ctx, tx, discount); err != nil {
		return err
	}
	n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.unredeem_discount",
		SQL: "DELETE FROM orders.discount_redemptions WHERE order_id = $1"}, orderID)
	if err != nil || n == 0 { // another one has done so meanwhile
		return err
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.unuse_discount",
		SQL: "UPDATE orders.discounts SET used = used - 1 WHERE id = $1"}, discount)
	return err
}

// redeemed returns the discount that an order has taken.
func (s *Service) redeemed(ctx context.Context, tx *postgres.Tx, orderID uuid.UUID) (uuid.UUID, bool, error) {
	return postgres.First(ctx, tx, postgres.Stmt{Name: "orders.redemption_of_order",
		SQL:   "SELECT discount_id FROM orders.discount_redemptions WHERE order_id = $1",
		Reads: redemptionsByOrder.Of(orderID)}, pgx.RowTo[uuid.UUID], orderID)
}

// DiscountEdge is a discount in a list.
type DiscountEdge = page.Edge[*Discount]

// DiscountConnection is a page of discounts.
type DiscountConnection = page.Connection[*Discount]

// Discounts returns a page of all discounts, the newest first; for staff.
func (s *Service) Discounts(ctx context.Context, args page.Args) (*DiscountConnection, error) {
	if err := requireRole(ctx, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin); err != nil {
		return nil, err
	}
	const sort = "discounts"
	w, err := args.Window(sort, 1)
	if err != nil {
		return nil, err
	}
	var b postgres.Builder
	tail, err := b.Page(w, []postgres.Key{{Expr: "d.id", Cast: "uuid", Desc: true}})
	if err != nil {
		return nil, err
	}
	found := discounts.In(ctx)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "orders.discounts",
		SQL: "SELECT " + found.SQL + fromDiscounts + b.Where() + tail, Reads: postgres.All("orders.discounts")}, found.Scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	return new(page.Build(w, rows, func(d *Discount) string { return page.Cursor(sort, d.ID.String()) })), nil
}

// DiscountCreateInput is a new discount.
type DiscountCreateInput struct {
	Code            string
	Kind            DiscountKind
	BasisPoints     *int
	Amount          *money.Decimal
	MinimumSubtotal *money.Decimal
	StartsAt        *time.Time
	EndsAt          *time.Time
	UsageLimit      *int
	CustomerLimit   *int
}

// DiscountUpdateInput is what changes of a discount: what is absent stays, null clears. Code and kind stay what they are.
type DiscountUpdateInput struct {
	DiscountID      id.ID
	BasisPoints     *int
	Amount          *money.Decimal
	MinimumSubtotal graphql.Omittable[*money.Decimal]
	StartsAt        graphql.Omittable[*time.Time]
	EndsAt          graphql.Omittable[*time.Time]
	UsageLimit      graphql.Omittable[*int]
	CustomerLimit   graphql.Omittable[*int]
	Active          *bool
}

// DiscountDeactivateInput is the discount that ends.
type DiscountDeactivateInput struct{ DiscountID id.ID }

// DiscountPayload is the outcome of writing a discount.
type DiscountPayload struct {
	Discount   *Discount
	UserErrors []fault.Problem
}

// CreateDiscount makes a discount; for managers and admins.
func (s *Service) CreateDiscount(ctx context.Context, in DiscountCreateInput) (*DiscountPayload, error) {
	if err := requireRole(ctx, auth.RoleManager, auth.RoleAdmin); err != nil {
		return nil, err
	}
	d := &Discount{ID: id.New(), Code: normalizeCode(in.Code), Kind: in.Kind, Currency: s.currency, Active: true}
	problems := s.fill(d, DiscountUpdateInput{BasisPoints: in.BasisPoints, Amount: in.Amount,
		MinimumSubtotal: graphql.OmittableOf(in.MinimumSubtotal), StartsAt: graphql.OmittableOf(in.StartsAt),
		EndsAt: graphql.OmittableOf(in.EndsAt), UsageLimit: graphql.OmittableOf(in.UsageLimit),
		CustomerLimit: graphql.OmittableOf(in.CustomerLimit)})
	if !codeForm.MatchString(d.Code) {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "a code has 3 to 32 letters, digits, - and _", "code"))
	}
	if problems != nil {
		return &DiscountPayload{UserErrors: problems}, nil
	}
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
		found := discounts.In(ctx, allDiscountFields...)
		d, _, err = postgres.First(ctx, tx, postgres.Stmt{Name: "orders.insert_discount",
			SQL: `INSERT INTO orders.discounts AS d (id, code, kind, basis_points, amount, currency, minimum_subtotal, starts_at,
				ends_at, usage_limit, customer_limit) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING ` + found.SQL},
			found.Scan, d.ID, d.Code, d.Kind, d.BasisPoints, d.AmountMinor, d.Currency, d.MinimumSubtotalMinor, d.StartsAt,
			d.EndsAt, d.UsageLimit, d.CustomerLimit)
		if err != nil {
			return err
		}
		return s.jobs.Audit(ctx, tx, audit.Of(ctx, audit.DiscountCreated, d.GlobalID(), audit.Details{"code": d.Code})...)
	})
	if postgres.Violates(err, "discounts_code_key") {
		return &DiscountPayload{UserErrors: []fault.Problem{
			fault.NewProblem(fault.ProblemTaken, "there is a discount with this code already", "code")}}, nil
	}
	if err != nil {
		return nil, err
	}
	return &DiscountPayload{Discount: d}, nil
}

// UpdateDiscount changes a discount; for managers and admins. Orders keep what they got.
func (s *Service) UpdateDiscount(ctx context.Context, in DiscountUpdateInput) (*DiscountPayload, error) {
	return s.updateDiscount(ctx, audit.DiscountUpdated, in)
}

func (s *Service) updateDiscount(ctx context.Context, action audit.Action, in DiscountUpdateInput) (*DiscountPayload, error) {
	if err := requireRole(ctx, auth.RoleManager, auth.RoleAdmin); err != nil {
		return nil, err
	}
	var d *Discount
	var problems []fault.Problem
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
		if in.DiscountID.Kind == id.Discount {
			d, err = s.lockDiscount(ctx, tx, in.DiscountID.Key)
		}
		if err != nil {
			return err
		}
		if d == nil {
			return notFound("there is no such discount", "input", "discountId")
		}
		was := *d
		if problems = s.fill(d, in); problems != nil {
			return nil
		}
		_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.update_discount",
			SQL: `UPDATE orders.discounts SET basis_points = $2, amount = $3, minimum_subtotal = $4, starts_at = $5, ends_at = $6,
				usage_limit = $7, customer_limit = $8, active = $9 WHERE id = $1`},
			d.ID, d.BasisPoints, d.AmountMinor, d.MinimumSubtotalMinor, d.StartsAt, d.EndsAt, d.UsageLimit, d.CustomerLimit, d.Active)
		if err != nil {
			return err
		}
		return s.jobs.Audit(ctx, tx, audit.Of(ctx, action, d.GlobalID(), audit.Changes(was, *d))...)
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &DiscountPayload{UserErrors: problems}, nil
	}
	return &DiscountPayload{Discount: d}, nil
}

// DeactivateDiscount ends a discount; for managers and admins. Carts that have its code say so.
func (s *Service) DeactivateDiscount(ctx context.Context, in DiscountDeactivateInput) (*DiscountPayload, error) {
	return s.updateDiscount(ctx, audit.DiscountDeactivated, DiscountUpdateInput{DiscountID: in.DiscountID, Active: new(false)})
}

// fill changes a discount as given, and returns what is wrong with it.
func (s *Service) fill(d *Discount, in DiscountUpdateInput) (problems []fault.Problem) {
	wrong := func(field, message string) {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, message, field))
	}
	amount := func(field string, given *money.Decimal, least int64) *int64 {
		if given == nil {
			return nil
		}
		minor, err := given.Minor(s.currency)
		if err != nil || minor < least || minor > maxSubtotal {
			wrong(field, "this is not an amount of the shop's currency that a cart can come to")
		}
		return &minor
	}
	limit := func(field string, given graphql.Omittable[*int], of **int) {
		if value, set := given.ValueOK(); set {
			if *of = value; value != nil && (*value < 1 || *value > maxLimit) {
				wrong(field, "a limit is 1 or more")
			}
		}
	}
	if in.BasisPoints != nil {
		d.BasisPoints = in.BasisPoints
	}
	if in.Amount != nil {
		d.AmountMinor = amount("amount", in.Amount, 1)
	}
	if (d.BasisPoints != nil) != (d.Kind == DiscountPercentage) {
		wrong("basisPoints", "a PERCENTAGE has basis points, and nothing else has")
	} else if d.BasisPoints != nil && (*d.BasisPoints < 1 || *d.BasisPoints > wholeRate) {
		wrong("basisPoints", "a percentage is between 1 and 10000 basis points")
	}
	if (d.AmountMinor != nil) != (d.Kind == DiscountFixed) {
		wrong("amount", "a FIXED discount has an amount, and nothing else has")
	}
	if value, set := in.MinimumSubtotal.ValueOK(); set {
		d.MinimumSubtotalMinor = 0
		if minor := amount("minimumSubtotal", value, 0); minor != nil {
			d.MinimumSubtotalMinor = *minor
		}
	}
	if value, set := in.StartsAt.ValueOK(); set {
		d.StartsAt = value
	}
	if value, set := in.EndsAt.ValueOK(); set {
		d.EndsAt = value
	}
	if d.StartsAt != nil && d.EndsAt != nil && !d.EndsAt.After(*d.StartsAt) {
		wrong("endsAt", "it ends before it begins")
	}
	limit("usageLimit", in.UsageLimit, &d.UsageLimit)
	limit("customerLimit", in.CustomerLimit, &d.CustomerLimit)
	if in.Active != nil {
		d.Active = *in.Active
	}
	return problems
}

// maxLimit is the greatest limit of a discount.
const maxLimit = 1_000_000_000

// codeForm is that of the table.
var codeForm = regexp.MustCompile(`^[A-Z0-9_-]{3,32}$`)

// normalizeCode returns a code as it is stored.
func normalizeCode(code string) string { return strings.ToUpper(strings.TrimSpace(code)) }

// requireRole fails unless the viewer has one of the roles.
func requireRole(ctx context.Context, anyOf ...auth.Role) error {
	switch {
	case auth.Has(ctx, anyOf...):
		return nil
	case !auth.From(ctx).SignedIn():
		return fault.New(fault.Unauthenticated, "sign in first")
	default:
		return fault.New(fault.Forbidden, "your roles do not allow this")
	}
}

// notFound returns the error about an input field that names nothing.
func notFound(message string, field ...string) error {
	return &fault.Error{Code: fault.NotFound, Message: message, Field: field}
}
