package order

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const (
	maxMethods = 100 // that the shop has
	maxRates   = 20  // of a method
)

// ShippingMethod is a way in which goods are sent.
type ShippingMethod struct {
	ID          uuid.UUID
	Name        string
	Description *string
	Countries   []string // ISO 3166-1 alpha-2; none: everywhere
	Currency    money.Currency
	Position    int
	Active      bool
	Rates       []ShippingRate // by FromMinor
}

// GlobalID returns the ID in the graph.
func (m *ShippingMethod) GlobalID() id.ID { return id.Of(id.ShippingMethod, m.ID) }

// ShippingRate is what a method costs for goods that are worth so much after discounts. Amounts are minor units.
type ShippingRate struct {
	Currency   money.Currency
	FromMinor  int64
	ToMinor    *int64 // exclusive
	PriceMinor int64
}

// FromSubtotal is what the goods are worth at least.
func (r *ShippingRate) FromSubtotal() money.Money { return money.New(r.FromMinor, r.Currency) }

// ToSubtotal is what they are worth less than; nil: anything.
func (r *ShippingRate) ToSubtotal() *money.Money {
	if r.ToMinor == nil {
		return nil
	}
	return new(money.New(*r.ToMinor, r.Currency))
}

// Price is what it costs.
func (r *ShippingRate) Price() money.Money { return money.New(r.PriceMinor, r.Currency) }

// ShippingOffer is a method that a cart can be sent by, with its price for this cart.
type ShippingOffer struct {
	MethodID    uuid.UUID
	Name        string
	Description *string
	PriceMinor  int64
	Currency    money.Currency
}

// GlobalID returns the ID of the method in the graph.
func (o *ShippingOffer) GlobalID() id.ID { return id.Of(id.ShippingMethod, o.MethodID) }

// Price is what it costs.
func (o *ShippingOffer) Price() money.Money { return money.New(o.PriceMinor, o.Currency) }

// offer returns what the method costs for goods that are worth subtotal after discounts and go to a country ("": nobody
// knows where yet), or nil if it can not be had.
func (m *ShippingMethod) offer(country string, subtotal int64) *ShippingOffer {
	if !m.Active || len(m.Countries) > 0 && !slices.Contains(m.Countries, country) {
		return nil
	}
	for _, r := range m.Rates {
		if subtotal >= r.FromMinor && (r.ToMinor == nil || subtotal < *r.ToMinor) {
			return &ShippingOffer{MethodID: m.ID, Name: m.Name, Description: m.Description, PriceMinor: r.PriceMinor, Currency: m.Currency}
		}
	}
	return nil
}

var methodsByID = postgres.ColumnOf("orders.shipping_methods", "id")

// readMethods returns methods that a condition holds for, in the shop's order, with their rates, in one statement.
func (s *Service) readMethods(ctx context.Context, q postgres.Querier, name, condition string, args ...any) ([]*ShippingMethod, error) {
	type row struct {
		ShippingMethod
		from, to, price *int64
	}
	rows, err := postgres.Select(ctx, q, postgres.Stmt{Name: name,
		SQL: `SELECT m.id, m.name, m.description, m.countries, m.currency, m.position, m.active, r.from_subtotal, r.to_subtotal, r.price
			FROM orders.shipping_methods m LEFT JOIN orders.shipping_rates r ON r.method_id = m.id
			WHERE ` + condition + ` ORDER BY m.position, m.id, r.from_subtotal`,
		Reads: postgres.All("orders.shipping_methods", "orders.shipping_rates")},
		func(r pgx.CollectableRow) (x row, err error) {
			return x, r.Scan(&x.ID, &x.Name, &x.Description, &x.Countries, &x.Currency, &x.Position, &x.Active, &x.from, &x.to, &x.price)
		}, args...)
	if err != nil {
		return nil, err
	}
	var methods []*ShippingMethod
	for _, r := range rows {
		if len(methods) == 0 || methods[len(methods)-1].ID != r.ID {
			methods = append(methods, new(r.ShippingMethod))
		}
		if m := methods[len(methods)-1]; r.from != nil {
			m.Rates = append(m.Rates, ShippingRate{m.Currency, *r.from, r.to, *r.price})
		}
	}
	return methods, nil
}

// activeMethods returns the methods that customers can choose from.
func (s *Service) activeMethods(ctx context.Context) ([]*ShippingMethod, error) {
	return s.readMethods(ctx, s.db, "orders.active_shipping_methods", "m.active AND m.currency = $1", s.currency)
}

// ShippingMethods returns all methods, in the shop's order; for staff.
func (s *Service) ShippingMethods(ctx context.Context) ([]*ShippingMethod, error) {
	if err := requireRole(ctx, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin); err != nil {
		return nil, err
	}
	return s.readMethods(ctx, s.db, "orders.shipping_methods", "true")
}

