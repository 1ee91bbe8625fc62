package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/postgres"
	"emporium/internal/telemetry"
)

func TestLogLinesSayWhoAndWhich(t *testing.T) {
	t.Parallel()
	viewer := uuid.MustParse("0190a5d0-0000-7000-8000-00000000000a")
	request := telemetry.WithRequest(t.Context(), telemetry.Request{ID: "req-12345", ClientAddress: "192.0.2.7"})
	signedIn := auth.With(request, auth.Actor{ID: viewer, Roles: auth.Roles(auth.RoleCustomer)})
	for name, c := range map[string]struct {
		ctx  context.Context
		log  func(context.Context, *slog.Logger)
		want map[string]any // beside time
	}{
		"a signed-in viewer": {signedIn, func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "hello", "n", 1) },
			map[string]any{"level": "INFO", "msg": "hello", "n": 1.0, "request_id": "req-12345", "viewer": viewer.String()}},
		"nobody": {request, func(ctx context.Context, l *slog.Logger) { l.WarnContext(ctx, "hello") },
			map[string]any{"level": "WARN", "msg": "hello", "request_id": "req-12345"}},
		"an anonymous actor": {auth.With(request, auth.Actor{}), func(ctx context.Context, l *slog.Logger) { l.ErrorContext(ctx, "hello") },
			map[string]any{"level": "ERROR", "msg": "hello", "request_id": "req-12345"}},
		"no request": {t.Context(), func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "hello") },
			map[string]any{"level": "INFO", "msg": "hello"}},
		"no context": {signedIn, func(_ context.Context, l *slog.Logger) { l.Info("hello") },
			map[string]any{"level": "INFO", "msg": "hello"}},
		"a derived logger": {signedIn, func(ctx context.Context, l *slog.Logger) { l.With("part", "x").InfoContext(ctx, "hello") },
			map[string]any{"level": "INFO", "msg": "hello", "part": "x", "request_id": "req-12345", "viewer": viewer.String()}},
		"a group": {signedIn, func(ctx context.Context, l *slog.Logger) { l.WithGroup("g").InfoContext(ctx, "hello", "n", 1) },
			map[string]any{"level": "INFO", "msg": "hello", "g": map[string]any{"n": 1.0, "request_id": "req-12345", "viewer": viewer.String()}}},
		"below the level": {signedIn, func(ctx context.Context, l *slog.Logger) { l.DebugContext(ctx, "hello") }, nil},
	} {
		var out bytes.Buffer
		c.log(c.ctx, telemetry.NewLogger(&out, slog.LevelInfo))
		if c.want == nil {
			if out.Len() != 0 {
				t.Errorf("%s: it logs %s", name, &out)
			}
			continue
		}
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %s is not a line of JSON: %v", name, &out, err)
			continue
		}
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["time"])); err != nil {
			t.Errorf("%s: its time: %v", name, err)
		}
		delete(line, "time")
		if got, want := fmt.Sprint(line), fmt.Sprint(c.want); got != want {
			t.Errorf("%s: it logs %s, want %s", name, got, want)
		}
	}
}

func TestRequestFrom(t *testing.T) {
	t.Parallel()
	want := telemetry.Request{ID: "req-12345", ClientAddress: "192.0.2.7"}
	if got := telemetry.RequestFrom(telemetry.WithRequest(t.Context(), want)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := telemetry.RequestFrom(t.Context()); got != (telemetry.Request{}) {
		t.Errorf("without a request there is %+v", got)
	}
}

// lines returns the lines of the metric in Prometheus's text format, as label set → value.
func lines(t *testing.T, m *telemetry.Metrics, metric string) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("metrics answer %d: %s", w.Code, w.Body)
	}
	found := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		if rest, ok := strings.CutPrefix(line, metric); ok && (rest[0] == '{' || rest[0] == ' ') {
			at := strings.LastIndexByte(rest, '}') + 1
			found[rest[:at]] = strings.TrimSpace(rest[at:])
		}
	}
	return found
}

