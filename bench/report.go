package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// cell is what was found about a workload under a number of connections: the rounds of both servers, in their order.
type cell struct {
	Workload    string             `json:"workload"`
	Title       string             `json:"title"`
	Connections int                `json:"connections"`
	Bytes       int                `json:"bytes"` // of a typical answer
	Servers     map[string]summary `json:"servers"`
	Ratio       result             `json:"ratio"` // Emporium's medians divided by those of the hand-written handler
}

// summary are the rounds of one server and their medians, each figure's for itself.
type summary struct {
	Median result   `json:"median"`
	Spread float64  `json:"spread"` // of the requests per second: (most - least) / median
	Rounds []result `json:"rounds"`
}

// figures names the figures of a result, in the order of the columns.
var figures = []struct {
	title  string
	digits int
	of     func(*result) *float64
}{
	{"req/s", 0, func(r *result) *float64 { return &r.RequestsPerSecond }},
	{"p50 ms", 2, func(r *result) *float64 { return &r.P50 }},
	{"p99 ms", 2, func(r *result) *float64 { return &r.P99 }},
	{"server CPU", 3, func(r *result) *float64 { return &r.ServerCPU }},
	{"postgres CPU", 3, func(r *result) *float64 { return &r.PostgresCPU }},
	{"client CPU", 3, func(r *result) *float64 { return &r.ClientCPU }},
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

// table writes cells for a person.
func table(out io.Writer, cells []cell) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "workload\tbytes\tconns\tserver\t")
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
		fmt.Fprint(w, "\t\t\tratio\t")
		for _, f := range figures {
			fmt.Fprint(w, number(*f.of(&c.Ratio), 2), "\t")
			if f.title == "req/s" {
				fmt.Fprint(w, "\t")
			}
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func number(v float64, digits int) string {
	if v < 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// lines writes cells for a program, each as a line of JSON.
func lines(out io.Writer, cells []cell) error {
	encoder := json.NewEncoder(out)
	for _, c := range cells {
		if err := encoder.Encode(c); err != nil {
			return err
		}
	}
	return nil
}
