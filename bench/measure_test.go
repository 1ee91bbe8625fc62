package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPercentilesAreOfTheSamples(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, test := range []struct {
		samples  []time.Duration
		p50, p99 time.Duration
	}{
		{hundred, 50, 99},
		{hundred[:1], 1, 1},
		{hundred[:2], 1, 2},
		{hundred[:3], 2, 3},
		{hundred[:99], 50, 99},
		{slices.Concat(hundred, []time.Duration{500}), 51, 100},
	} {
		if p50, p99 := percentile(test.samples, 50), percentile(test.samples, 99); p50 != test.p50 || p99 != test.p99 {
			t.Errorf("%d samples: got %d and %d, want %d and %d", len(test.samples), p50, p99, test.p50, test.p99)
		}
	}
}

func TestAnswersAreChecked(t *testing.T) {
	t.Parallel()
	const marker = `"sku":`
	good := `{"data":{"x":[{"sku":1},{"sku":2}]}}`
	e, err := expect(http.StatusOK, []byte(good), marker)
	if want := (expectation{bytes: len(good), rows: 2}); err != nil || e != want {
		t.Fatalf("got %v, %v; want %v", e, err, want)
	}
	if err := e.check(http.StatusOK, []byte(good), []byte(marker)); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]struct {
		status int
		body   string
	}{
		"another status":   {500, good},
		"errors":           {200, `{"errors":[{"message":"\"sku\":"}],"data":{"sku":0}}`},
		"a row is missing": {200, `{"data":{"x":[{"sku":1},{"sko":2}]}}`},
		"longer":           {200, good + " "},
		"empty":            {200, ""},
	} {
		if e.check(bad.status, []byte(bad.body), []byte(marker)) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, bad := range map[string]struct {
		status int
		body   string
	}{
		"another status": {401, good},
		"errors":         {200, `{"errors":[{"message":"\"sku\":"}],"data":null}`},
		"no rows":        {200, `{"data":{"x":[]}}`},
		"nothing":        {200, `{"data":null}`},
	} {
		if _, err := expect(bad.status, []byte(bad.body), marker); err == nil {
			t.Errorf("%s: expected from now on", name)
		}
	}
}

// echo answers with a row that holds what was asked.
func echo(t *testing.T, handle func(asked string) string) target {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, handle(string(asked)))
	}))
	t.Cleanup(server.Close)
	to := target{server: "echo", addr: server.Listener.Addr().String()}
	for i := range 10 {
		to.requests = append(to.requests, requestFor(to.addr, "/", "", fmt.Append(nil, i)))
	}
	return to
}

func row(asked string) string { return `{"data":{"row":` + asked + `}}` }

func TestServersHaveToAgree(t *testing.T) {
	t.Parallel()
	a, b := echo(t, row), echo(t, row)
	expected, err := agree(t.Context(), a, b, `"row"`)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Repeat([]expectation{{bytes: len(row("0")), rows: 1}}, 10); !slices.Equal(expected, want) {
		t.Errorf("got %v, want %v", expected, want)
	}
	other := echo(t, func(asked string) string { return strings.Replace(row(asked), "7", "8", 1) })
	_, err = agree(t.Context(), a, other, `"row"`)
	if err == nil || !strings.Contains(err.Error(), "request 8: the answers differ") || !strings.Contains(err.Error(), "from byte 15") {
		t.Errorf("got %v", err)
	}
}

func TestLoadIsBoundedAndCounted(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	to := echo(t, func(text string) string { asked.Add(1); return row(text) })
	expected := slices.Repeat([]expectation{{bytes: len(row("0")), rows: 1}}, 10)
	p := plan{connections: 3, warmup: 50 * time.Millisecond, duration: 200 * time.Millisecond, seed: 1}
	began := time.Now()
	r, err := drive(t.Context(), to, expected, `"row"`, p)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 250*time.Millisecond || took > requestLimit {
		t.Errorf("took %s", took)
	}
	if r.Requests == 0 || int64(r.Requests) >= asked.Load() {
		t.Errorf("%d requests were measured of %d: those of the warm-up are not left out", r.Requests, asked.Load())
	}
	if got, want := r.RequestsPerSecond, float64(r.Requests)/0.2; got != want {
		t.Errorf("got %f requests per second, want %f", got, want)
	}
	if r.P50 <= 0 || r.P99 < r.P50 || r.ServerCPU != -1 || r.PostgresCPU != -1 || r.ClientCPU <= 0 {
		t.Errorf("got %+v", r)
	}
}

