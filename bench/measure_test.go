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
	if want := (expectation{bytes: len(good), rows: 2, objects: 4}); err != nil || e != want {
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
	expected, err := agree(t.Context(), []target{a, b}, `"row"`)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Repeat([]expectation{{bytes: len(row("0")), rows: 1, objects: 2}}, 10); !slices.Equal(expected, want) {
		t.Errorf("got %v, want %v", expected, want)
	}
	other := echo(t, func(asked string) string { return strings.Replace(row(asked), "7", "8", 1) })
	_, err = agree(t.Context(), []target{a, other}, `"row"`)
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
	if r.P50 <= 0 || r.P99 < r.P50 || r.ServerCPU != -1 || r.PostgresCPU != -1 || r.BothCPU != -1 || r.ClientCPU <= 0 {
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

	cells := []cell{newCell(&workload{name: "w1", title: "thing"}, 32, expectation{bytes: 321, rows: 3, objects: 7},
		map[string][]result{nameHandwritten: fast.Rounds, nameEmporium: slow.Rounds})}
	if cells[0].Objects != 7 || !reflect.DeepEqual(cells[0].Servers, map[string]summary{nameHandwritten: fast, nameEmporium: slow}) {
		t.Errorf("got %+v", cells[0])
	}
	var text, machine bytes.Buffer
	if err := report(&text, cells); err != nil {
		t.Fatal(err)
	}
	sameFields(t, text.String(), []string{
		"workload bytes conns server req/s spread p50 ms p99 ms server CPU postgres CPU server + Postgres client CPU",
		"w1 thing 321 32 hand-written 120 33% 2.00 8.00 2.000 n/a 0.000 0.000",
		"w1 thing 321 32 emporium 30 67% 6.00 16.00 4.000 n/a 0.000 0.000",
		"emporium / hand-written 0.25 3.00 2.00 2.00 n/a n/a n/a",
		"workload conns goal figure",
		"w1 32 requests/s, ratio >= 0.70 0.25 missed",
		"w1 32 server + Postgres CPU, ratio <= 1.60 n/a unknown",
		"w1 32 p99, ratio <= 1.50 2.00 missed",
	})
	if err := lines(&machine, cells); err != nil {
		t.Fatal(err)
	}
	var back cell
	if err := json.Unmarshal(machine.Bytes(), &back); err != nil || !reflect.DeepEqual(back, cells[0]) {
		t.Errorf("got %+v, %v; want %+v", back, err, cells[0])
	}
}

// sameFields compares the lines that are not empty, whatever stands between their fields.
func sameFields(t *testing.T, text string, want []string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 {
			got = append(got, strings.Join(fields, " "))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// alike are cells whose two servers show the given medians.
func alike(connections int, hand, emporium result) cell {
	return newCell(&workload{name: "w1"}, connections, expectation{}, map[string][]result{nameHandwritten: {hand}, nameEmporium: {emporium}})
}

func TestGoalsAreMetUpToTheirLimits(t *testing.T) {
	t.Parallel()
	hand := result{RequestsPerSecond: 1000, P50: 1, P99: 2, BothCPU: 1}
	verdicts := func(c cell) string {
		var out bytes.Buffer
		verdict(&out, []cell{c})
		var words []string
		for line := range strings.Lines(out.String()) {
			if fields := strings.Fields(line); len(fields) > 3 && fields[0] == "w1" {
				words = append(words, fields[len(fields)-1])
			}
		}
		return strings.Join(words, " ")
	}
	for name, test := range map[string]struct {
		connections int
		emporium    result
		want        string // about requests/s, CPU, p99; or p50
	}{
		"at the limits":         {32, result{RequestsPerSecond: 700, P99: 3, BothCPU: 1.6}, "met met met"},
		"better":                {32, result{RequestsPerSecond: 1200, P99: 1, BothCPU: 0.5}, "met met met"},
		"just too few":          {32, result{RequestsPerSecond: 699, P99: 3, BothCPU: 1.6}, "missed met met"},
		"just too much CPU":     {32, result{RequestsPerSecond: 700, P99: 3, BothCPU: 1.61}, "met missed met"},
		"CPU not known":         {32, result{RequestsPerSecond: 700, P99: 3, BothCPU: -1}, "met unknown met"},
		"just too late":         {32, result{RequestsPerSecond: 700, P99: 3.01, BothCPU: 1.6}, "met met missed"},
		"alone, at the limit":   {1, result{RequestsPerSecond: 1, P50: 1.5}, "met"},
		"alone, faster":         {1, result{RequestsPerSecond: 1, P50: 0.2}, "met"},
		"alone, just too slow":  {1, result{RequestsPerSecond: 1, P50: 1.51}, "missed"},
		"no goal for this many": {8, result{RequestsPerSecond: 1, P50: 100}, ""},
	} {
		if got := verdicts(alike(test.connections, hand, test.emporium)); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestGrowthIsOfNeighboursInASeries(t *testing.T) {
	t.Parallel()
	size := func(name, series string, connections, bytes, objects int, cpu float64) cell {
		return newCell(&workload{name: name, title: "x", series: series}, connections, expectation{bytes: bytes, objects: objects},
			map[string][]result{nameEmporium: {{RequestsPerSecond: 10, ServerCPU: cpu / 2, PostgresCPU: cpu / 2, BothCPU: cpu}}})
	}
	var text bytes.Buffer
	if err := report(&text, []cell{
		size("a-1", "a", 1, 1000, 10, 1), size("a-1", "a", 32, 1000, 10, 2),
		size("a-2", "a", 1, 4000, 40, 2.5), size("a-2", "a", 32, 4000, 40, 3.5),
		size("b-1", "b", 1, 5000, 100, 5), size("b-2", "b", 1, 5000, 110, 5.5), size("b-3", "b", 1, 5000, 330, -1),
	}); err != nil {
		t.Fatal(err)
	}
	sameFields(t, text.String(), []string{
		"workload conns bytes objects req/s server CPU postgres CPU server + Postgres µs / KB µs / object µs / further object",
		"a-1 x 1 1000 10 10 0.500 0.500 1.000 1000.0 100.0",
		"a-2 x 1 4000 40 10 1.250 1.250 2.500 625.0 62.5 50.0",
		"b-1 x 1 5000 100 10 2.500 2.500 5.000 1000.0 50.0",
		"b-2 x 1 5000 110 10 2.750 2.750 5.500 1100.0 50.0",
		"b-3 x 1 5000 330 10 n/a n/a n/a n/a n/a n/a",
		"a-1 x 32 1000 10 10 1.000 1.000 2.000 2000.0 200.0",
		"a-2 x 32 4000 40 10 1.750 1.750 3.500 875.0 87.5 50.0",
	})
}

func TestServersTakeTurns(t *testing.T) {
	t.Parallel()
	both := []target{{server: "a"}, {server: "b"}}
	var got string
	for round := range 4 {
		for _, to := range turns(both, round) {
			got += to.server
		}
	}
	if got != "abbaabba" || both[0].server != "a" {
		t.Errorf("got %s", got)
	}
	if alone := turns(both[1:], 1); len(alone) != 1 || alone[0].server != "b" {
		t.Errorf("got %v", alone)
	}
}

func TestObjectsAreCounted(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{
		`{"data":{"a":[{"b":1},{"b":{}}],"c":null}}`: 5,
		`{"data":{"a":"{{{\"{"}}`:                    2,
		``:                                           0,
		`[1]`:                                        0,
	} {
		if got := objects([]byte(body)); got != want {
			t.Errorf("%s: got %d, want %d", body, got, want)
		}
	}
}

func TestChainsAreAsDeepAsTheySay(t *testing.T) {
	t.Parallel()
	for depth := 2; depth <= 8; depth++ {
		query := chain(depth)
		deepest, now := 0, 0
		for _, c := range query {
			switch c {
			case '{':
				now++
				deepest = max(deepest, now)
			case '}':
				now--
			}
		}
		if now != 0 || deepest != depth+1 || strings.Count(query, "{") != depth+1 { // one is the operation's
			t.Errorf("depth %d: %s", depth, query)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	t.Parallel()
	good := options{workloads: "w4,w1", connections: "1,32", rounds: 1, duration: time.Second, variables: 1}
	workloads, connections, err := good.parse()
	if err != nil || len(workloads) != 2 || workloads[0].name != "w4" || workloads[1].name != "w1" || !slices.Equal(connections, []int{1, 32}) {
		t.Errorf("got %v, %v, %v", workloads, connections, err)
	}
	grown := good
	grown.workloads = "w3,scaling,depth-2"
	var names []string
	if workloads, _, err = grown.parse(); err != nil {
		t.Error(err)
	}
	for _, w := range workloads {
		names = append(names, w.name)
	}
	if got := strings.Join(names, " "); got != "w3 orders-5 orders-20 orders-80 depth-2 depth-4 depth-8 depth-2" {
		t.Errorf("got %s", got)
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
