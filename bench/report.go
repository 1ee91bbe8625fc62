package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// cell is what was found about a workload under a number of connections: the rounds of each server, in their order.
type cell struct {
	Workload    string             `json:"workload"`
	Title       string             `json:"title"`
	Series      string             `json:"series,omitempty"` // Emporium alone was asked
	Connections int                `json:"connections"`
	Bytes       int                `json:"bytes"`   // of a typical answer
	Objects     int                `json:"objects"` // in the same answer
	Servers     map[string]summary `json:"servers"`
	Ratio       *result            `json:"ratio,omitempty"` // Emporium's medians divided by those of the hand-written handler
}

// summary are the rounds of one server and their medians, each figure's for itself.
type summary struct {
	Median result   `json:"median"`
	Spread float64  `json:"spread"` // of the requests per second: (most - least) / median
	Rounds []result `json:"rounds"`
}

// figure is a column of the table.
type figure struct {
	title  string
	digits int
	of     func(*result) *float64
}

// figures names the figures of a result, in the order of the columns.
var figures = []figure{
	{"req/s", 0, func(r *result) *float64 { return &r.RequestsPerSecond }},
	{"p50 ms", 2, func(r *result) *float64 { return &r.P50 }},
	{"p99 ms", 2, func(r *result) *float64 { return &r.P99 }},
	{"server CPU", 3, func(r *result) *float64 { return &r.ServerCPU }},
	{"postgres CPU", 3, func(r *result) *float64 { return &r.PostgresCPU }},
	{"server + Postgres", 3, func(r *result) *float64 { return &r.BothCPU }},
	{"client CPU", 3, func(r *result) *float64 { return &r.ClientCPU }},
}

// goal is what a cell's medians are held against; goals do not fail a run, since the machine has a share in the figures.
type goal struct {
	connections int
	title       string
	atLeast     bool // otherwise at most
	limit       float64
	figure      func(c cell) (v float64, known bool)
}

var goals = []goal{
	{32, "requests/s, ratio", true, 0.70, func(c cell) (float64, bool) { return c.Ratio.RequestsPerSecond, true }},
	{32, "server + Postgres CPU, ratio", false, 1.60, func(c cell) (float64, bool) { return c.Ratio.BothCPU, c.Ratio.BothCPU >= 0 }},
	{32, "p99, ratio", false, 1.50, func(c cell) (float64, bool) { return c.Ratio.P99, true }},
	{1, "p50, difference in ms", false, 0.50, func(c cell) (float64, bool) {
		return c.Servers[nameEmporium].Median.P50 - c.Servers[nameHandwritten].Median.P50, true
	}},
}

func newCell(w *workload, connections int, answer expectation, rounds map[string][]result) cell {
	c := cell{Workload: w.name, Title: w.title, Series: w.series, Connections: connections, Bytes: answer.bytes, Objects: answer.objects,
		Servers: map[string]summary{}}
	for server, results := range rounds {
		c.Servers[server] = summarise(results)
	}
	if hand, ok := c.Servers[nameHandwritten]; ok {
		r := ratio(c.Servers[nameEmporium].Median, hand.Median)
		c.Ratio = &r
	}
	return c
}

func summarise(rounds []result) summary {
	s := summary{Rounds: rounds}
	for _, f := range figures {
		values := make([]float64, len(rounds))
		for i := range rounds {
			values[i] = *f.of(&rounds[i])
		}
		*f.of(&s.Median) = median(values)
	}
	requests := make([]float64, len(rounds))
	for i, r := range rounds {
		requests[i] = r.RequestsPerSecond
		s.Median.Requests += r.Requests
	}
	s.Median.Requests /= len(rounds)
	s.Spread = (slices.Max(requests) - slices.Min(requests)) / s.Median.RequestsPerSecond
	return s
}

