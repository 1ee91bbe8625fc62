package testprovider_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/payment/provider"
	"emporium/internal/payment/provider/providertest"
	"emporium/internal/payment/testprovider"
)

const (
	apiKey        = "the-key"
	webhookSecret = "the-secret"
	books         = "TESTPROVIDER_BOOKS"
)

// TestMain is the provider's process when it is told where the books are.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	path := os.Getenv(books)
	if path == "" {
		m.Run()
		return
	}
	err := testprovider.Run(context.Background(), testprovider.Config{Addr: "127.0.0.1:0", Books: path, APIKey: apiKey,
		WebhookSecret: webhookSecret, Late: 300 * time.Millisecond, RefundDelay: 300 * time.Millisecond,
		Ready: func(url string) { _, _ = io.WriteString(os.Stdout, url+"\n") }})
	slog.Error("test provider", "error", err)
	os.Exit(1)
}

// process is a test provider that runs.
type process struct {
	*testprovider.Client
	url string
	cmd *exec.Cmd
}

// kill ends the process as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// start runs a test provider on books.
func start(t *testing.T, path string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), books+"="+path), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd}
	t.Cleanup(p.kill)
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatalf("the test provider did not start: %v", err)
	}
	p.url = strings.TrimSpace(string(line[:n]))
	p.Client = testprovider.NewClient(p.url, apiKey, webhookSecret)
	return p
}

func fresh(t *testing.T) *process { return start(t, filepath.Join(t.TempDir(), "books.db")) }

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// eventually polls until what is waited for is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("10 s passed without %s", what)
		}
	}
}

func TestConforms(t *testing.T) {
	t.Parallel()
	p := fresh(t)
	cards := providertest.Cards{OK: "card_ok", Declined: "card_declined", Action: "card_action"}
	t.Run("alone", func(t *testing.T) { providertest.Money(t, p, cards) })
	t.Run("guarded", func(t *testing.T) { providertest.Money(t, provider.Resilient(p, provider.Options{}), cards) })
}

func TestErrors(t *testing.T) {
	t.Parallel()
	providertest.Errors(t, func(url string) provider.Provider { return testprovider.NewClient(url, apiKey, webhookSecret) })
	p := fresh(t)
	_, err := testprovider.NewClient(p.url, "wrong", webhookSecret).Authorize(t.Context(), providertest.Request("card_ok"))
	if provider.CodeOf(err) != provider.CodeCredentials || provider.IsTemporary(err) {
		t.Errorf("a wrong key: %v", err)
	}
	if b := must[testprovider.Books](t)(p.Books(t.Context())); len(b.Payments) != 0 {
		t.Errorf("booked: %+v", b.Payments)
	}
}

func TestDeclines(t *testing.T) {
	t.Parallel()
	p := fresh(t)
	for card, code := range map[string]provider.FailureCode{"card_declined": provider.Declined,
		"card_insufficient_funds": provider.InsufficientFunds, "card_expired": provider.ExpiredCard} {
		s := must[provider.State](t)(p.Authorize(t.Context(), providertest.Request(card)))
		if s.Status != provider.Failed || s.Failure == nil || s.Failure.Code != code || s.Failure.Message != code.Message() {
			t.Errorf("%s: %+v", card, s)
		}
	}
}

