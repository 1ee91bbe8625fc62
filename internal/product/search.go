package product

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"emporium/internal/page"
)

func (s *Service) Lists(ctx context.Context, scopes []Scope, q Query, args page.Args) ([]*Connection, error) {
	return nil, errors.New("not built")
}

func (s *Service) Counts(ctx context.Context, scopes []Scope, q Query) ([]int, error) {
	return nil, errors.New("not built")
}

func (s *Service) Facets(ctx context.Context, scopes []Scope, q Query) ([]*Facets, error) {
	return nil, errors.New("not built")
}

func (s *Service) Suggest(ctx context.Context, prefix string, first int) ([]Suggestion, error) {
	return nil, errors.New("not built")
}

var _ uuid.UUID
