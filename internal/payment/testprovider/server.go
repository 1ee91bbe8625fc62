// Package testprovider is a payment provider of our own, for development and tests: a process with an API over HTTP, books
// that outlive it, cards that do what is hard to wait for, and webhooks that come late, twice and out of order when they are
// told to. It moves no money. Client speaks to it.
package testprovider

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"emporium/internal/httpserver"
	"emporium/internal/money"
	"emporium/internal/payment/provider"
)

// Config is what a test provider needs.
type Config struct {
	Addr          string // HOST:PORT to listen on; the host has to be of this machine, since anybody can approve payments
	Books         string // the file, which is made when it is missing
	APIKey        string
	WebhookSecret string
	WebhookURL    string        // empty: as the books say, which is nowhere until somebody tells them
	Late          time.Duration // what card_late takes; 3 s
	RefundDelay   time.Duration // what a pending refund takes; 3 s
	Log           *slog.Logger  // slog.Default()
	Ready         func(url string)
}

// Run answers until ctx is done.
func Run(ctx context.Context, c Config) (err error) {
	if c.APIKey == "" || c.WebhookSecret == "" {
		return errors.New("test provider: TEST_PROVIDER_KEY and TEST_PROVIDER_WEBHOOK_SECRET are needed")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Late == 0 {
		c.Late = 3 * time.Second
	}
	if c.RefundDelay == 0 {
		c.RefundDelay = 3 * time.Second
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return fmt.Errorf("test provider: %w", err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return errors.Join(fmt.Errorf("test provider: %s can be reached from other machines", c.Addr), l.Close())
	}
	books, err := openBooks(c.Books)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { err = errors.Join(err, books.db.Close()) }()
	s := &server{Config: c, books: books, url: "http://" + l.Addr().String(), ending: ctx.Done(), wake: make(chan struct{}, 1),
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: deliveries}}}
	if c.WebhookURL != "" {
		if err := s.setWebhooks(func(w *Webhooks) { w.URL = c.WebhookURL }); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return s.deliver(ctx) })
	work.Go(func() error { return httpserver.Serve(ctx, l, s.routes(), 5*time.Second, "", "") })
	if c.Ready != nil {
		c.Ready(s.url)
	}
	c.Log.InfoContext(ctx, "test provider", "url", s.url, "books", filepath.Base(c.Books))
	return work.Wait()
}

// server answers from the books.
type server struct {
	Config
	books  *books
	url    string
	ending <-chan struct{}
	wake   chan struct{} // something was queued
	client *http.Client  // for webhooks
	busy   sync.Map      // idempotency keys that are being worked on
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	api := func(pattern string, do func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			var body any
			err := refuse(401, provider.CodeCredentials, "the API key is missing or wrong")
			if subtle.ConstantTimeCompare([]byte(key), []byte(s.APIKey)) == 1 {
				r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
				body, err = do(r)
			}
			s.respond(w, body, err)
		})
	}
	api("POST /v1/payments", s.authorize)
	api("POST /v1/payments/{reference}/captures", s.capture)
	api("POST /v1/payments/{reference}/void", s.void)
	api("POST /v1/payments/{reference}/refunds", s.refund)
	api("GET /v1/payments/{reference}", s.find)
	api("GET /v1/payments", s.list)
	api("GET /v1/books", s.allBooks)
	api("GET /v1/webhooks", s.getWebhooks)
	api("PUT /v1/webhooks", s.putWebhooks)
	mux.HandleFunc("GET /pay/{reference}", s.page)
	mux.HandleFunc("POST /pay/{reference}", s.decide)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	return mux
}

func (s *server) respond(w http.ResponseWriter, body any, err error) {
	status := http.StatusOK
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		status, body = refused.Status, refused
	case err != nil:
		s.Log.Error("test provider", "error", err)
		status, body = http.StatusInternalServerError, refusal{Code: provider.CodeUnavailable, Message: "internal error"}
	}
	if done, ok := body.(answer); ok {
		status, body = done.Status, done.Body
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func readJSON(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refuse(400, provider.CodeBadRequest, "the body cannot be read: %v", err)
	}
	return nil
}