// ratio divides each figure of a by that of b; -1 where one is not known, or b's is 0.
func ratio(a, b result) (r result) {
	r.Requests = a.Requests
	for _, f := range figures {
		*f.of(&r) = -1
		if *f.of(&a) >= 0 && *f.of(&b) > 0 {
			*f.of(&r) = *f.of(&a) / *f.of(&b)
		}
	}
	return r
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// report writes cells for a person: those of both servers against each other and against the goals, and how Emporium's
// cost grows along each series.
func report(out io.Writer, cells []cell) error {
	var compared, alone []cell
	for _, c := range cells {
		if c.Series == "" {
			compared = append(compared, c)
		} else {
			alone = append(alone, c)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(compared) > 0 {
		comparison(w, compared)
		verdict(w, compared)
	}
	if len(alone) > 0 {
		growth(w, alone)
	}
	return w.Flush()
}

func comparison(w io.Writer, cells []cell) {
	fmt.Fprint(w, "\nworkload\tbytes\tconns\tserver\t")
	for _, f := range figures {
		fmt.Fprint(w, f.title, "\t")
		if f.title == "req/s" {
			fmt.Fprint(w, "spread\t")
		}
	}
	fmt.Fprintln(w)
	for _, c := range cells {
		for _, server := range []string{nameHandwritten, nameEmporium} {
			s := c.Servers[server]
			fmt.Fprintf(w, "%s %s\t%d\t%d\t%s\t", c.Workload, c.Title, c.Bytes, c.Connections, server)
			for _, f := range figures {
				fmt.Fprint(w, number(*f.of(&s.Median), f.digits), "\t")
				if f.title == "req/s" {
					fmt.Fprintf(w, "%.0f%%\t", 100*s.Spread)
				}
			}
			fmt.Fprintln(w)
		}
		fmt.Fprint(w, "\t\t\temporium / hand-written\t")
		for _, f := range figures {
			fmt.Fprint(w, number(*f.of(c.Ratio), 2), "\t")
			if f.title == "req/s" {
				fmt.Fprint(w, "\t")
			}
		}
		fmt.Fprintln(w)
	}
}

// verdict holds cells against the goals for their number of connections.
func verdict(w io.Writer, cells []cell) {
	fmt.Fprintln(w, "\nworkload\tconns\tgoal\t\tfigure\t\t")
	for _, c := range cells {
		for _, g := range goals {
			if g.connections != c.Connections {
				continue
			}
			limit := fmt.Sprintf("<= %.2f", g.limit)
			if g.atLeast {
				limit = fmt.Sprintf(">= %.2f", g.limit)
			}
			shown, found := "n/a", "unknown"
			if v, known := g.figure(c); known {
				shown, found = fmt.Sprintf("%.2f", v), "missed"
				if v == g.limit || v > g.limit == g.atLeast {
					found = "met"
				}
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t\n", c.Workload, c.Connections, g.title, limit, shown, found)
		}
	}
}

// growth writes how the CPU that server and Postgres take together depends on the answer. A further object is one that the
// answer has more than that of the row before; nothing stands there where the answers are about as large.
func growth(w io.Writer, cells []cell) {
	fmt.Fprintln(w, "\nworkload\tconns\tbytes\tobjects\treq/s\tserver CPU\tpostgres CPU\tserver + Postgres\tµs / KB\tµs / object\tµs / further object\t")
	cells = slices.Clone(cells)
	slices.SortStableFunc(cells, func(a, b cell) int { return a.Connections - b.Connections })
	for i, c := range cells {
		m := c.Servers[nameEmporium].Median
		further := ""
		if i > 0 && cells[i-1].Series == c.Series && cells[i-1].Connections == c.Connections && c.Objects > 2*cells[i-1].Objects {
			before := cells[i-1]
			further = micros(m.BothCPU, before.Servers[nameEmporium].Median.BothCPU, float64(c.Objects-before.Objects))
		}
		fmt.Fprintf(w, "%s %s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", c.Workload, c.Title, c.Connections, c.Bytes, c.Objects,
			number(m.RequestsPerSecond, 0), number(m.ServerCPU, 3), number(m.PostgresCPU, 3), number(m.BothCPU, 3),
			micros(m.BothCPU, 0, float64(c.Bytes)/1000), micros(m.BothCPU, 0, float64(c.Objects)), further)
	}
}

// micros returns for each of n units in microseconds what came on top of a time in milliseconds.
func micros(ms, before, n float64) string {
	if ms < 0 || before < 0 {
		return number(-1, 0)
	}
	return fmt.Sprintf("%.1f", 1000*(ms-before)/n)
}

func number(v float64, digits int) string {
	if v < 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// lines writes cells for a program, each as a line of JSON.
func lines[T any](out io.Writer, cells []T) error {
	encoder := json.NewEncoder(out)
	for _, c := range cells {
		if err := encoder.Encode(c); err != nil {
			return err
		}
	}
	return nil
}
