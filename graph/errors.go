package graph

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/graph/exec"
	"emporium/graph/loader"
	"emporium/internal/fault"
	"emporium/internal/telemetry"
)

// Requests that can not be parsed or validated are answered with a status of their own, like gqlgen's own codes for
// them, which become BAD_USER_INPUT here.
func init() { errcode.RegisterErrorType(string(fault.BadUserInput), errcode.KindProtocol) }

// presentError is the one place where an error becomes a GraphQL error. What carries a code shows its message; anything
// else is logged once and shown as INTERNAL with the request's ID.
func presentError(ctx context.Context, err error) *gqlerror.Error {
	var shown *gqlerror.Error
	var coded *fault.Error
	var omitted exec.Omitted
	var refusals violations
	switch {
	case errors.As(err, &refusals):
		return &gqlerror.Error{Err: refusals} // for oneByOne
	case errors.As(err, &omitted):
		return &gqlerror.Error{Err: omitted} // for fewErrors
	case errors.As(err, &coded):
		shown = &gqlerror.Error{Err: err, Message: coded.Message, Path: graphql.GetPath(ctx), Extensions: map[string]any{}}
		if field := append(argument(ctx, err), coded.Field...); len(field) > 0 {
			shown.Extensions["field"] = field
		}
		shown.Extensions["code"] = string(coded.Code)
		if l, ok := errors.AsType[later](err); ok {
			shown.Extensions["retryAfter"] = l.seconds
		}
		if coded.Code != fault.Internal {
			break
		}
		opaque(ctx, shown, err)
	case fault.CodeOf(err) == fault.Timeout || errors.Is(err, context.Canceled):
		shown = &gqlerror.Error{Err: err, Message: "the request took too long", Path: graphql.GetPath(ctx),
			Extensions: map[string]any{"code": string(fault.Timeout)}}
	case errors.As(err, &shown) && (shown.Err == nil || protocolError(shown)):
		// Of gqlgen or gqlparser: about the request, made for whoever sent it. A copy, since they may be shared.
		kept := *shown
		kept.Extensions = map[string]any{"code": string(fault.BadUserInput)}
		if kept.Path == nil {
			kept.Path = graphql.GetPath(ctx)
		}
		shown = &kept
	default:
		shown = &gqlerror.Error{Err: err, Path: graphql.GetPath(ctx), Extensions: map[string]any{}}
		opaque(ctx, shown, err)
	}
	if len(shown.Locations) == 0 {
		shown.Locations = locations(ctx, err)
	}
	return shown
}

func opaque(ctx context.Context, shown *gqlerror.Error, err error) {
	id := telemetry.RequestFrom(ctx).ID
	shown.Message = "internal error"
	shown.Extensions["code"] = string(fault.Internal)
	shown.Extensions["requestId"] = id
	var logged *loader.LoggedError
	if !errors.As(err, &logged) {
		slog.ErrorContext(ctx, "unexpected error", "path", graphql.GetPath(ctx).String(), "error", err)
	}
}

// argument is the place in the arguments that gqlgen could not read: it puts it behind the field's path, which in an
// answer names fields alone (GraphQL specification, 7.1.2).
func argument(ctx context.Context, err error) []string {
	var outer *gqlerror.Error
	field := len(graphql.GetPath(ctx))
	if !errors.As(err, &outer) || len(outer.Path) <= field {
		return nil
	}
	var place []string
	for _, step := range outer.Path[field:] {
		switch step := step.(type) {
		case ast.PathName:
			place = append(place, string(step))
		case ast.PathIndex:
			place = append(place, strconv.Itoa(int(step)))
		}
	}
	return place
}

// protocolError reports whether gqlgen has marked the error as one of parsing or validation.
func protocolError(err *gqlerror.Error) bool {
	code, _ := err.Extensions["code"].(string)
	return code == errcode.ParseFailed || code == errcode.ValidationFailed
}

// locations keeps the place in the document that gqlgen has put around an error.
func locations(ctx context.Context, err error) []gqlerror.Location {
	var outer *gqlerror.Error
	if errors.As(err, &outer) && len(outer.Locations) > 0 {
		return outer.Locations
	}
	if fc := graphql.GetFieldContext(ctx); fc != nil && fc.Field.Field != nil && fc.Field.Position != nil {
		return []gqlerror.Location{{Line: fc.Field.Position.Line, Column: fc.Field.Position.Column}}
	}
	return nil
}

// recovered turns a panic into an error, with the stack in the log alone.
func recovered(ctx context.Context, p any) error {
	slog.ErrorContext(ctx, "panic", "path", graphql.GetPath(ctx).String(), "panic", fmt.Sprint(p), "stack", stackOf(p))
	return fault.New(fault.Internal, "panic")
}

// stackOf returns the stack of what panicked. The executor reports panics when all fields are done, on another stack.
func stackOf(p any) string {
	if kept, ok := p.(*exec.Panic); ok {
		return string(kept.Stack)
	}
	return string(debug.Stack())
}

// outcome is the label of an operation in metrics and logs: "ok", or the code of its first error.
func outcome(errs gqlerror.List) string {
	if len(errs) == 0 {
		return "ok"
	}
	if code, ok := errs[0].Extensions["code"].(string); ok {
		return code
	}
	return string(fault.Internal)
}

// fewErrors returns the errors in the order of their paths, and at most maxErrors of them: a refused field under a list
// fails once for each element.
func fewErrors(errs gqlerror.List) gqlerror.List {
	omitted := 0
	errs = slices.DeleteFunc(errs, func(e *gqlerror.Error) bool {
		n, is := errors.AsType[exec.Omitted](e)
		omitted += int(n)
		return is
	})
	slices.SortStableFunc(errs, func(a, b *gqlerror.Error) int { return comparePaths(a.Path, b.Path) })
	if len(errs) <= maxErrors {
		return errs
	}
	return append(errs[:maxErrors:maxErrors], &gqlerror.Error{
		Message:    fmt.Sprintf("and %d errors more", omitted+len(errs)-maxErrors),
		Extensions: map[string]any{"code": errs[maxErrors].Extensions["code"]},
	})
}

func comparePaths(a, b ast.Path) int {
	for i := range min(len(a), len(b)) {
		x, xIndex := a[i].(ast.PathIndex)
		y, yIndex := b[i].(ast.PathIndex)
		order := 0
		if xIndex && yIndex {
			order = cmp.Compare(x, y)
		} else {
			order = cmp.Compare(fmt.Sprint(a[i]), fmt.Sprint(b[i]))
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(a), len(b))
}

// maxName is how much of a name that a client made up is kept.
const maxName = 64

// operationName is the name of an operation for metrics and logs.
func operationName(op *ast.OperationDefinition) string {
	if op.Name == "" {
		return "anonymous"
	}
	return op.Name[:min(len(op.Name), maxName)] // letters, digits and underscores
}
