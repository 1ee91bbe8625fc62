package graph

import (
	"context"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
)

// gqlgen starts a goroutine for every element of every list and for every field with a resolver, since any of them might
// wait. Here none does: prefetch has loaded what the resolvers return (root fields, which do the waiting, are left as they
// are). `make generate` therefore puts the two functions below in place of gqlgen's; without that step everything is
// answered alike, only slower. See docs/adr/0007-fields-in-order.md.

// marshalSlice is graphql.MarshalSliceConcurrently, one element after the other.
func marshalSlice(ctx context.Context, length int, _ int64, _ bool, element func(ctx context.Context, i int) graphql.Marshaler) graphql.Array {
	list := make(graphql.Array, length)
	for i := range list {
		list[i] = marshalElement(ctx, i, element)
	}
	return list
}

func marshalElement(ctx context.Context, i int, element func(ctx context.Context, i int) graphql.Marshaler) (m graphql.Marshaler) {
	ctx = graphql.WithFieldContext(ctx, &graphql.FieldContext{Index: &i})
	defer func() {
		if r := recover(); r != nil {
			graphql.AddError(ctx, graphql.Recover(ctx, r))
			m = graphql.Null
		}
	}()
	return element(ctx, i)
}

// resolveInOrder is FieldSet.ResolveConcurrently, at once. A field under @defer is part of the answer: no transport here
// sends it later.
func resolveInOrder(ctx context.Context, out *graphql.FieldSet, oc *graphql.OperationContext, _ *graphql.DeferredGroup, i int,
	_, nonNull bool, resolve func(ctx context.Context) graphql.Marshaler,
) {
	var invalid graphql.Marshaler = graphql.RequiredNull
	if nonNull {
		invalid = graphql.Null
	}
	out.Values[i] = resolveField(ctx, oc, resolve)
	if out.Values[i] == invalid {
		atomic.AddUint32(&out.Invalids, 1)
	}
}

func resolveField(ctx context.Context, oc *graphql.OperationContext, resolve func(ctx context.Context) graphql.Marshaler) (m graphql.Marshaler) {
	defer func() {
		if r := recover(); r != nil {
			oc.Error(ctx, oc.Recover(ctx, r))
			m = graphql.Null
		}
	}()
	return resolve(ctx)
}