// ShippingRateInput is a rate of a method.
type ShippingRateInput struct {
	FromSubtotal money.Decimal
	ToSubtotal   *money.Decimal
	Price        money.Decimal
}

// ShippingMethodCreateInput is a new method.
type ShippingMethodCreateInput struct {
	Name        string
	Description *string
	Countries   []string
	Position    int
	Rates       []ShippingRateInput
}

// ShippingMethodUpdateInput is what changes of a method: what is absent stays, a null description clears. Countries and
// rates take the place of all that there were.
type ShippingMethodUpdateInput struct {
	ShippingMethodID id.ID
	Name             *string
	Description      graphql.Omittable[*string]
	Countries        []string // nil: absent
	Position         *int
	Rates            []ShippingRateInput // nil: absent
	Active           *bool
}

// ShippingMethodDeactivateInput is the method that ends.
type ShippingMethodDeactivateInput struct{ ShippingMethodID id.ID }

// ShippingMethodPayload is the outcome of writing a method.
type ShippingMethodPayload struct {
	ShippingMethod *ShippingMethod
	UserErrors     []fault.Problem
}

// CreateShippingMethod makes a method; for managers and admins.
func (s *Service) CreateShippingMethod(ctx context.Context, in ShippingMethodCreateInput) (*ShippingMethodPayload, error) {
	return s.writeMethod(ctx, audit.ShippingMethodCreated, func(context.Context, *postgres.Tx) (*ShippingMethod, error) {
		return &ShippingMethod{ID: id.New(), Currency: s.currency, Active: true, Countries: []string{}}, nil
	}, ShippingMethodUpdateInput{Name: &in.Name, Description: graphql.OmittableOf(in.Description), Countries: in.Countries,
		Position: &in.Position, Rates: in.Rates})
}

// UpdateShippingMethod changes a method; for managers and admins.
func (s *Service) UpdateShippingMethod(ctx context.Context, in ShippingMethodUpdateInput) (*ShippingMethodPayload, error) {
	return s.updateMethod(ctx, audit.ShippingMethodUpdated, in)
}

func (s *Service) updateMethod(ctx context.Context, action audit.Action, in ShippingMethodUpdateInput) (*ShippingMethodPayload, error) {
	return s.writeMethod(ctx, action, func(ctx context.Context, tx *postgres.Tx) (*ShippingMethod, error) {
		// Locked before it is read, so that the rates are those of whoever had it before.
		_, ok, err := postgres.First(ctx, tx, postgres.Stmt{Name: "orders.lock_shipping_method",
			SQL:   "SELECT true FROM orders.shipping_methods WHERE id = $1 FOR UPDATE",
			Reads: methodsByID.Of(in.ShippingMethodID.Key)}, pgx.RowTo[bool], in.ShippingMethodID.Key)
		if err != nil {
			return nil, err
		}
		if !ok || in.ShippingMethodID.Kind != id.ShippingMethod {
			return nil, notFound("there is no such shipping method", "input", "shippingMethodId")
		}
		found, err := s.readMethods(ctx, tx, "orders.shipping_method_by_id", "m.id = $1", in.ShippingMethodID.Key)
		if err != nil {
			return nil, err
		}
		return found[0], nil
	}, in)
}

// DeactivateShippingMethod takes a method from the offers; for managers and admins. Carts that have chosen it say so.
func (s *Service) DeactivateShippingMethod(ctx context.Context, in ShippingMethodDeactivateInput) (*ShippingMethodPayload, error) {
	return s.updateMethod(ctx, audit.ShippingMethodDeactivated, ShippingMethodUpdateInput{ShippingMethodID: in.ShippingMethodID, Active: new(false)})
}

