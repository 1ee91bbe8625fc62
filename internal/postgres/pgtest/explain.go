package pgtest

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emporium/internal/postgres"
	"emporium/migrations"
)

// explained holds the statements that were explained already in this process, and findings that need not be repeated.
var explained sync.Map

// explain fails the test for what is wrong with a statement's declarations.
func explain(t testing.TB) postgres.Explain {
	return func(ctx context.Context, s postgres.Stmt, args []any, run func(context.Context, string, ...any) (string, error)) {
		for _, finding := range whenGivenTheTime(s, args, time.Now()) {
			if _, told := explained.LoadOrStore(finding, true); !told {
				t.Error(finding)
			}
		}
		if _, done := explained.LoadOrStore(s.SQL, true); done {
			return
		}
		for _, finding := range Undeclared(ctx, s, args, run) {
			t.Error(finding)
		}
	}
}

// Undeclared compares the plan of a statement with what it declares: each relation that is read has to be declared, as a
// whole or by a column that the plan finds its rows by, and a function that depends on more than the database makes the
// statement volatile. Whether the declared values are those that it is given is beyond a plan: a test of package graph
// changes rows to see whether answers do.
func Undeclared(
	ctx context.Context, s postgres.Stmt, args []any, run func(context.Context, string, ...any) (string, error),
) (findings []string) {
	find := func(format string, args ...any) {
		findings = append(findings, "statement "+s.Name+" "+fmt.Sprintf(format, args...))
	}
	text, err := run(ctx, "EXPLAIN (VERBOSE, FORMAT JSON) "+s.SQL, args...)
	if err != nil {
		return nil // the statement itself is about to fail alike, and says it better
	}
	var p plan
	var decoded any
	if err := json.Unmarshal([]byte(text), &decoded); err != nil {
		return []string{s.Name + ": plan: " + err.Error()}
	}
	p.visit(decoded)

	for _, r := range s.Reads {
		name, ok := r.Column()
		schema, table, _ := strings.Cut(r.Relation, ".")
		if !ok || !slices.Contains(migrations.Domains, schema) {
			continue
		}
		is, err := run(ctx, `SELECT coalesce((SELECT data_type FROM information_schema.columns
			WHERE table_schema = $1 AND table_name = $2 AND column_name = $3), 'missing')`, schema, table, name)
		if err != nil {
			find("declares %s.%s, whose type can not be found out: %v", r.Relation, name, err)
		} else if is != "uuid" && is != "text" {
			find("declares to read %s by %s, which is %s: only uuid and text have one form", r.Relation, name, is)
		}
	}
	for _, scan := range p.scans {
		declared, found, by := false, slices.Contains(s.Later, scan.relation), []string(nil)
		for _, r := range s.Reads {
			if r.Relation != scan.relation || r.Empty() {
				continue
			}
			declared = true
			name, ok := r.Column()
			if !ok || p.restricts(scan.alias, name) {
				found = true
			} else {
				by = append(by, name)
			}
		}
		switch {
		case found:
		case !declared:
			find("reads %s without declaring it", scan.relation)
		default:
			find("declares to read %s by %s, but nothing in its plan restricts %s by that: %q", scan.relation,
				strings.Join(by, ", "), scan.alias, p.conditions)
		}
	}
	if volatile := volatileFunction.FindString(s.SQL); volatile != "" && !s.Volatile && !p.writes {
		find("asks for %s and is not declared volatile", volatile)
	}
	return findings
}

// volatileFunction finds what makes a statement that reads depend on more than the rows.
var volatileFunction = regexp.MustCompile(`(?i)\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|random|gen_random_uuid|` +
	`pg_current_xact_id|pg_current_snapshot|txid_current|nextval|currval)\(|\b(current_date|current_time|current_timestamp|localtime|localtimestamp)\b`)

// justNow is how old an instant may be to be taken for one that was read from the clock.
const justNow = 100 * time.Millisecond

// writing finds statements that change something, though they may read as well.
var writing = regexp.MustCompile(`(?i)\b(INSERT INTO|UPDATE|DELETE FROM)\b`)

// whenGivenTheTime finds a statement that reads by the time as a parameter.
func whenGivenTheTime(s postgres.Stmt, args []any, now time.Time) []string {
	if s.Volatile || writing.MatchString(forUpdate.ReplaceAllString(s.SQL, "")) {
		return nil
	}
	for i, arg := range args {
		if p, ok := arg.(*time.Time); ok && p != nil {
			arg = *p
		}
		if at, ok := arg.(time.Time); ok && at.Before(now) && now.Sub(at) < justNow {
			return []string{fmt.Sprintf("statement %s is given the time as $%d and is not declared volatile", s.Name, i+1)}
		}
	}
	return nil
}

var forUpdate = regexp.MustCompile(`(?i)\bFOR (NO KEY )?UPDATE\b`)

// plan is what matters of a plan in JSON.
type plan struct {
	scans      []scan
	conditions []string // each of which holds for all rows that come out: a conjunct
	writes     bool
}

type scan struct{ relation, alias string }

// visit collects what the nodes of a plan read. The target of an INSERT, UPDATE or DELETE is not a read.
func (p *plan) visit(node any) {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			p.visit(child)
		}
	case map[string]any:
		if node["Node Type"] == "ModifyTable" {
			p.writes = true
			return
		}
		schema, _ := node["Schema"].(string)
		name, _ := node["Relation Name"].(string)
		if name != "" && slices.Contains(migrations.Domains, schema) {
			alias, _ := node["Alias"].(string)
			p.scans = append(p.scans, scan{schema + "." + name, alias})
		}
		for key, child := range node {
			if text, ok := child.(string); ok && (strings.HasSuffix(key, " Cond") || key == "Filter" || key == "Join Filter") {
				p.conditions = append(p.conditions, conjuncts(text)...)
			} else {
				p.visit(child)
			}
		}
	}
}

// conjuncts splits a condition as EXPLAIN writes it, like "((a.b = $1) AND (a.c = ANY ($2)))".
func conjuncts(condition string) (parts []string) {
	depth, quoted, start := 0, false, 0
	for i := range len(condition) {
		switch condition[i] {
		case '\'':
			quoted = !quoted
		case '(':
			if !quoted {
				depth++
			}
		case ')':
			if !quoted {
				depth--
			}
		}
		if !quoted && depth == 1 && strings.HasPrefix(condition[i:], " AND ") {
			parts, start = append(parts, condition[start:i]), i+len(" AND ")
		}
	}
	return append(parts, condition[start:])
}

// restricts reports whether only rows with certain values in a column of what has the alias matter. Behind an OR is
// anything.
func (p *plan) restricts(alias, column string) bool {
	name := `(?:` + regexp.QuoteMeta(alias) + `|"` + regexp.QuoteMeta(alias) + `")\.` + regexp.QuoteMeta(column)
	equals := regexp.MustCompile(`(?:^|[^.\w"])` + name + ` = | = ` + name + `(?:$|[^\w])`)
	return slices.ContainsFunc(p.conditions, func(c string) bool {
		return equals.MatchString(c) && !strings.Contains(c, " OR ")
	})
}
