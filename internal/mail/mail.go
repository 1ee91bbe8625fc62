// Package mail turns what is to be told to a person into a mail, and hands it to a mail server. What the mails say is in
// templates/: NAME.txt, which begins with the subject, and NAME.html, which layout.html goes around.
package mail

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	html "html/template"
	"io/fs"
	"log/slog"
	"net/mail"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	text "text/template"
	"unicode"
)

// Template names what a mail says.
type Template string

// The templates, each with the type of its data.
const (
	EmailVerification Template = "email_verification"  // Link
	EmailChange       Template = "email_change"        // Link
	EmailChangeNotice Template = "email_change_notice" // Person
	PasswordReset     Template = "password_reset"      // Link
	Invitation        Template = "invitation"          // Link

	OrderPlaced        Template = "order_placed"         // OrderNews
	OrderPaymentFailed Template = "order_payment_failed" // OrderNews
	OrderShipped       Template = "order_shipped"        // OrderNews
	OrderCanceled      Template = "order_canceled"       // OrderNews
)

// Person is whom a mail addresses.
type Person struct{ Name string } // "" when it is not known

// Link is what somebody proves by that they have got the mail.
type Link struct {
	Person
	Token string
	Hours int // that the token lasts
}

// OrderNews is what a customer is told about an order.
type OrderNews struct {
	Person
	Number string
	Total  string // with the currency
	Reason string // why something did not work; "" when it is not known
}

// Message is a mail before it is written.
type Message struct {
	Template Template
	To       string // an e-mail address
	Data     any
}

// ErrRefused says that the server does not take mail for the recipient, now or later.
var ErrRefused = errors.New("the mail server refuses the recipient")

// Mailer sends mails. It is safe for concurrent use. A mail that was sent may still not arrive. Errors hold neither the
// recipient nor what the mail says, so that they can be logged; ErrRefused is among them.
type Mailer interface {
	Send(ctx context.Context, m Message) error
}

// Unsent is a Mailer without a mail server: it drops mails, counts them, and says so once.
type Unsent struct {
	Log   *slog.Logger
	count atomic.Int64
}

// Send drops the mail.
func (u *Unsent) Send(ctx context.Context, m Message) error {
	if u.count.Add(1) == 1 {
		u.Log.WarnContext(ctx, "mails are not sent: SMTP_URL is not set", "template", m.Template)
	}
	return nil
}

// Count is how many mails were dropped.
func (u *Unsent) Count() int64 { return u.count.Load() }

// Mail is a message that was written.
type Mail struct{ To, Subject, Text, HTML string }

// Writer writes mails. It is safe for concurrent use.
type Writer struct {
	from  *mail.Address
	base  *url.URL
	texts map[Template]*text.Template
	htmls map[Template]*html.Template
}

//go:embed templates
var files embed.FS

// NewWriter returns the writer of a shop's mails: its name and address, `Shop <shop@example.com>`, and the address that
// links in mails begin with.
func NewWriter(from, publicURL string) (*Writer, error) {
	address, err := mail.ParseAddress(from)
	if err != nil {
		return nil, CheckFrom(from)
	}
	base, err := url.Parse(publicURL)
	if err := errors.Join(err, CheckPublicURL(publicURL)); err != nil {
		return nil, err
	}
	w := &Writer{from: address, base: base, texts: map[Template]*text.Template{}, htmls: map[Template]*html.Template{}}
	functions := map[string]any{
		"shop": func() string {
			if address.Name == "" {
				return base.Host
			}
			return address.Name
		},
		// A fragment stays in the browser: no server logs the token, and none is told it by a Referer.
		"link": func(page, token string) string {
			return base.JoinPath(page).String() + "#token=" + url.QueryEscape(token)
		},
	}
	layout, err := html.New("layout.html").Funcs(functions).ParseFS(files, "templates/layout.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "templates/*.txt")
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		name := Template(strings.TrimSuffix(path.Base(file), ".txt"))
		if w.texts[name], err = text.New(path.Base(file)).Funcs(functions).Option("missingkey=error").ParseFS(files, file); err != nil {
			return nil, err
		}
		if w.htmls[name], err = html.Must(layout.Clone()).ParseFS(files, "templates/"+string(name)+".html"); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// CheckFrom is nil for a sender that NewWriter takes.
func CheckFrom(from string) error {
	if _, err := mail.ParseAddress(from); err != nil {
		return fmt.Errorf("%q is not of the form NAME <ADDRESS>", from)
	}
	return nil
}

// CheckPublicURL is nil for an address of the shop that NewWriter takes.
func CheckPublicURL(address string) error {
	base, err := url.Parse(address)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return fmt.Errorf("%q is not of the form https://HOST or https://HOST/PATH", address)
	}
	return nil
}

// Write writes a mail. It fails for a template that there is not and for data of another type than the template's.
func (w *Writer) Write(m Message) (*Mail, error) {
	if w.texts[m.Template] == nil {
		return nil, fmt.Errorf("mail: there is no template %q", m.Template)
	}
	var plain, rich bytes.Buffer
	if err := errors.Join(w.texts[m.Template].Execute(&plain, m.Data), w.htmls[m.Template].Execute(&rich, m.Data)); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	subject, body, _ := strings.Cut(plain.String(), "\n\n")
	subject, ok := strings.CutPrefix(subject, "Subject: ")
	if !ok || strings.ContainsFunc(subject, unicode.IsControl) {
		return nil, fmt.Errorf("mail: %s.txt does not begin with a subject of one line", m.Template)
	}
	return &Mail{To: m.To, Subject: subject, Text: body, HTML: rich.String()}, nil
}
