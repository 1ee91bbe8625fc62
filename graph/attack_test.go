package graph

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"emporium/e2e/attack"
)

// TestAttacks sends each attack to a server with the limits of production, and wants it to be refused, or to do no harm: no
// 5xx, no error of our own, no more statements than a page needs, and nothing of what was sent in the answer.
func TestAttacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1).limited()
	for _, c := range attack.All() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if len(c.Body) > attack.MostBody {
				t.Fatalf("%d bytes", len(c.Body))
			}
			a := w.send(w.request("", []byte(c.Body)))
			if !strings.Contains(a.body, c.Says) || a.status >= 500 || strings.Contains(a.body, "INTERNAL") {
				t.Errorf("%d %.300s", a.status, a.body)
			}
			if c.Says != "" && (a.status == http.StatusOK || len(a.statements) > 0) && !strings.Contains(a.body, "BAD_USER_INPUT") {
				t.Errorf("it is done: %d %.300s %v", a.status, a.body, a.statements)
			}
			if len(a.body) > 64<<10 || len(a.statements) > 5 {
				t.Errorf("%d bytes, statements %v", len(a.body), a.statements)
			}
		})
	}
	if a := w.ask("", `{ products(first: 1) { totalCount } }`, nil); !strings.Contains(a.body, `"totalCount":1`) {
		t.Errorf("after all that: %s", a.body)
	}
}

// BenchmarkAttacks measures what an attack costs: the CPU time of the process, which is to be below 50 ms, and the memory that
// is allocated. Each is sent with something else in it every time, so that nothing is known of it.
func BenchmarkAttacks(b *testing.B) {
	w := newWorld(b, 1).limited()
	for _, c := range attack.All() {
		b.Run(strings.ReplaceAll(c.Name, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			before, n := cpuTime(), 0
			for b.Loop() {
				n++
				body := strings.Replace(c.Body, `{"query":"`, fmt.Sprintf(`{"query":"#%d\n`, n), 1)
				r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w.handler.ServeHTTP(httptest.NewRecorder(), r)
			}
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/1000/float64(n), "cpu-ms/op")
		})
	}
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
