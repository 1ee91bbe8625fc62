package order

import (
	"context"

	"github.com/google/uuid"
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
	BasisPoints int64  // 1900 is 19 %
}
