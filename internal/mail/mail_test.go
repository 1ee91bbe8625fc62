package mail_test

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"emporium/internal/mail"
)

const token = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-_"

func writer(t *testing.T) *mail.Writer {
	t.Helper()
	w, err := mail.NewWriter("The Shop <shop@shop.example>", "https://shop.example/de")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestTemplates writes every mail, to somebody whose name is no good HTML.
func TestTemplates(t *testing.T) {
	t.Parallel()
	w := writer(t)
	link := mail.Link{Person: mail.Person{Name: "<b>Ada"}, Token: token, Hours: 24}
	news := mail.OrderNews{Person: link.Person, Number: "EM-7Q4K", Total: "104.90 EUR", Reason: "The card has expired."}
	mails := map[mail.Template]struct {
		data          any
		subject, page string
		says          string
	}{
		mail.EmailVerification: {link, "Please confirm your e-mail address", "account/verify", "within 24 hours"},
		mail.EmailChange:       {link, "Please confirm your new e-mail address", "account/email", "within 24 hours"},
		mail.EmailChangeNotice: {link.Person, "Your e-mail address is about to change", "", "change your password now"},
		mail.PasswordReset:     {mail.Link{Person: link.Person, Token: token, Hours: 1}, "Choose a new password", "account/password", "within an hour"},
		mail.Invitation:        {link, "An account was opened for you at The Shop", "account/password", "within 24 hours"},

		mail.OrderPlaced:        {news, "Your order EM-7Q4K", "", "your order EM-7Q4K of 104.90 EUR. We tell you"},
		mail.OrderPaymentFailed: {news, "Your order EM-7Q4K was not paid", "", "nothing is charged. The card has expired."},
		mail.OrderShipped:       {news, "Your order EM-7Q4K is on its way", "", "goods of your order EM-7Q4K are on their way"},
		mail.OrderCanceled:      {news, "Your order EM-7Q4K was cancelled", "", "your order EM-7Q4K of 104.90 EUR was cancelled."},
	}
	var tested []string
	for template := range mails {
		tested = append(tested, string(template)+".html", string(template)+".txt")
	}
	files, err := os.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, f := range files {
		there = append(there, f.Name())
	}
	if tested = slices.Sorted(slices.Values(append(tested, "layout.html"))); !slices.Equal(there, tested) {
		t.Errorf("there are the templates %v, tested are %v", there, tested)
	}
	for template, c := range mails {
		m, err := w.Write(mail.Message{Template: template, To: "ada@example.com", Data: c.data})
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		if m.To != "ada@example.com" || m.Subject != c.subject {
			t.Errorf("%s: %q to %s", template, m.Subject, m.To)
		}
		for what, text := range map[string]string{"text": m.Text, "HTML": m.HTML} {
			wants := []string{c.says, "The Shop"}
			if c.page != "" {
				wants = append(wants, "https://shop.example/de/"+c.page+"#token="+token, ">"+token+"<")
			}
			if what == "text" {
				wants = append(wants, "Hello <b>Ada,\n")
			} else {
				wants = append(wants, "Hello &lt;b&gt;Ada,<")
			}
			for _, want := range wants {
				if what == "text" {
					want = strings.ReplaceAll(want, ">"+token+"<", "\n"+token+"\n")
				}
				if !strings.Contains(text, want) {
					t.Errorf("%s as %s lacks %q:\n%s", template, what, want, text)
				}
			}
		}
	}
	for name, m := range map[string]mail.Message{
		"no such template": {Template: "nothing", To: "ada@example.com"},
		"other data":       {Template: mail.PasswordReset, To: "ada@example.com", Data: mail.Person{}},
	} {
		if got, err := w.Write(m); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	news.Reason = ""
	if m, err := w.Write(mail.Message{Template: mail.OrderPaymentFailed, Data: news}); err != nil ||
		!strings.Contains(m.Text, "nothing is charged.\n") || !strings.Contains(m.HTML, "nothing is charged.<") {
		t.Errorf("without a reason: %+v, %v", m, err)
	}
	if m, err := w.Write(mail.Message{Template: mail.EmailChangeNotice, Data: mail.Person{}}); err != nil || !strings.HasPrefix(m.Text, "Hello,\n") {
		t.Errorf("without a name: %+v, %v", m, err)
	}
}

func TestSenderAndAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, address string }{
		{"Shop", "https://shop.example"}, {"shop@", "https://shop.example"}, {"Shop <s@shop.example>", "shop.example"}, {"Shop <s@shop.example>", "ftp://shop.example"},
		{"Shop <s@shop.example>", "https://"}, {"Shop <s@shop.example>", "https://shop.example?x"}, {"Shop <s@shop.example>", "https://u:p@shop.example"},
	} {
		if _, err := mail.NewWriter(c.from, c.address); err == nil {
			t.Errorf("%v is accepted", c)
		}
	}
}

// TestUnsent drops two mails and says so once.
func TestUnsent(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	u := &mail.Unsent{Log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 2 {
		if err := u.Send(t.Context(), mail.Message{Template: mail.PasswordReset, To: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
	}
	if u.Count() != 2 || strings.Count(log.String(), "SMTP_URL") != 1 || strings.Contains(log.String(), "ada") {
		t.Errorf("%d, %s", u.Count(), log.String())
	}
}