// writeMethod changes what begin returns as given, stores it, and records that.
func (s *Service) writeMethod(
	ctx context.Context, action audit.Action, begin func(context.Context, *postgres.Tx) (*ShippingMethod, error), in ShippingMethodUpdateInput,
) (*ShippingMethodPayload, error) {
	if err := requireRole(ctx, auth.RoleManager, auth.RoleAdmin); err != nil {
		return nil, err
	}
	var m *ShippingMethod
	var problems []fault.Problem
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
		if m, err = begin(ctx, tx); err != nil {
			return err
		}
		was := *m
		if problems = m.fill(in); problems != nil {
			return nil
		}
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.put_shipping_method",
			SQL: `INSERT INTO orders.shipping_methods (id, name, description, countries, currency, position, active)
				SELECT $1, $2, $3, $4, $5, $6, $7 WHERE (SELECT count(*) FROM orders.shipping_methods WHERE id <> $1) < $8
				ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, description = EXCLUDED.description,
					countries = EXCLUDED.countries, position = EXCLUDED.position, active = EXCLUDED.active`,
			Reads: postgres.All("orders.shipping_methods")},
			m.ID, m.Name, m.Description, m.Countries, m.Currency, m.Position, m.Active, maxMethods)
		if err == nil && n == 0 {
			problems = []fault.Problem{fault.NewProblem(fault.ProblemTooMany, fmt.Sprintf("there are at most %d shipping methods", maxMethods))}
		}
		if err != nil || problems != nil {
			return err
		}
		if err := s.jobs.Audit(ctx, tx, audit.Of(ctx, action, m.GlobalID(), audit.Changes(was, *m))...); err != nil || in.Rates == nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.delete_shipping_rates",
			SQL: "DELETE FROM orders.shipping_rates WHERE method_id = $1"}, m.ID); err != nil {
			return err
		}
		return insertRates(ctx, tx, m)
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &ShippingMethodPayload{UserErrors: problems}, nil
	}
	return &ShippingMethodPayload{ShippingMethod: m}, nil
}

func insertRates(ctx context.Context, tx *postgres.Tx, m *ShippingMethod) error {
	from, to, prices := make([]int64, len(m.Rates)), make([]*int64, len(m.Rates)), make([]int64, len(m.Rates))
	for i, r := range m.Rates {
		from[i], to[i], prices[i] = r.FromMinor, r.ToMinor, r.PriceMinor
	}
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.insert_shipping_rates",
		SQL: `INSERT INTO orders.shipping_rates (method_id, from_subtotal, to_subtotal, price)
			SELECT $1, r.* FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) r`}, m.ID, from, to, prices)
	return err
}

// countryCode is the form of a country code; which ones there are is decided where the contract's scalar is read.
var countryCode = regexp.MustCompile(`^[A-Z]{2}$`)

// fill changes a method as given, and returns what is wrong with it.
func (m *ShippingMethod) fill(in ShippingMethodUpdateInput) (problems []fault.Problem) {
	wrong := func(message string, field ...string) {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, message, field...))
	}
	if in.Name != nil {
		var ok bool
		if m.Name, ok = seal.NormalizeText(*in.Name, 100); !ok || m.Name == "" {
			wrong("a name has 1 to 100 characters, none of them a control character", "name")
		}
	}
	if description, set := in.Description.ValueOK(); set {
		var ok bool
		if m.Description, ok = normalizeOptional(description, 500); !ok {
			wrong("a description has up to 500 characters, none of them a control character", "description")
		}
	}
	if in.Countries != nil {
		m.Countries = append([]string{}, in.Countries...) // none is a list, too
		slices.Sort(m.Countries)
		m.Countries = slices.Compact(m.Countries)
		if slices.ContainsFunc(m.Countries, func(c string) bool { return !countryCode.MatchString(c) }) {
			wrong("these must be ISO 3166-1 country codes like DE", "countries")
		}
	}
	if in.Position != nil {
		if m.Position = *in.Position; m.Position < 0 || m.Position > maxLimit {
			wrong("a position is 0 or more", "position")
		}
	}
	if in.Active != nil {
		m.Active = *in.Active
	}
	if in.Rates == nil {
		return problems
	}
	if len(in.Rates) == 0 || len(in.Rates) > maxRates {
		wrong(fmt.Sprintf("a method has 1 to %d rates", maxRates), "rates")
		return problems
	}
	m.Rates = make([]ShippingRate, len(in.Rates))
	for i, r := range in.Rates {
		amount := func(field string, given money.Decimal) int64 {
			minor, err := given.Minor(m.Currency)
			if err != nil || minor < 0 || minor > maxSubtotal {
				wrong("this is not an amount of the shop's currency that a cart can come to", "rates", strconv.Itoa(i), field)
			}
			return minor
		}
		m.Rates[i] = ShippingRate{Currency: m.Currency, FromMinor: amount("fromSubtotal", r.FromSubtotal), PriceMinor: amount("price", r.Price)}
		if r.ToSubtotal != nil {
			m.Rates[i].ToMinor = new(amount("toSubtotal", *r.ToSubtotal))
			if *m.Rates[i].ToMinor <= m.Rates[i].FromMinor {
				wrong("this rate ends before it begins", "rates", strconv.Itoa(i), "toSubtotal")
			}
		}
	}
	slices.SortFunc(m.Rates, func(a, b ShippingRate) int { return int(a.FromMinor - b.FromMinor) })
	for i := range m.Rates[1:] {
		if to := m.Rates[i].ToMinor; to == nil || *to > m.Rates[i+1].FromMinor {
			wrong("two rates are for the same subtotal", "rates")
			break
		}
	}
	return problems
}
