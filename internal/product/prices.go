package product

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
)

// PriceChange is an entry of the history of a variant's prices; never changed.
type PriceChange struct {
	VariantID         uuid.UUID
	ID                uuid.UUID
	OldCurrency       money.Currency
	OldPriceMinor     int64
	OldCompareAtMinor *int64
	NewCurrency       money.Currency
	NewPriceMinor     int64
	NewCompareAtMinor *int64
	ActorID           *uuid.UUID // nil for imports
	CreatedAt         time.Time
}

// Key returns the key, the variant in the place of an owner: the history is kept by variant.
func (c *PriceChange) Key() id.Key { return id.Key{Owner: c.VariantID, ID: c.ID} }

// GlobalID returns the ID in the graph.
func (c *PriceChange) GlobalID() id.ID { return id.Owned(id.PriceChange, c.Key()) }

// OwnedBy returns false: the history is the shop's, no customer's.
func (c *PriceChange) OwnedBy(uuid.UUID) bool { return false }

// OldPrice returns what the variant cost before.
func (c *PriceChange) OldPrice() money.Money { return money.New(c.OldPriceMinor, c.OldCurrency) }

// NewPrice returns what it has cost from then on.
func (c *PriceChange) NewPrice() money.Money { return money.New(c.NewPriceMinor, c.NewCurrency) }

// OldCompareAtPrice returns what it was said to have cost until then, or nil.
func (c *PriceChange) OldCompareAtPrice() *money.Money {
	return optionalMoney(c.OldCompareAtMinor, c.OldCurrency)
}

// NewCompareAtPrice returns what it was said to have cost from then on, or nil.
func (c *PriceChange) NewCompareAtPrice() *money.Money {
	return optionalMoney(c.NewCompareAtMinor, c.NewCurrency)
}

func optionalMoney(minor *int64, c money.Currency) *money.Money {
	if minor == nil {
		return nil
	}
	return new(money.New(*minor, c))
}

// PriceChangeEdge is a change in a list.
type PriceChangeEdge = page.Edge[*PriceChange]

// PriceChangeConnection is a page of changes.
type PriceChangeConnection = page.Connection[*PriceChange]

const priceColumns = `m.variant_id, m.id, m.old_currency, m.old_price AS old_price_minor,
	m.old_compare_at_price AS old_compare_at_minor, m.new_currency, m.new_price AS new_price_minor,
	m.new_compare_at_price AS new_compare_at_minor, m.actor_id, m.created_at`

var (
	pricesByVariant = postgres.ColumnOf("products.price_changes", "variant_id")

	prices       = postgres.TableOf[PriceChange](priceColumns, nil)
	pricesByKeys = postgres.ByKeys{Name: "products.price_changes_by_key", From: "FROM products.price_changes m",
		Owner: "m.variant_id", Column: "m.id", Reads: postgres.ColumnOf("products.price_changes", "id")}
)

// PriceChangesByKeys returns changes of prices by key, for staff and machines.
func (s *Service) PriceChangesByKeys(ctx context.Context, keys []id.Key) ([]*PriceChange, error) {
	found := prices.In(ctx)
	return postgres.SelectByKeys(ctx, s.db, pricesByKeys, found.SQL, found.Scan, keys,
		func(uuid.UUID) bool { return seesAll(ctx) })
}

// PriceChanges returns a page of the history of each variant's prices, the newest first, in one statement for all; for
// staff and machines. Each variant asked for has a page, which is empty for others.
func (s *Service) PriceChanges(ctx context.Context, variantIDs []uuid.UUID, args page.Args) (map[uuid.UUID]*PriceChangeConnection, error) {
	return pagesOf(ctx, s, history[PriceChange]{name: "price_changes", table: prices, relation: "products.price_changes", reads: pricesByVariant,
		parents: "products.variants", parent: "id", readsParents: variantsByID, key: (*PriceChange).Key}, variantIDs, args)
}

// priceChange returns how the prices of a variant have changed, or nothing.
func priceChange(was, is *Variant) []PriceChange {
	if was.Currency == is.Currency && was.PriceMinor == is.PriceMinor && same(was.CompareAtMinor, is.CompareAtMinor) {
		return nil
	}
	return []PriceChange{{VariantID: is.ID, OldCurrency: was.Currency, OldPriceMinor: was.PriceMinor, OldCompareAtMinor: was.CompareAtMinor,
		NewCurrency: is.Currency, NewPriceMinor: is.PriceMinor, NewCompareAtMinor: is.CompareAtMinor}}
}

// same reports whether both are absent, or both the same value.
func same[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// recordPrices writes changes into the history, in the transaction that makes them.
func recordPrices(ctx context.Context, tx *postgres.Tx, actor *uuid.UUID, changes []PriceChange) error {
	for piece := range slices.Chunk(changes, 5_000) {
		n := len(piece)
		variants, ids := make([]uuid.UUID, n), make([]uuid.UUID, n)
		currencies, amounts := [2][]string{make([]string, n), make([]string, n)}, [4][]*int64{}
		for i := range amounts {
			amounts[i] = make([]*int64, n)
		}
		for i := range piece {
			c := &piece[i]
			variants[i], ids[i] = c.VariantID, id.New()
			currencies[0][i], currencies[1][i] = string(c.OldCurrency), string(c.NewCurrency)
			amounts[0][i], amounts[1][i], amounts[2][i], amounts[3][i] = &c.OldPriceMinor, c.OldCompareAtMinor, &c.NewPriceMinor, c.NewCompareAtMinor
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.record_price_changes",
			SQL: `INSERT INTO products.price_changes (variant_id, id, old_currency, new_currency, old_price, old_compare_at_price,
					new_price, new_compare_at_price, actor_id)
				SELECT t.*, $9 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) t`,
		}, variants, ids, currencies[0], currencies[1], amounts[0], amounts[1], amounts[2], amounts[3], actor); err != nil {
			return err
		}
	}
	return nil
}