func TestAnswersThatGetLost(t *testing.T) {
	t.Parallel()
	p := fresh(t)
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	t.Run("silent", func(t *testing.T) {
		r := providertest.Request("card_timeout")
		_, err := p.Authorize(soon(), r)
		if provider.CodeOf(err) != provider.CodeTimeout || !provider.IsUnknown(err) {
			t.Fatal(err)
		}
		s, known, err := p.Find(t.Context(), r.PaymentID, "")
		if err != nil || !known || s.Status != provider.Authorized {
			t.Fatalf("booked: %+v, %v, %v", s, known, err)
		}
		if again := must[provider.State](t)(p.Authorize(t.Context(), r)); again.Reference != s.Reference {
			t.Fatalf("tried again it is another: %+v", again)
		}
	})
	t.Run("silent, guarded", func(t *testing.T) {
		g := provider.Resilient(p, provider.Options{Deadline: 100 * time.Millisecond, Backoff: time.Millisecond})
		s := must[provider.State](t)(g.Authorize(t.Context(), providertest.Request("card_timeout")))
		if s.Status != provider.Authorized {
			t.Fatalf("%+v", s)
		}
	})
	t.Run("late", func(t *testing.T) {
		r := providertest.Request("card_late")
		if _, err := p.Authorize(soon(), r); !provider.IsUnknown(err) {
			t.Fatal(err)
		}
		if _, known, err := p.Find(t.Context(), r.PaymentID, ""); known || err != nil {
			t.Fatalf("known too early: %v, %v", known, err)
		}
		if _, err := p.Authorize(t.Context(), r); provider.CodeOf(err) != provider.CodeInProgress || !provider.IsUnknown(err) {
			t.Fatalf("asked again while it is done: %v", err)
		}
		eventually(t, "the late payment", func() bool {
			_, known, err := p.Find(t.Context(), r.PaymentID, "")
			return known && err == nil
		})
	})
	t.Run("unavailable", func(t *testing.T) {
		r := providertest.Request("card_unavailable_once")
		_, err := p.Authorize(t.Context(), r)
		if provider.CodeOf(err) != provider.CodeUnavailable || !provider.IsTemporary(err) {
			t.Fatal(err)
		}
		if _, known, _ := p.Find(t.Context(), r.PaymentID, ""); known {
			t.Fatal("it was booked")
		}
		if s := must[provider.State](t)(p.Authorize(t.Context(), r)); s.Status != provider.Authorized {
			t.Fatalf("%+v", s)
		}
	})
	t.Run("capture", func(t *testing.T) {
		s := must[provider.State](t)(p.Authorize(t.Context(), providertest.Request("card_capture_timeout")))
		r := provider.CaptureRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 400, Currency: "EUR"}
		if _, err := p.Capture(soon(), r); !provider.IsUnknown(err) {
			t.Fatal(err)
		}
		if s = must[provider.State](t)(p.Capture(t.Context(), r)); s.Captured != 400 {
			t.Fatalf("%+v", s)
		}
	})
	t.Run("capture fails", func(t *testing.T) {
		s := must[provider.State](t)(p.Authorize(t.Context(), providertest.Request("card_capture_fails")))
		r := provider.CaptureRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 400, Currency: "EUR"}
		for range 2 {
			if _, err := p.Capture(t.Context(), r); provider.CodeOf(err) != provider.CodeNotCapturable || provider.IsUnknown(err) {
				t.Fatal(err)
			}
		}
	})
}

// inbox takes webhooks.
type inbox struct {
	url    string
	mu     sync.Mutex
	events []provider.Event
	refuse int // how many are answered with 500 first
}

func receive(t *testing.T, p provider.Provider) *inbox {
	in := new(inbox)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		e, parseErr := p.ParseWebhook(r.Header, body, time.Now())
		if err := errors.Join(err, parseErr); err != nil {
			t.Error(err)
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.refuse > 0 {
			in.refuse--
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		}
		in.events = append(in.events, e)
	}))
	t.Cleanup(server.Close)
	in.url = server.URL
	return in
}

func (in *inbox) all() []provider.Event {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.events)
}

func TestCustomerActs(t *testing.T) {
	t.Parallel()
	p := fresh(t)
	in := receive(t, p)
	if err := p.SetWebhooks(t.Context(), testprovider.Webhooks{URL: in.url}); err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, c := range []struct {
		card, answer string
		status       provider.Status
	}{{"card_action", "approve", provider.Authorized}, {"card_action", "decline", provider.Failed},
		{"card_action_fails", "approve", provider.Failed}} {
		s := must[provider.State](t)(p.Authorize(t.Context(), providertest.Request(c.card)))
		page := must[*http.Response](t)(browser.Get(s.Action.URL))
		html, err := io.ReadAll(page.Body)
		_ = page.Body.Close()
		if err != nil || !strings.Contains(string(html), "10.00 EUR") || !strings.Contains(string(html), "mastercard card that ends in 3") {
			t.Fatalf("%s: %v", html, err)
		}
		for range 2 { // a second press changes nothing
			back := must[*http.Response](t)(browser.PostForm(s.Action.URL, url.Values{"answer": {c.answer}}))
			_ = back.Body.Close()
			if back.StatusCode != http.StatusSeeOther || back.Header.Get("Location") != "https://shop.example/return" {
				t.Fatalf("%d to %q", back.StatusCode, back.Header.Get("Location"))
			}
		}
		var told []provider.State
		eventually(t, "two webhooks", func() bool {
			told = nil
			for _, e := range in.all() {
				if e.State.Reference == s.Reference && e.Relevant && e.ID != "" {
					told = append(told, e.State)
				}
			}
			return len(told) == 2
		})
		merged := providertest.Merge(told[1], told[0])
		now, _, err := p.Find(t.Context(), s.PaymentID, "")
		if err != nil || now.Status != c.status || now.Action != nil || merged.Status != c.status || merged.Authorized != now.Authorized {
			t.Fatalf("%s, %s: %+v, told %+v, %v", c.card, c.answer, now, merged, err)
		}
	}
}

