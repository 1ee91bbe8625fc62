package order

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// TaxRule says which taxes goods bear that are sent somewhere. It is asked once for each quote, outside of any
// transaction, and may be slow; it is used by many goroutines at once.
type TaxRule interface {
	Tax(ctx context.Context, q TaxQuery) (TaxRates, error)
}

// TaxQuery are goods that are sent to a country.
type TaxQuery struct {
	Country string // ISO 3166-1 alpha-2
	Lines   []TaxedLine
}

// TaxedLine is a line of what is sent.
type TaxedLine struct{ ProductID, VariantID uuid.UUID }

// TaxRates are the rates of a query's lines, in their order, and of the shipping. Nil bears no tax.
type TaxRates struct {
	Lines    []*TaxRate
	Shipping *TaxRate
}

// TaxRate is a tax. Comparable.
type TaxRate struct {
	Name        string // as customers read it
	BasisPoints int    // 1900 is 19 %
}

// tableTax is the rule that a country has one rate, which stands in orders.tax_rates.
type tableTax struct{ db *postgres.DB }

// Tax returns the rate of the country for all lines, and for the shipping where it applies to that.
func (t tableTax) Tax(ctx context.Context, q TaxQuery) (TaxRates, error) {
	rates := TaxRates{Lines: make([]*TaxRate, len(q.Lines))}
	found, err := readTaxes(ctx, t.db, "orders.tax_rate_of_country", "country = $1", taxesByCountry.OfTexts(q.Country), q.Country)
	if err != nil || len(found) == 0 {
		return rates, err
	}
	rate := &TaxRate{Name: found[0].Name, BasisPoints: found[0].BasisPoints}
	for i := range rates.Lines {
		rates.Lines[i] = rate
	}
	if found[0].AppliesToShipping {
		rates.Shipping = rate
	}
	return rates, nil
}

// CountryTax is the tax of a country.
type CountryTax struct {
	Country           string
	Name              string
	BasisPoints       int
	AppliesToShipping bool
}

var taxesByCountry = postgres.ColumnOf("orders.tax_rates", "country")

func readTaxes(
	ctx context.Context, q postgres.Querier, name, condition string, reads []postgres.Read, args ...any,
) ([]*CountryTax, error) {
	return postgres.Select(ctx, q, postgres.Stmt{Name: name,
		SQL:   "SELECT country, name, basis_points, applies_to_shipping FROM orders.tax_rates WHERE " + condition + " ORDER BY country",
		Reads: reads}, pgx.RowToAddrOfStructByPos[CountryTax], args...)
}

// TaxRates returns the taxes of all countries that have one; for staff.
func (s *Service) TaxRates(ctx context.Context) ([]*CountryTax, error) {
	if err := requireRole(ctx, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin); err != nil {
		return nil, err
	}
	return readTaxes(ctx, s.db, "orders.tax_rates", "true", postgres.All("orders.tax_rates"))
}

// TaxRateSetInput is the tax of a country, in place of the one so far.
type TaxRateSetInput struct {
	Country           string
	Name              string
	BasisPoints       int
	AppliesToShipping bool
}

// TaxRatePayload is the outcome of setting a tax.
type TaxRatePayload struct {
	TaxRate    *CountryTax
	UserErrors []fault.Problem
}

// SetTaxRate says which tax goods bear that are sent to a country; for managers and admins. Orders keep theirs.
func (s *Service) SetTaxRate(ctx context.Context, in TaxRateSetInput) (*TaxRatePayload, error) {
	if err := requireRole(ctx, auth.RoleManager, auth.RoleAdmin); err != nil {
		return nil, err
	}
	name, ok := seal.NormalizeText(in.Name, 100)
	t := &CountryTax{in.Country, name, in.BasisPoints, in.AppliesToShipping}
	var problems []fault.Problem
	if !countryCode.MatchString(t.Country) {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "this must be an ISO 3166-1 country code like DE", "country"))
	}
	if !ok || name == "" {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "a name has 1 to 100 characters, none of them a control character", "name"))
	}
	if t.BasisPoints < 0 || t.BasisPoints > wholeRate {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "a rate is between 0 and 10000 basis points", "basisPoints"))
	}
	if problems != nil {
		return &TaxRatePayload{UserErrors: problems}, nil
	}
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		before, err := readTaxes(ctx, tx, "orders.tax_rate_before", "country = $1", taxesByCountry.OfTexts(t.Country), t.Country)
		if err != nil {
			return err
		}
		was := &CountryTax{Country: t.Country}
		if len(before) > 0 {
			was = before[0]
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.put_tax_rate",
			SQL: `INSERT INTO orders.tax_rates (country, name, basis_points, applies_to_shipping) VALUES ($1, $2, $3, $4)
			ON CONFLICT (country) DO UPDATE SET name = EXCLUDED.name, basis_points = EXCLUDED.basis_points,
				applies_to_shipping = EXCLUDED.applies_to_shipping`}, t.Country, t.Name, t.BasisPoints, t.AppliesToShipping); err != nil {
			return err
		}
		d := audit.Changes(*was, *t)
		if d != nil {
			d["country"] = t.Country
		}
		return s.jobs.Audit(ctx, tx, audit.Of(ctx, audit.TaxRateSet, id.ID{}, d)...) // a tax has no ID
	})
	if err != nil {
		return nil, err
	}
	return &TaxRatePayload{TaxRate: t}, nil
}
