package main

import (
	"strings"
	"testing"
)

func TestMetricsAreAddedUpByNameAndLabels(t *testing.T) {
	t.Parallel()
	const before = `# HELP a_total Something.
# TYPE a_total counter
a_total{level="local",of="x"} 3
a_total{level="miss",of="x"} 4
a_total_more 100
b 1e+06
`
	m, err := parseMetrics(strings.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		labels []string
		want   float64
	}{{"a_total", nil, 7}, {"a_total", []string{`level="local"`}, 3}, {"a_total", []string{`level="local"`, `of="y"`}, 0}, {"b", nil, 1e6}, {"c", nil, 0}} {
		if got := m.sum(test.name, test.labels...); got != test.want {
			t.Errorf("%s %v: got %v, want %v", test.name, test.labels, got, test.want)
		}
	}
	if got := (scraped{"b": 5, "new": 2}).since(scraped{"b": 3}); got["b"] != 2 || got["new"] != 2 {
		t.Errorf("since: got %v", got)
	}
}