func TestRefundsThatTakeTime(t *testing.T) {
	t.Parallel()
	p := fresh(t)
	for card, want := range map[string]provider.RefundStatus{"card_refund_pending": provider.RefundSucceeded, "card_refund_fails": provider.RefundFailed} {
		s := must[provider.State](t)(p.Authorize(t.Context(), providertest.Request(card)))
		s = must[provider.State](t)(p.Capture(t.Context(), provider.CaptureRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 1000, Currency: "EUR", Final: true}))
		s = must[provider.State](t)(p.Refund(t.Context(), provider.RefundRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 600, Currency: "EUR"}))
		if s.Refunded != 0 || len(s.Refunds) != 1 || s.Refunds[0].Status == provider.RefundSucceeded {
			t.Fatalf("%s: %+v", card, s)
		}
		_, err := p.Refund(t.Context(), provider.RefundRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 401, Currency: "EUR"})
		if want == provider.RefundSucceeded && provider.CodeOf(err) != provider.CodeNotRefundable {
			t.Fatalf("more than is left while a refund is pending: %v", err)
		}
		eventually(t, "the end of the refund", func() bool {
			s, _, err := p.Find(t.Context(), s.PaymentID, "")
			return err == nil && s.Refunds[0].Status == want && (s.Refunded == 600) == (want == provider.RefundSucceeded)
		})
	}
}

// TestWebhooks come at least once to one who refuses some, and as badly as they are told to.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "books.db")
	p := start(t, path)
	in := receive(t, p)
	in.refuse = 5
	err := p.SetWebhooks(t.Context(), testprovider.Webhooks{URL: in.url, Duplicates: 1, Delay: 50 * time.Millisecond, Shuffle: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]provider.State{}
	for range 10 {
		s := must[provider.State](t)(p.Authorize(t.Context(), providertest.Request("card_ok")))
		s = must[provider.State](t)(p.Capture(t.Context(), provider.CaptureRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 700, Currency: "EUR", Final: true}))
		want[s.Reference] = must[provider.State](t)(p.Refund(t.Context(), provider.RefundRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 100, Currency: "EUR"}))
	}
	p.kill() // what was not delivered is delivered by the next
	p = start(t, path)
	eventually(t, "an empty queue", func() bool {
		return must[testprovider.WebhookSettings](t)(p.Webhooks(t.Context())).Queued == 0
	})
	got, times := map[string]provider.State{}, map[string]int{}
	for _, e := range in.all() {
		times[e.ID]++
		if have, known := got[e.State.Reference]; known {
			got[e.State.Reference] = providertest.Merge(have, e.State)
		} else {
			got[e.State.Reference] = e.State
		}
	}
	if len(times) != 30 || len(slices.DeleteFunc(slices.Collect(maps.Values(times)), func(n int) bool { return n >= 2 })) != 0 {
		t.Errorf("events and how often they came: %v", times)
	}
	for reference, s := range want {
		g := got[reference]
		if g.Captured != 700 || g.Voided != 300 || g.Refunded != 100 || !reflect.DeepEqual(g.Refunds, s.Refunds) {
			t.Errorf("told %+v, want %+v", g, s)
		}
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	p := fresh(t)
	var header http.Header
	var body []byte
	came := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header.Clone()
		close(came)
	}))
	defer server.Close()
	if err := p.SetWebhooks(t.Context(), testprovider.Webhooks{URL: server.URL}); err != nil {
		t.Fatal(err)
	}
	s := must[provider.State](t)(p.Authorize(t.Context(), providertest.Request("card_ok")))
	<-came
	if _, err := testprovider.NewClient(p.url, apiKey, "another").ParseWebhook(header, body, time.Now()); !errors.Is(err, provider.ErrSignature) {
		t.Errorf("by another secret: %v", err)
	}
	e := providertest.Signatures(t, p, body, func(at time.Time, body []byte) http.Header {
		return http.Header{"Test-Provider-Signature": {testprovider.Sign(webhookSecret, at, body)}}
	})
	if e.Type != "payment.authorized" || !reflect.DeepEqual(e.State, s) {
		t.Errorf("event %+v of %+v", e, s)
	}
}

