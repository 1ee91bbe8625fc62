package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// scraped are the figures of a process, by their names with their labels as they are written in Prometheus's format.
type scraped map[string]float64

// scrape reads the metrics of Emporium's admin listener.
func scrape(ctx context.Context, admin string) (scraped, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: status %s", response.Status)
	}
	return parseMetrics(response.Body)
}

// parseMetrics reads Prometheus's text format; of its lines those with a number.
func parseMetrics(in io.Reader) (scraped, error) {
	found := scraped{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			found[line[:at]] = v
		}
	}
	return found, lines.Err()
}

// sum adds up what begins with a name and has all of the labels, each as `name="value"`.
func (s scraped) sum(name string, labels ...string) (sum float64) {
next:
	for key, v := range s {
		rest, ok := strings.CutPrefix(key, name)
		if !ok || rest != "" && rest[0] != '{' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		sum += v
	}
	return sum
}

// since is what has been added since an earlier look.
func (s scraped) since(before scraped) scraped {
	d := scraped{}
	for key, v := range s {
		d[key] = v - before[key]
	}
	return d
}

// statements are those of SQL that were sent for requests, rather than from time to time.
func (s scraped) statements() float64 {
	const name = "emporium_sql_statement_duration_seconds_count"
	return s.sum(name) - s.sum(name, `cache.published_tables"`) - s.sum(name, `schema_clients"`) - s.sum(name, `schema_usage"`)
}

// operations are those of GraphQL that were answered, and how many of them from the cache.
func (s scraped) operations() (all, kept float64) {
	const name = "emporium_graphql_operation_duration_seconds_count"
	return s.sum(name), s.sum(name, `outcome="cached"`)
}
