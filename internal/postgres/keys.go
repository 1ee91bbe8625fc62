package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
)

// ByKeys is a statement that reads rows by pairs of their owner and another column; see SelectByKeys.
type ByKeys struct {
	Name   string // of the statement
	From   string // after the columns, before WHERE
	Owner  string // the column of the owner
	Column string // the column beside it
	Tail   string // after WHERE

	Reads      Column   // what Column is of which relation
	ReadsOwned []Column // of joined relations, of which may be read all that the owners have: the column of the owner
}

// SelectByKeys returns the rows of those of the keys whose owner is visible. Without any it runs no statement.
//
// The keys of one owner, which is all that a customer has, are a plain condition on an index and on one shard. Pairs of
// several owners, which staff has, are joined: with ANY for both columns the index is searched for every combination
// of an owner and an ID (100 lookups become 10,000), and the plan that avoids it reads all that the owners have.
func SelectByKeys[T any](
	ctx context.Context, q Querier, by ByKeys, columns string, scan pgx.RowToFunc[T], keys []id.Key, visible func(owner uuid.UUID) bool,
) ([]T, error) {
	owners, ids, oneOwner := make([]uuid.UUID, 0, len(keys)), make([]uuid.UUID, 0, len(keys)), true
	for _, k := range keys {
		if visible(k.Owner) {
			owners, ids = append(owners, k.Owner), append(ids, k.ID)
			oneOwner = oneOwner && k.Owner == owners[0]
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	s := Stmt{Name: by.Name, SQL: "SELECT " + columns + " " + by.From + " WHERE ", Reads: by.Reads.Of(ids...)}
	for _, owner := range by.ReadsOwned {
		s.Reads = append(s.Reads, owner.Of(owners...)...)
	}
	if oneOwner {
		condition, arg := AnyOf(by.Column, "$2", ids)
		s.SQL += by.Owner + " = $1 AND " + condition + by.Tail
		return Select(ctx, q, s, scan, owners[0], arg)
	}
	s.SQL += "(" + by.Owner + ", " + by.Column + ") IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))" + by.Tail
	return Select(ctx, q, s, scan, owners, ids)
}

// AnyOf returns the condition that a column is one of the keys, with its argument. For one key it is a plain comparison:
// Postgres takes an array whose length it does not know for ten elements, finds that a plan for fewer is cheaper, and so
// makes one anew for each call.
func AnyOf(column, place string, keys []uuid.UUID) (condition string, arg any) {
	if len(keys) == 1 {
		return column + " = " + place, keys[0]
	}
	return column + " = ANY(" + place + ")", keys
}