// once does what is asked for with a key, if it was not done yet, and answers as it did then if it was.
func (s *server) once(r *http.Request, key uuid.UUID, request any, how manner, do func(l *ledger) (*Payment, error)) (any, error) {
	if key == uuid.Nil {
		return nil, refuse(400, provider.CodeBadRequest, "the ID is missing")
	}
	raw, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(append([]byte(r.URL.Path+"\n"), raw...))
	if _, taken := s.busy.LoadOrStore(key, true); taken {
		return nil, refuse(409, provider.CodeInProgress, "the same is being done")
	}
	defer s.busy.Delete(key)
	if how == late {
		known := false
		err := s.books.read(func(l *ledger) error {
			known = l.Bucket(answers).Get(key[:]) != nil
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !known {
			select {
			case <-time.After(s.Late):
			case <-s.ending:
				panic(http.ErrAbortHandler)
			}
		}
	}
	var given answer
	replayed := false
	err = s.books.write(func(l *ledger) error {
		given = answer{}
		known, err := l.get(answers, key[:], &given)
		switch replayed = known && given.Status != 0; {
		case err != nil:
			return err
		case known && string(given.Request) != string(digest[:]):
			return refuse(400, provider.CodeKeyReused, "the key was used for another request")
		case replayed:
			return nil
		}
		first := !known
		given.Request = digest[:]
		if !(first && how == failOnce) {
			p, err := do(l)
			var refused *refusal
			switch {
			case err == nil:
				given.Status = http.StatusOK
				given.Body, err = json.Marshal(p.State)
			case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
				given.Status = refused.Status
				given.Body, err = json.Marshal(refused)
			}
			if err != nil {
				return err
			}
		}
		return l.put(answers, key[:], given)
	})
	if err != nil {
		return nil, err
	}
	s.queued()
	if given.Status == 0 {
		return nil, refuse(500, provider.CodeUnavailable, "this card fails once")
	}
	if how == silently && !replayed {
		s.busy.Delete(key)
		select {
		case <-r.Context().Done():
		case <-s.ending:
		}
		panic(http.ErrAbortHandler) // not even the end of an answer
	}
	return given, nil
}

func (s *server) authorize(r *http.Request) (any, error) {
	var q provider.AuthorizeRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	c, known := cards[q.Method]
	if _, err := money.ParseCurrency(string(q.Currency)); err != nil || q.Amount <= 0 || !known {
		return nil, refuse(400, provider.CodeBadRequest, "%d %.10q by %.40q: there is no such amount, currency or card", q.Amount, q.Currency, q.Method)
	}
	return s.once(r, q.PaymentID, q, c.authorize, func(l *ledger) (*Payment, error) {
		return l.authorize(q, c, s.url+"/pay/")
	})
}

// change is once for a payment that is known.
func (s *server) change(r *http.Request, key uuid.UUID, request any, manner func(card) manner, do func(l *ledger, p *Payment) error) (any, error) {
	reference := r.PathValue("reference")
	how := well
	err := s.books.read(func(l *ledger) error {
		p, err := l.payment(reference)
		how = manner(cards[p.Card])
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.once(r, key, request, how, func(l *ledger) (*Payment, error) {
		p, err := l.payment(reference)
		if err != nil {
			return nil, err
		}
		return p, do(l, p)
	})
}

func (s *server) capture(r *http.Request) (any, error) {
	var q provider.CaptureRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	return s.change(r, q.CommandID, q, func(c card) manner { return c.capture },
		func(l *ledger, p *Payment) error { return l.capture(p, q) })
}

func (s *server) void(r *http.Request) (any, error) {
	var q provider.VoidRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	return s.change(r, q.CommandID, q, func(card) manner { return well },
		func(l *ledger, p *Payment) error { return l.void(p, q) })
}

func (s *server) refund(r *http.Request) (any, error) {
	var q provider.RefundRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	return s.change(r, q.CommandID, q, func(c card) manner { return c.refund },
		func(l *ledger, p *Payment) error { return l.refund(p, q, s.RefundDelay) })
}

func (s *server) find(r *http.Request) (any, error) { return s.state(r.PathValue("reference")) }

func (s *server) state(reference string) (found provider.State, err error) {
	err = s.books.read(func(l *ledger) error {
		p, err := l.payment(reference)
		found = p.State
		return err
	})
	return found, err
}

// listed is a page of a list.
type listed struct {
	Data []provider.State `json:"data"`
	Next string           `json:"next"`
}

const pageSize = 100

// list answers by payment_id, or by from and cursor.
func (s *server) list(r *http.Request) (any, error) {
	query := r.URL.Query()
	out := listed{Data: []provider.State{}}
	if by := query.Get("payment_id"); by != "" {
		paymentID, err := uuid.Parse(by)
		if err != nil {
			return nil, refuse(400, provider.CodeBadRequest, "payment_id: %v", err)
		}
		reference := ""
		if err := s.books.read(func(l *ledger) error { reference = l.referenceOf(paymentID); return nil }); err != nil || reference == "" {
			return out, err
		}
		found, err := s.state(reference)
		out.Data = append(out.Data, found)
		return out, err
	}
	from, err := time.Parse(time.RFC3339Nano, query.Get("from"))
	cursor, cursorErr := base64.RawURLEncoding.DecodeString(query.Get("cursor"))
	if err := errors.Join(err, cursorErr); err != nil {
		return nil, refuse(400, provider.CodeBadRequest, "from, cursor: %v", err)
	}
	err = s.books.read(func(l *ledger) error {
		data, next, err := l.since(from, string(cursor), pageSize)
		out = listed{data, base64.RawURLEncoding.EncodeToString([]byte(next))}
		return err
	})
	return out, err
}

// Books are all that was booked.
type Books struct {
	Payments []*Payment `json:"payments"`
}

func (s *server) allBooks(*http.Request) (any, error) {
	var out Books
	err := s.books.read(func(l *ledger) (err error) {
		out.Payments, err = l.all()
		return err
	})
	return out, err
}

// page asks the customer.
func (s *server) page(w http.ResponseWriter, r *http.Request) {
	var p *Payment
	err := s.books.read(func(l *ledger) (err error) {
		p, err = l.payment(r.PathValue("reference"))
		return err
	})
	s.show(w, p, err)
}

func (s *server) decide(w http.ResponseWriter, r *http.Request) {
	var p *Payment
	err := s.books.write(func(l *ledger) (err error) {
		p, err = l.act(r.PathValue("reference"), r.FormValue("answer") == "approve")
		return err
	})
	s.queued()
	if err == nil && p.ReturnURL != "" {
		http.Redirect(w, r, p.ReturnURL, http.StatusSeeOther)
		return
	}
	s.show(w, p, err)
}

func (s *server) show(w http.ResponseWriter, p *Payment, err error) {
	if err != nil {
		s.respond(w, nil, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	if err := payPage.Execute(w, map[string]any{"State": &p.State, "Amount": money.New(p.State.Amount, p.State.Currency).String(),
		"Open": p.State.Status == provider.ActionRequired}); err != nil {
		s.Log.Error("test provider", "error", err)
	}
}

var payPage = template.Must(template.New("pay").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Test bank</title>
<style>body{font:16px system-ui;max-width:24rem;margin:4rem auto;padding:0 1rem}button{font:inherit;padding:.6rem 1.2rem;margin-right:.5rem}</style>
<h1>Test bank</h1>
{{if .Open}}<p>Pay {{.Amount}} by the {{.State.Method.Brand}} card that ends in {{.State.Method.LastFour}}? No money moves.</p>
<form method="post"><button name="answer" value="approve">Approve</button><button name="answer" value="decline">Decline</button></form>
{{else}}<p>The payment of {{.Amount}} is {{.State.Status}}. You can close this page.</p>{{end}}
`))

func upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