func TestLoadStopsAtTheFirstWrongAnswer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	to := echo(t, func(text string) string {
		if asked.Add(1) == 50 {
			return row(text) + "\n"
		}
		return row(text)
	})
	expected := slices.Repeat([]expectation{{bytes: len(row("0")), rows: 1}}, 10)
	began := time.Now()
	_, err := drive(t.Context(), to, expected, `"row"`, plan{connections: 2, duration: time.Hour, seed: 1})
	if err == nil || !strings.Contains(err.Error(), "instead of 200") || time.Since(began) > time.Minute {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
}

func TestProcessesAreReadFromProc(t *testing.T) {
	t.Parallel()
	const text = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 30 10 20 0 5 0 100 200 300"
	want := stat{parent: 7, own: 2 * time.Second, deadChildren: 400 * time.Millisecond}
	if got, ok := parseStat([]byte(text)); !ok || got != want {
		t.Errorf("got %+v, %t; want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 7 1", "42 (x) S y 42 42 0 -1 4194560 1 2 3 4 150 50 30 10 20 0"} {
		if got, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q: got %+v", bad, got)
		}
	}
}

func TestRoundsAreSummedUp(t *testing.T) {
	t.Parallel()
	fast := summarise([]result{
		{Requests: 100, RequestsPerSecond: 100, P50: 3, P99: 9, ServerCPU: 2, PostgresCPU: -1},
		{Requests: 140, RequestsPerSecond: 140, P50: 1, P99: 8, ServerCPU: 1, PostgresCPU: -1},
		{Requests: 120, RequestsPerSecond: 120, P50: 2, P99: 7, ServerCPU: 3, PostgresCPU: -1},
	})
	want := result{Requests: 120, RequestsPerSecond: 120, P50: 2, P99: 8, ServerCPU: 2, PostgresCPU: -1}
	if fast.Median != want || fast.Spread != 40.0/120 {
		t.Errorf("got %+v, spread %f; want %+v", fast.Median, fast.Spread, want)
	}
	slow := summarise([]result{
		{RequestsPerSecond: 20, P50: 4, P99: 16, ServerCPU: 4, PostgresCPU: -1},
		{RequestsPerSecond: 40, P50: 8, P99: 16, ServerCPU: 4, PostgresCPU: -1},
	})
	if got := ratio(slow.Median, fast.Median); got.RequestsPerSecond != 0.25 || got.P50 != 3 || got.P99 != 2 || got.ServerCPU != 2 ||
		got.PostgresCPU != -1 || got.ClientCPU != -1 {
		t.Errorf("got %+v", got)
	}

	cells := []cell{{
		Workload: "w1", Title: "thing", Connections: 32, Bytes: 321,
		Servers: map[string]summary{nameHandwritten: fast, nameEmporium: slow}, Ratio: ratio(slow.Median, fast.Median),
	}}
	var text, machine bytes.Buffer
	if err := table(&text, cells); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{
		{"workload", "bytes", "conns", "server", "req/s", "spread", "p50", "ms", "p99", "ms", "server", "CPU", "postgres", "CPU", "client", "CPU"},
		{"w1", "thing", "321", "32", "hand-written", "120", "33%", "2.00", "8.00", "2.000", "n/a", "0.000"},
		{"w1", "thing", "321", "32", "emporium", "30", "67%", "6.00", "16.00", "4.000", "n/a", "0.000"},
		{"ratio", "0.25", "3.00", "2.00", "2.00", "n/a", "n/a"},
	} {
		if got := strings.Fields(strings.Split(text.String(), "\n")[i]); !slices.Equal(got, want) {
			t.Errorf("line %d: got %q, want %q", i+1, got, want)
		}
	}
	if err := lines(&machine, cells); err != nil {
		t.Fatal(err)
	}
	var back cell
	if err := json.Unmarshal(machine.Bytes(), &back); err != nil || !reflect.DeepEqual(back, cells[0]) {
		t.Errorf("got %+v, %v; want %+v", back, err, cells[0])
	}
}

func TestFlagsAreChecked(t *testing.T) {
	t.Parallel()
	good := options{workloads: "w4,w1", connections: "1,32", rounds: 1, duration: time.Second, variables: 1}
	workloads, connections, err := good.parse()
	if err != nil || len(workloads) != 2 || workloads[0].name != "w4" || workloads[1].name != "w1" || !slices.Equal(connections, []int{1, 32}) {
		t.Errorf("got %v, %v, %v", workloads, connections, err)
	}
	for name, spoil := range map[string]func(*options){
		"-workloads": func(o *options) { o.workloads = "w1,w9" }, "-connections": func(o *options) { o.connections = "0" },
		"-rounds": func(o *options) { o.rounds = 0 }, "-duration": func(o *options) { o.duration = 0 },
		"-warmup": func(o *options) { o.warmup = -1 }, "-variables": func(o *options) { o.variables = 0 },
	} {
		bad := good
		spoil(&bad)
		if _, _, err := bad.parse(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
