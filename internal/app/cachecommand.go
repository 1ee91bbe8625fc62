package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"emporium/graph"
	"emporium/internal/auth"
	"emporium/internal/id"
)

// shownTags bounds how many tags are printed.
const shownTags = 200

func (p *program) cacheExplain(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return errors.New("name one file with a GraphQL document")
	}
	q := graph.Question{File: c.Args().First(), Operation: c.String("operation")}
	text, err := os.ReadFile(q.File)
	if err != nil {
		return err
	}
	q.Document = string(text)
	if given := c.String("variables"); given != "" {
		if q.Variables, err = variables(given); err != nil {
			return err
		}
	}
	actor, err := actorAs(c.String("as"))
	if err != nil {
		return err
	}
	if c.IsSet("as") && !c.Bool("run") {
		return errors.New("--as goes with --run: the rest is told for everybody")
	}
	if c.Bool("run") && q.Variables == nil {
		q.Variables = map[string]any{}
	}
	cfg, _, err := p.config()
	if err != nil {
		return err
	}
	e, err := graph.Explain(q, cfg.CacheMaxAge)
	if err != nil {
		return err
	}
	p.printExplanation(e)
	if !c.Bool("run") {
		if e.Why == "" {
			fmt.Fprintln(p.out, "made of:   known once it was run; see --run")
		}
		return nil
	}
	return p.with(ctx, func(a *App) error {
		ran, err := e.Run(ctx, graph.Options{Services: a.services, Queues: a.queues, Metrics: a.metrics, Timeout: a.cfg.OperationTimeout,
			MaxAge: a.cfg.CacheMaxAge, Introspection: graph.IntrospectionOff}, q, actor)
		if err != nil {
			return err
		}
		cache, err := a.newCache()
		if err != nil {
			return err
		}
		unfollowed, err := cache.Unfollowed(ctx, ran.Relations)
		if err != nil {
			return err
		}
		if len(unfollowed) > 0 && ran.Why == "" {
			ran.Why = "changes of " + strings.Join(unfollowed, ", ") + " are not followed"
		}
		p.printRun(ran)
		return nil
	})
}

// variables reads a JSON object, whose numbers keep all their digits.
func variables(text string) (found map[string]any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&found); err != nil {
		at := int64(len(text))
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			at = min(at, syntax.Offset)
		}
		return nil, fmt.Errorf("--variables: line %d: %w", 1+strings.Count(text[:at], "\n"), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || found == nil {
		return nil, errors.New("--variables: it is not one JSON object")
	}
	return found, nil
}

// actorAs returns somebody with a role, who owns nothing.
func actorAs(role string) (auth.Actor, error) {
	known := []auth.Role{auth.RoleCustomer, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService}
	switch {
	case role == "":
		return auth.Actor{}, nil
	case slices.Contains(known, auth.Role(role)):
		return auth.Actor{ID: id.New(), Roles: auth.Roles(auth.Role(role))}, nil
	default:
		return auth.Actor{}, fmt.Errorf("--as is one of CUSTOMER, SUPPORT, MANAGER, ADMIN and SERVICE, not %q", role)
	}
}

func (p *program) printExplanation(e *graph.Explanation) {
	fmt.Fprintf(p.out, "operation: %s\n", e.Operation)
	if e.Why != "" {
		fmt.Fprintf(p.out, "kept:      no: %s\n", e.Why)
	} else {
		fmt.Fprintf(p.out, "kept:      for %s at most\n", e.MaxAge)
	}
	if len(e.Limits) > 0 {
		fmt.Fprintf(p.out, "because:   of %s\n", some(e.Limits, 10, ", "))
	}
	for i, s := range e.Scopes {
		fmt.Fprintf(p.out, "%-10s %-22s %s\n", []string{"scope:", ""}[min(i, 1)], s.Who, map[string]string{
			"public": "shared with all", "role": "shared with all for whom the same of the asked roles hold", "viewer": "for one viewer alone"}[s.Scope])
	}
	if e.Guarded {
		fmt.Fprintln(p.out, "guarded:   it shows what not everybody may see: sealed in Redis, not left to caches on the way")
	}
}

func (p *program) printRun(ran *graph.Ran) {
	if ran.Why != "" {
		fmt.Fprintf(p.out, "this one:  can not be kept: %s\n", ran.Why)
	} else {
		fmt.Fprintln(p.out, "this one:  can be kept")
	}
	for _, e := range ran.Errors {
		fmt.Fprintf(p.out, "error:     %s\n", e)
	}
	fmt.Fprintf(p.out, "made of:   %d statements, void by %d tags of %s\n  %s\n", ran.Statements, len(ran.Tags), strings.Join(ran.Relations, ", "),
		some(ran.Tags, shownTags, "\n  "))
}

// some joins the first of many.
func some(all []string, most int, separator string) string {
	shown := strings.Join(all[:min(len(all), most)], separator)
	if len(all) > most {
		shown += fmt.Sprintf("%sand %d more", separator, len(all)-most)
	}
	return shown
}

func (p *program) cachePurge(ctx context.Context, c *cli.Command) error {
	if c.Args().Present() {
		return errors.New("cache purge takes no arguments: it drops everything")
	}
	return p.with(ctx, func(a *App) error {
		cache, err := a.newCache()
		if err != nil {
			return err
		}
		done, err := cache.Purge(ctx)
		for _, d := range done.Databases {
			fmt.Fprintf(p.out, "%s: %d processes follow it, and have dropped what they kept\n", d.Database, d.Processes)
		}
		switch {
		case a.cacheRedis.client == nil:
			fmt.Fprintln(p.out, "Redis: off")
		case err == nil || done.Redis > 0:
			fmt.Fprintf(p.out, "Redis: %d answers were deleted\n", done.Redis)
		}
		return err
	})
}
