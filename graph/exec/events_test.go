package exec_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/99designs/gqlgen/graphql"

	"emporium/graph/exec"
)

// TestEvents subscribes, and executes each event like a query over it: with the selection, errors and nulls of its own.
func TestEvents(t *testing.T) {
	t.Parallel()
	c := make(chan any, 4)
	y := newToy(t, setup{root: values{"born": c}})
	p, variables := y.compile(t, `subscription { it: born { name __typename age } }`, nil)
	next := y.schema.Subscribe(y.context(t.Context()), p, variables)
	c <- &person{values{"name": "Ann", "age": 7}}
	c <- &person{values{"name": "Ben", "age": errors.New("unknown")}}
	c <- nil
	close(c)
	var told []string
	for {
		event, err := next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		ctx := y.context(t.Context())
		data, _, came := y.schema.RunEvent(ctx, p, variables, event)
		told = append(told, fmt.Sprint(string(data), " ", came, " ", len(graphql.GetErrors(ctx))))
	}
	want := []string{
		`{"it":{"name":"Ann","__typename":"Person","age":7}} true 0`,
		`{"it":{"name":"Ben","__typename":"Person","age":null}} true 1`,
		`{"it":null} false 0`,
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told %q\nnot %q", told, want)
	}
	if _, err := y.schema.Subscribe(y.context(t.Context()), p, nil)(canceled(t)); !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a context that is done: %v", err)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestSubscribeFails wants what a source, its arguments and a guard refuse in the answer, with their place, and no events.
func TestSubscribeFails(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		`subscription { tick }`:                                        "tick no clock",
		`subscription { tick(of: -1) }`:                                "tick of must not be negative",
		`subscription { born { name } }`:                               "born panic: stillborn",
		`subscription { tick @skip(if: true) }`:                        "",
		`subscription { ...f } fragment f on Subscription { t: tick }`: "t no clock",
	} {
		y := newToy(t, setup{root: values{"tick": errors.New("no clock"), "born": boom("stillborn")}})
		p, variables := y.compile(t, document, nil)
		ctx := y.context(t.Context())
		next := y.schema.Subscribe(ctx, p, variables)
		got := ""
		for _, err := range graphql.GetErrors(ctx) {
			got += fmt.Sprint(err.Path, " ", err.Message)
		}
		if got != want || (next == nil) != (want != "") {
			t.Errorf("%s: %q, not %q; events: %t", document, got, want, next != nil)
		}
	}
	denied := func(context.Context) (exec.Check, error) { return exec.Check{}, errors.New("not you") }
	y := newToy(t, setup{root: values{"tick": make(chan any)}, guards: map[string]exec.Guard{"Subscription.tick": denied}})
	p, variables := y.compile(t, `subscription { tick }`, nil)
	if next := y.schema.Subscribe(y.context(t.Context()), p, variables); next != nil || y.schema.Permitted(t.Context(), p) == nil {
		t.Error("the guard was not asked")
	}
}