// TestCrash kills the provider with SIGKILL under load, and then holds the books against every answer that came.
func TestCrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "books.db")
	var mu sync.Mutex
	told := map[string]provider.State{}               // by reference, of all answers
	booked := map[uuid.UUID]string{}                  // by key, what was answered to
	open := map[uuid.UUID]provider.AuthorizeRequest{} // asked for without an answer
	answered := func(key uuid.UUID, s provider.State) {
		mu.Lock()
		defer mu.Unlock()
		booked[key] = s.Reference
		if have, known := told[s.Reference]; known {
			s = providertest.Merge(have, s)
		}
		told[s.Reference] = s
	}
	for range 3 {
		p := start(t, path)
		var work sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for range 8 {
			work.Go(func() {
				for n := 0; ; n++ {
					r := providertest.Request("card_ok")
					s, err := p.Authorize(t.Context(), r)
					if err != nil {
						mu.Lock()
						open[r.PaymentID] = r
						mu.Unlock()
						return
					}
					answered(r.PaymentID, s)
					var parts sync.WaitGroup
					for range 2 {
						parts.Go(func() {
							c := provider.CaptureRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 400, Currency: "EUR"}
							if s, err := p.Capture(t.Context(), c); err == nil {
								answered(c.CommandID, s)
							}
							r := provider.RefundRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 100, Currency: "EUR"}
							if s, err := p.Refund(t.Context(), r); err == nil {
								answered(r.CommandID, s)
							}
						})
					}
					parts.Wait()
					if n == 10 {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		p.kill()
		work.Wait()
	}

	p := start(t, path)
	if len(open) == 0 {
		t.Error("no call was cut off")
	}
	for key, r := range open { // the same key brings what was booked, or books it
		answered(key, must[provider.State](t)(p.Authorize(t.Context(), r)))
	}
	b := must[testprovider.Books](t)(p.Books(t.Context()))
	seen := map[uuid.UUID]string{}
	for _, page := range b.Payments {
		s, captured, refunded := page.State, int64(0), int64(0)
		for _, op := range page.Operations {
			if op.Refused != "" {
				continue
			}
			if _, twice := seen[op.Key]; twice {
				t.Errorf("%s %s is booked twice", op.Kind, op.Key)
			}
			seen[op.Key] = s.Reference
			switch op.Kind {
			case "capture":
				captured += op.Amount
			case "refund":
				refunded += op.Amount
			}
		}
		if s.Captured != captured || s.Refunded != refunded || s.Captured > s.Authorized || s.Refunded > s.Captured {
			t.Errorf("%s: %+v, operations %+v", s.Reference, s, page.Operations)
		}
		have := told[s.Reference]
		if have.Captured > s.Captured || have.Refunded > s.Refunded || have.PaymentID != s.PaymentID {
			t.Errorf("%s: told %+v, booked %+v", s.Reference, have, s)
		}
	}
	for key, reference := range booked {
		if seen[key] != reference {
			t.Errorf("%s was answered with %s and is booked in %q", key, reference, seen[key])
		}
	}
	if len(b.Payments) != len(told) {
		t.Errorf("%d payments are booked, %d are known", len(b.Payments), len(told))
	}
}

func TestOnlyOnThisMachine(t *testing.T) {
	t.Parallel()
	c := testprovider.Config{Addr: "0.0.0.0:0", Books: filepath.Join(t.TempDir(), "books.db"), APIKey: "k", WebhookSecret: "s"}
	if err := testprovider.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "other machines") {
		t.Error(err)
	}
	c.Addr, c.APIKey = "127.0.0.1:0", ""
	if err := testprovider.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "TEST_PROVIDER_KEY") {
		t.Error(err)
	}
}

// TestStateOnTheWire is read as it was written.
func TestStateOnTheWire(t *testing.T) {
	t.Parallel()
	s := provider.State{Reference: "r", PaymentID: uuid.New(), Status: provider.Failed, Method: provider.Method{Kind: "card", Brand: new("visa")},
		Currency: "EUR", Amount: 1, Authorized: 2, Captured: 3, Voided: 4, Refunded: 5, MultiCapture: true,
		Refunds: []provider.Refund{{ID: "re", CommandID: uuid.New(), Amount: 1, Status: provider.RefundFailed, Reason: "x", At: time.Unix(1, 0).UTC()}},
		Failure: &provider.Failure{Code: provider.Declined, ProviderCode: "c", Message: "m"}, Action: &provider.Action{URL: "u", ClientSecret: "s"}, At: time.Unix(2, 0).UTC()}
	raw, err := json.Marshal(s)
	var back provider.State
	if err := errors.Join(err, json.Unmarshal(raw, &back)); err != nil || !reflect.DeepEqual(s, back) {
		t.Errorf("%+v, %v", back, err)
	}
}
