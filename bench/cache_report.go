package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"emporium/internal/redisclient"
)

// redisHits is how often Redis has had what it was asked for, in its whole life; -1 where there is no Redis.
func (s *stand) redisHits(ctx context.Context) float64 {
	if s.redisURL == "" {
		return -1
	}
	client, err := redisclient.Open(s.redisURL, 1)
	if err != nil {
		return -1
	}
	defer client.Close()
	info, err := client.Info(ctx, "stats").Result()
	_, rest, ok := strings.Cut(info, "keyspace_hits:")
	text, _, _ := strings.Cut(rest, "\r")
	n, bad := strconv.ParseFloat(text, 64)
	if err != nil || !ok || bad != nil {
		return -1
	}
	return n
}

// report writes tables for a person, and the goals.
func (c cached) report(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	var goals []held
	if len(c.Hits) > 0 {
		fmt.Fprint(w, "\nresponse cache, hits\tbytes\tanswers\tserver\t")
		for _, f := range figures {
			if f.title != "postgres CPU" && f.title != "server + Postgres" {
				fmt.Fprint(w, f.title, "\t")
			}
		}
		fmt.Fprintln(w, "spread\tkept\tin Redis\tstatements\t")
		for _, h := range c.Hits {
			row := func(server string, of result, digits int, rest string) {
				fmt.Fprintf(w, "%s %s\t%d\t%d\t%s\t", h.Name, h.Title, h.Bytes, h.Answers, server)
				for _, f := range figures {
					if f.title != "postgres CPU" && f.title != "server + Postgres" {
						d := f.digits + 1
						if digits >= 0 {
							d = digits
						} else if f.title == "req/s" {
							d = 0
						}
						fmt.Fprint(w, number(*f.of(&of), d), "\t")
					}
				}
				fmt.Fprintln(w, rest)
			}
			row(h.Against, h.Bare.Median, -1, fmt.Sprintf("%.0f%%\t\t\t\t", 100*h.Bare.Spread))
			row(nameEmporium, h.Emporium.Median, -1, fmt.Sprintf("%.0f%%\t%.1f%%\t%s%%\t%.4f\t", 100*h.Emporium.Spread, 100*h.Kept, number(100*h.Redis, 1), h.Statements))
			row("ratio", h.Ratio, 2, "\t\t\t\t")
			goals = append(goals, h.Goal)
		}
	}
	for _, m := range c.Misses {
		goals = append(goals, m.Goal)
	}
	for _, m := range c.Memory {
		goals = append(goals, m.Goal)
	}
	if len(c.Mixed) > 0 {
		fmt.Fprintf(w, "\n95 %% reads, 5 %% writes\tquestions\treq/s\tread p50 ms\tp99 ms\twrite p50 ms\tp99 ms\tstatements / request\treads kept\tin the process\tin Redis\tpeak RSS MiB\t\n")
		for _, m := range c.Mixed {
			fmt.Fprintf(w, "cache %s\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f%%\t%s%%\t%s%%\t%.0f\t\n", m.Cache, m.Questions, m.Rate, m.ReadP50, m.ReadP99,
				m.WriteP50, m.WriteP99, m.Statements, 100*m.Kept, number(100*m.Local, 1), number(100*m.Remote, 1), m.PeakRSS/(1<<20))
		}
		off, on := c.Mixed[0], c.Mixed[1]
		fmt.Fprintf(w, "saved\t\t%.1fx\t\t\t\t\t%.0f%%\t\t\t\t\t\n", on.Rate/off.Rate, 100*(1-on.Statements/off.Statements))
	}
	if len(c.Fresh.Latency) > 0 {
		fmt.Fprintln(w, "\nwrites\tconns\twrites/s\tp50 ms\tp99 ms\t")
		for _, l := range c.Fresh.Latency {
			fmt.Fprintf(w, "%s\t%d\t%.0f\t%.2f\t%.2f\t\n", l.How, l.Connections, l.Rate, l.P50, l.P99)
		}
	}
	if s := c.Fresh.Seeding; s != nil {
		fmt.Fprintf(w, "\nseed --scale bench, followed\tseconds\trows\tbehind, s\tlongest lag, s\trows/s while behind\tserver CPU, s\t\n\t%.1f\t%.0f\t%.2f\t%.2f\t%.0f\t%.1f\t\n",
			s.Seconds, s.Rows, s.Behind, s.Longest, s.Rate, s.CPU)
	}
	if len(c.Fresh.WAL) > 0 {
		fmt.Fprintln(w, "\nREPLICA IDENTITY\twrites\tWAL bytes / write\t")
		for _, l := range c.Fresh.WAL {
			fmt.Fprintf(w, "%s\t%d\t%.0f\t\n", l.Identity, l.Writes, l.Bytes)
		}
	}
	if len(goals) > 0 {
		fmt.Fprintln(w, "\nthe response cache\tgoal\tfigure\t\t")
		for _, g := range goals {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", g.What, g.Goal, g.Figure, g)
		}
	}
	return w.Flush()
}
