package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// target is a server with one workload's requests to it.
type target struct {
	server   string // its name
	addr     string
	pid      int
	requests [][]byte
}

// expectation is what is known of an answer: enough to notice that rows are missing, at little cost. The number of JSON
// objects is not compared but reported.
type expectation struct {
	bytes, rows, objects int
	exact                string // all of the answer, where it is known; the rest is not looked at then
}

var answered = []byte(`{"data":{"`) // errors would stand before

// expect looks at an answer in full.
func expect(status int, body []byte, marker string) (expectation, error) {
	e := expectation{bytes: len(body), rows: bytes.Count(body, []byte(marker)), objects: objects(body)}
	if status != http.StatusOK || !bytes.HasPrefix(body, answered) || e.rows == 0 {
		return e, fmt.Errorf("status %d with %d rows: %.400s", status, e.rows, body)
	}
	return e, nil
}

// objects counts the JSON objects in an answer.
func objects(body []byte) (n int) {
	for in := json.NewDecoder(bytes.NewReader(body)); ; {
		token, err := in.Token()
		if err != nil {
			return n // the end; what is not JSON has failed the other checks
		}
		if token == json.Delim('{') {
			n++
		}
	}
}

// check compares an answer with what is expected of it.
func (e expectation) check(status int, body []byte, marker []byte) error {
	if e.exact != "" {
		if status == http.StatusOK && string(body) == e.exact {
			return nil
		}
		return fmt.Errorf("status %d, %d bytes, not the %d that were expected: %.200q", status, len(body), len(e.exact), body)
	}
	if status == http.StatusOK && len(body) == e.bytes && bytes.HasPrefix(body, answered) && bytes.Count(body, marker) == e.rows {
		return nil
	}
	return fmt.Errorf("status %d, %d bytes with %d rows, instead of 200, %d bytes with %d rows: %.400s",
		status, len(body), bytes.Count(body, marker), e.bytes, e.rows, body)
}

// agree asks all servers each request once, fails at the first answer that is not the same bytes as the first server's,
// and returns what is to be expected from now on.
func agree(ctx context.Context, targets []target, marker string) ([]expectation, error) {
	clients := make([]*client, len(targets))
	for i, t := range targets {
		c, err := dial(ctx, t.addr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.server, err)
		}
		defer c.close()
		clients[i] = c
	}
	a := targets[0]
	expected := make([]expectation, len(a.requests))
	for i := range a.requests {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		statusA, bodyA, err := clients[0].do(a.requests[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.server, err)
		}
		for j, b := range targets[1:] {
			statusB, bodyB, err := clients[1+j].do(b.requests[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.server, err)
			}
			if statusA != statusB || !bytes.Equal(bodyA, bodyB) {
				return nil, fmt.Errorf("request %d: the answers differ\n%s: status %d, %s\n%s: status %d, %s\nthe request: %s", i+1,
					a.server, statusA, around(bodyA, bodyB), b.server, statusB, around(bodyB, bodyA), bodyOf(a.requests[i]))
			}
		}
		if expected[i], err = expect(statusA, bodyA, marker); err != nil {
			return nil, fmt.Errorf("request %d: %w", i+1, err)
		}
	}
	return expected, nil
}

// around shows the part of an answer where it begins to differ from another one.
func around(body, other []byte) string {
	at := 0
	for at < min(len(body), len(other)) && body[at] == other[at] {
		at++
	}
	return fmt.Sprintf("%d bytes, from byte %d: …%s", len(body), at, body[max(0, at-80):min(len(body), at+120)])
}

func bodyOf(request []byte) string {
	_, body, _ := strings.Cut(string(request), "\r\n\r\n")
	return body
}

// plan says how a target is loaded.
type plan struct {
	connections      int
	warmup, duration time.Duration
	seed             uint64
	postmaster       int // 0: unknown
}

// maxSamples bounds what one connection remembers.
const maxSamples = 1 << 21

// result is what one measurement has found. CPU is in milliseconds for each request; -1 where it is not known.
type result struct {
	Requests          int     `json:"requests"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	P50               float64 `json:"p50_ms"`
	P99               float64 `json:"p99_ms"`
	ServerCPU         float64 `json:"server_cpu_ms"`
	PostgresCPU       float64 `json:"postgres_cpu_ms"`
	BothCPU           float64 `json:"server_and_postgres_cpu_ms"`
	ClientCPU         float64 `json:"client_cpu_ms"`
}

// drive asks over each connection one request after the other, for the warm-up and then for the measured time. Each
// connection takes its requests in an order that follows from the seed and its number alone. The first answer that is
// not what it should be ends it.
func drive(ctx context.Context, t target, expected []expectation, marker string, p plan) (result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clients := make([]*client, p.connections)
	for i := range clients {
		c, err := dial(ctx, t.addr)
		if err != nil {
			return result{}, err
		}
		defer c.close()
		clients[i] = c
	}
	begin := time.Now().Add(p.warmup)
	end := begin.Add(p.duration)
	took := make([][]time.Duration, p.connections)
	var group sync.WaitGroup
	for i, c := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(p.seed, uint64(i)))
			mark := []byte(marker)
			for sent := time.Now(); sent.Before(end) && ctx.Err() == nil && len(took[i]) < maxSamples; {
				n := random.IntN(len(t.requests))
				status, body, err := c.do(t.requests[n])
				if err == nil {
					err = expected[n].check(status, body, mark)
				}
				if err != nil {
					cancel(err)
					return
				}
				now := time.Now()
				if !now.Before(begin) && now.Before(end) {
					took[i] = append(took[i], now.Sub(sent))
				}
				sent = now
			}
		})
	}
	sleepUntil(ctx, begin)
	before := clocks(t.pid, p.postmaster)
	sleepUntil(ctx, end)
	after := clocks(t.pid, p.postmaster)
	group.Wait()
	if ctx.Err() != nil {
		return result{}, context.Cause(ctx)
	}

	all := slices.Concat(took...)
	if len(all) == 0 {
		return result{}, errors.New("no request was answered in the measured time")
	}
	slices.Sort(all)
	r := result{
		Requests: len(all), RequestsPerSecond: float64(len(all)) / p.duration.Seconds(),
		P50: milliseconds(percentile(all, 50)), P99: milliseconds(percentile(all, 99)),
	}
	for i, cpu := range []*float64{&r.ServerCPU, &r.PostgresCPU, &r.ClientCPU} {
		*cpu = -1
		if before[i] >= 0 && after[i] >= 0 {
			*cpu = milliseconds(after[i]-before[i]) / float64(len(all))
		}
	}
	r.BothCPU = -1
	if r.ServerCPU >= 0 && r.PostgresCPU >= 0 {
		r.BothCPU = r.ServerCPU + r.PostgresCPU
	}
	return r, nil
}

func sleepUntil(ctx context.Context, at time.Time) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(at)):
	}
}

// clocks returns the CPU time so far of a server, of Postgres and of this process; -1 where it is not known.
func clocks(server, postmaster int) [3]time.Duration {
	read := [3]time.Duration{-1, -1, -1}
	if cpu, ok := processCPU(server); ok {
		read[0] = cpu
	}
	if cpu, ok := postgresCPU(postmaster); ok && postmaster > 0 {
		read[1] = cpu
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		read[2] = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return read
}

// percentile returns the smallest of the sorted samples that p percent of them do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
