package mail_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	stdmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"emporium/internal/mail"
)

// server is a mail server for a test.
type server struct {
	address string
	roots   *tls.Config

	mu   sync.Mutex
	got  []string // whole mails
	from []string
	user string // who has signed in
}

// serve starts a server that encrypts from the start, on request, or never.
func serve(t *testing.T, mode string) *server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	s := &server{roots: &tls.Config{RootCAs: pool}}
	certificate := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	backend := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{server: s}, nil }))
	backend.Domain = "localhost"
	switch mode {
	case "smtps":
		l = tls.NewListener(l, certificate)
	case "starttls":
		backend.TLSConfig = certificate
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = backend.Serve(l) }()
	t.Cleanup(func() { _ = backend.Close(); <-done })
	return s
}

func (s *server) mails() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.got...)
}

type session struct{ *server }

func (*session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "p@ss" {
			return errors.New("wrong password of " + user)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.user = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = append(s.from, from)
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch {
	case strings.HasPrefix(to, "gone"):
		return &smtp.SMTPError{Code: 550, Message: "no mailbox " + to}
	case strings.HasPrefix(to, "busy"):
		return &smtp.SMTPError{Code: 450, Message: "try " + to + " later"}
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(b))
	return err
}

func (*session) Reset()        {}
func (*session) Logout() error { return nil }

func reset(to string) mail.Message {
	return mail.Message{Template: mail.PasswordReset, To: to, Data: mail.Link{Person: mail.Person{Name: "Zoë"}, Token: token, Hours: 1}}
}

func sender(t *testing.T, url string, roots *tls.Config) *mail.SMTP {
	t.Helper()
	s, err := mail.NewSMTP(url, writer(t), roots)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSMTP sends a mail in each way that a server may be reached, and reads what has come.
func TestSMTP(t *testing.T) {
	t.Parallel()
	for mode, url := range map[string]string{"smtps": "smtps://shop:p%40ss@", "starttls": "smtp://shop:p%40ss@", "plain": "smtp://"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := serve(t, mode)
			url += s.address
			if mode == "plain" {
				url += "?tls=off"
			}
			if err := sender(t, url, s.roots).Send(t.Context(), reset("zoe@example.com")); err != nil {
				t.Fatal(err)
			}
			got := s.mails()
			if len(got) != 1 || len(s.from) != 1 || s.from[0] != "shop@shop.example" || mode != "plain" && s.user != "shop" {
				t.Fatalf("%d mails from %v, signed in as %q", len(got), s.from, s.user)
			}
			m, err := stdmail.ReadMessage(strings.NewReader(got[0]))
			if err != nil {
				t.Fatal(err)
			}
			from, err := m.Header.AddressList("From")
			if err != nil || from[0].Name != "The Shop" || m.Header.Get("To") != "<zoe@example.com>" || m.Header.Get("Subject") != "Choose a new password" ||
				m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Message-Id") == "" || m.Header.Get("Date") == "" {
				t.Errorf("the header is %v", m.Header)
			}
			_, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
			if err != nil {
				t.Fatal(err)
			}
			parts := multipart.NewReader(m.Body, parameters["boundary"])
			for _, want := range []string{"Hello Zoë,\r\n", "Hello Zoë,</p>"} {
				p, err := parts.NextRawPart()
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(quotedprintable.NewReader(p))
				if err != nil || !strings.Contains(string(b), want) || !strings.Contains(string(b), "https://shop.example/de/account/password#token="+token) {
					t.Errorf("a part is %s, %v", b, err)
				}
			}
		})
	}
}

// TestSMTPRefusals wants errors that tell neither the recipient nor the password, and one kind for recipients that are not there.
func TestSMTPRefusals(t *testing.T) {
	t.Parallel()
	encrypting, plain := serve(t, "starttls"), serve(t, "plain")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	for name, c := range map[string]struct {
		ctx     context.Context
		url, to string
		roots   *tls.Config
		refused bool
	}{
		"a recipient that is not there": {t.Context(), "smtp://shop:p%40ss@" + encrypting.address, "gone@example.com", encrypting.roots, true},
		"a recipient for later":         {t.Context(), "smtp://shop:p%40ss@" + encrypting.address, "busy@example.com", encrypting.roots, false},
		"no address":                    {t.Context(), "smtp://shop:p%40ss@" + encrypting.address, "zoe@", encrypting.roots, true},
		"a wrong password":              {t.Context(), "smtp://shop:wrong@" + encrypting.address, "zoe@example.com", encrypting.roots, false},
		"an unknown authority":          {t.Context(), "smtp://shop:p%40ss@" + encrypting.address, "zoe@example.com", nil, false},
		"no encryption":                 {t.Context(), "smtp://" + plain.address, "zoe@example.com", plain.roots, false},
		"nobody there":                  {t.Context(), "smtp://127.0.0.1:1", "zoe@example.com", nil, false},
		"silence":                       {soon, "smtps://" + silent.Addr().String(), "zoe@example.com", nil, false},
	} {
		err := sender(t, c.url, c.roots).Send(c.ctx, reset(c.to))
		if err == nil || errors.Is(err, mail.ErrRefused) != c.refused {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, secret := range []string{"@example.com", "zoe@", "wrong", "p@ss", token} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells %s: %v", name, secret, err)
			}
		}
	}
	if n := len(encrypting.mails()) + len(plain.mails()); n != 0 {
		t.Errorf("%d mails have come", n)
	}
}
