package product

import (
	"context"
	"errors"
	"iter"

	"github.com/google/uuid"
)

// Draft is a product with all that belongs to it, as it is written as a whole.
type Draft struct {
	Product
	Options     []Option
	Media       []Media
	Variants    []VariantDraft
	Collections []uuid.UUID
}

// VariantDraft is a variant of a Draft.
type VariantDraft struct {
	Variant
	OnHand        *int // nil leaves the stock of an existing variant alone; a new one has none
	ImagePosition int  // of the variant's picture in Media, from 1; 0 without one
}

// UpsertResult counts what Upsert did, in products.
type UpsertResult struct{ Created, Updated, Unchanged int }

func (s *Service) Load(ctx context.Context, categories []Category, collections []Collection, products iter.Seq[*Draft], progress func(done int)) error {
	return errors.New("not built")
}

func (s *Service) Upsert(ctx context.Context, drafts iter.Seq2[*Draft, error], dryRun bool) (UpsertResult, error) {
	return UpsertResult{}, errors.New("not built")
}

func (s *Service) Each(ctx context.Context, fn func(*Draft) error) error {
	return errors.New("not built")
}
