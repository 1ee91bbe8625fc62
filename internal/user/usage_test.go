package user_test

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"emporium/internal/usage"
	"emporium/internal/user"
)

func use(name, version, coordinate string, count int64) usage.Use {
	return usage.Use{Client: usage.Client{Name: name, Version: version}, Coordinate: coordinate, Count: count}
}

// TestUsage adds up what clients have used, and forgets what was not used for long, and the clients with it.
func TestUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w.clock.Store(&first)
	second, third := first.Add(time.Minute), first.Add(2*time.Minute)
	expect := func(what string, want ...usage.Seen) {
		t.Helper()
		got, err := w.SchemaUsage(t.Context())
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", what, got, want)
		}
	}
	clients := func() []string {
		return query[string](t, w, `SELECT name || '/' || version FROM users.schema_clients ORDER BY 1`)
	}
	expect("nothing")
	must(t, w.RecordUsage(t.Context(), []usage.Use{use("web", "1", "Query.b", 2), use("", "", "Query.a", 1), use("web", "2", "Query.b", 5)}))
	w.clock.Store(&second)
	must(t, w.RecordUsage(t.Context(), []usage.Use{use("web", "1", "Query.b", 4), use("other", "", "Query.b", 1)}))
	a, web2 := usage.Seen{Use: use("", "", "Query.a", 1), FirstSeen: first, LastSeen: first}, usage.Seen{Use: use("web", "2", "Query.b", 5), FirstSeen: first, LastSeen: first}
	web1, other := usage.Seen{Use: use("web", "1", "Query.b", 6), FirstSeen: first, LastSeen: second}, usage.Seen{Use: use("other", "", "Query.b", 1), FirstSeen: second, LastSeen: second}
	expect("added up", a, web1, web2, other)
	equal(t, "clients", clients(), []string{"/", "other/", "web/1", "web/2"})

	must(t, w.ForgetUsage(t.Context(), first))
	expect("nothing is too old", a, web1, web2, other)
	must(t, w.ForgetUsage(t.Context(), second))
	expect("forgotten", web1, other)
	equal(t, "clients", clients(), []string{"other/", "web/1"})

	// A process whose clock is behind does not turn back what is known.
	w.clock.Store(&third)
	must(t, w.RecordUsage(t.Context(), []usage.Use{use("web", "1", "Query.b", 1)}))
	w.clock.Store(&second)
	must(t, w.RecordUsage(t.Context(), []usage.Use{use("web", "1", "Query.b", 1)}))
	web1.Count, web1.LastSeen = 8, third
	expect("a clock behind", web1, other)
}

// TestUsageIsBounded writes more clients than there is room for, those that are known again.
func TestUsageIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	write := func(from, until int) {
		t.Helper()
		var uses []usage.Use
		for i := from; i < until; i++ {
			uses = append(uses, use(fmt.Sprintf("client%03d", i), "1", "Query.a", 1))
		}
		must(t, w.RecordUsage(t.Context(), uses))
	}
	write(0, 60)
	write(30, 200)
	write(190, 300)
	seen, err := w.SchemaUsage(t.Context())
	must(t, err)
	counts := map[int64]int{}
	for _, s := range seen {
		counts[s.Count]++
	}
	// 98 beside the two that are always there: 60, of which 30 came twice, and 38 more; 102 and 110 others.
	equal(t, "rows by their counts", counts, map[int64]int{1: 68, 2: 30, 212: 1})
	if i := slices.IndexFunc(seen, func(s usage.Seen) bool { return s.Client == usage.Other }); i < 0 || seen[i].Count != 212 {
		t.Errorf("the rest: %+v", seen[max(i, 0)])
	}
}

// TestUsageOfManyProcesses writes the same at once, in orders of its own each.
func TestUsageOfManyProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			var uses []usage.Use
			for i := range 200 {
				uses = append(uses, use(fmt.Sprint("client", i%10), "", fmt.Sprint("Query.f", (i*(2*g+1))%200), 1))
			}
			for range 5 {
				if err := w.RecordUsage(t.Context(), uses); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	seen, err := w.SchemaUsage(t.Context())
	must(t, err)
	total := int64(0)
	for _, s := range seen {
		total += s.Count
	}
	equal(t, "uses", total, 8*5*200)
	if !slices.IsSortedFunc(seen, func(a, b usage.Seen) int {
		return cmp.Or(cmp.Compare(a.Coordinate, b.Coordinate), cmp.Compare(b.Count, a.Count))
	}) {
		t.Error("they are not in order")
	}
}

// TestUsageIsCleanedUp lets the job forget what was last used longer ago than the configuration says.
func TestUsageIsCleanedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *user.Config) { c.UsageRetention = 48 * time.Hour })
	must(t, w.RecordUsage(t.Context(), []usage.Use{use("web", "", "Query.a", 1)}))
	w.pass(24 * time.Hour)
	must(t, w.RecordUsage(t.Context(), []usage.Use{use("web", "", "Query.b", 1)}))
	w.pass(25 * time.Hour)
	must(t, w.CleanUp(t.Context()))
	seen, err := w.SchemaUsage(t.Context())
	must(t, err)
	if len(seen) != 1 || seen[0].Coordinate != "Query.b" {
		t.Errorf("left: %+v", seen)
	}
}