func wantLines(t *testing.T, m *telemetry.Metrics, metric string, want map[string]string) {
	t.Helper()
	if got := lines(t, m, metric); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s is\n%v, want\n%v", metric, got, want)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	m.Request("/graphql", "POST", "200", time.Millisecond)
	m.Request("/graphql", "POST", "200", time.Second)
	m.Request("other", "GET", "404", time.Second)
	m.InFlight(1)
	m.InFlight(1)
	m.InFlight(-1)
	m.Operation("Cart", "query", "ok", time.Millisecond)
	m.Operation("Cart", "query", "NOT_FOUND", time.Millisecond)
	m.Statement("orders.by_id", time.Millisecond, nil)
	m.Statement("orders.by_id", time.Millisecond, fmt.Errorf("orders.by_id: %w", context.DeadlineExceeded))
	m.Statement("orders.by_id", time.Millisecond, fault.New(fault.Conflict, "taken"))
	m.Statement("orders.by_id", time.Millisecond, errors.New("ada@example.com is taken"))
	m.Batch("Order.lines", 50)

	wantLines(t, m, "emporium_http_request_duration_seconds_count", map[string]string{
		`{method="POST",route="/graphql",status="200"}`: "2", `{method="GET",route="other",status="404"}`: "1"})
	wantLines(t, m, "emporium_http_request_duration_seconds_sum", map[string]string{
		`{method="POST",route="/graphql",status="200"}`: "1.001", `{method="GET",route="other",status="404"}`: "1"})
	wantLines(t, m, "emporium_http_requests_in_flight", map[string]string{"": "1"})
	wantLines(t, m, "emporium_graphql_operation_duration_seconds_count", map[string]string{
		`{kind="query",operation="Cart",outcome="ok"}`: "1", `{kind="query",operation="Cart",outcome="NOT_FOUND"}`: "1"})
	wantLines(t, m, "emporium_sql_statement_duration_seconds_count", map[string]string{
		`{outcome="ok",statement="orders.by_id"}`: "1", `{outcome="TIMEOUT",statement="orders.by_id"}`: "1",
		`{outcome="CONFLICT",statement="orders.by_id"}`: "1", `{outcome="INTERNAL",statement="orders.by_id"}`: "1"})
	wantLines(t, m, "emporium_loader_batch_keys_sum", map[string]string{`{edge="Order.lines"}`: "50"})
	if len(lines(t, m, "go_goroutines")) != 1 {
		t.Error("the figures of Go itself are missing")
	}
}

// TestOperationNamesAreBounded: names come from clients, who may send a new one with every request.
func TestOperationNamesAreBounded(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	m.Operation("Known", "query", "ok", 0)
	const senders, names = 8, 500
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for i := range names {
				m.Operation(fmt.Sprintf("Q%d_%d", sender, i), "query", "ok", 0)
			}
		})
	}
	group.Wait()
	m.Operation("Known", "query", "ok", 0)

	series := lines(t, m, "emporium_graphql_operation_duration_seconds_count")
	if len(series) != 201 {
		t.Errorf("there are %d series, want 200 names and the others", len(series))
	}
	if got := series[`{kind="query",operation="Known",outcome="ok"}`]; got != "2" {
		t.Errorf("a known name counts %s, want 2", got)
	}
	if got, want := series[`{kind="query",operation="other",outcome="ok"}`], fmt.Sprint(senders*names-199); got != want {
		t.Errorf("other names count %s, want %s", got, want)
	}
}

func TestPool(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	var users postgres.PoolStat
	m.Pool("users", func() postgres.PoolStat { return users })
	m.Pool("orders+payments", func() postgres.PoolStat { return postgres.PoolStat{Max: 4} })
	users = postgres.PoolStat{Acquired: 3, Idle: 2, Max: 16, Waited: 7, WaitTime: 1500 * time.Millisecond} // as it is when asked
	for metric, want := range map[string][2]string{
		"emporium_pool_connections_acquired": {"3", "0"},
		"emporium_pool_connections_idle":     {"2", "0"},
		"emporium_pool_connections_max":      {"16", "4"},
		"emporium_pool_waits":                {"7", "0"},
		"emporium_pool_wait_seconds":         {"1.5", "0"},
	} {
		wantLines(t, m, metric, map[string]string{`{database="users"}`: want[0], `{database="orders+payments"}`: want[1]})
	}
}

// TestSeveralInOneProcess: tests run many apps side by side.
func TestSeveralInOneProcess(t *testing.T) {
	t.Parallel()
	a, b := telemetry.NewMetrics(), telemetry.NewMetrics()
	a.InFlight(1)
	wantLines(t, a, "emporium_http_requests_in_flight", map[string]string{"": "1"})
	wantLines(t, b, "emporium_http_requests_in_flight", map[string]string{"": "0"})
}
