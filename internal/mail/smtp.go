package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
)

const (
	dialWithin = 10 * time.Second // connect, greet, encrypt, sign in; then as long for each mail
	sendWithin = 30 * time.Second // all of it
)

// SMTP is a Mailer that hands mails to a mail server (RFC 5321), on a connection of their own.
type SMTP struct {
	writer *Writer
	client *mail.Client
}

// NewSMTP returns the mailer of a server, without asking it. The URL is smtp://USER:PASSWORD@HOST:PORT, for a server that
// encrypts on request (STARTTLS, RFC 3207), or smtps:// for one that does from the start (RFC 8314). A server that can not
// encrypt is used only with ?tls=off, and without a password then. Roots may be nil for those of the system.
func NewSMTP(address string, w *Writer, roots *tls.Config) (*SMTP, error) {
	host, options, err := parseSMTP(address)
	if err != nil {
		return nil, err
	}
	if roots == nil {
		roots = &tls.Config{}
	}
	roots = roots.Clone()
	roots.ServerName, roots.MinVersion = host, tls.VersionTLS12
	client, err := mail.NewClient(host, append(options, mail.WithTLSConfig(roots), mail.WithTimeout(dialWithin), mail.WithoutNoop())...)
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return &SMTP{w, client}, nil
}

// CheckSMTP is nil for a URL that NewSMTP takes. Its error does not repeat the URL, which may hold a password.
func CheckSMTP(address string) error {
	_, _, err := parseSMTP(address)
	return err
}

func parseSMTP(address string) (host string, options []mail.Option, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return "", nil, errors.New("is not of the form smtp://USER:PASSWORD@HOST:PORT or smtps://… (it is not shown, because it may hold a password)")
	}
	port, plain := 587, false
	switch u.RawQuery {
	case "":
	case "tls=off":
		plain = true
	default:
		return "", nil, errors.New("takes nothing but tls=off behind the question mark")
	}
	switch {
	case plain && (u.Scheme == "smtps" || u.User != nil):
		return "", nil, errors.New("has tls=off beside smtps:// or a password, which goes nowhere unencrypted")
	case plain:
		port, options = 25, append(options, mail.WithTLSPolicy(mail.NoTLS))
	case u.Scheme == "smtps":
		port, options = 465, append(options, mail.WithSSL())
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if text := u.Port(); text != "" {
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return "", nil, errors.New("has a port that is none")
		}
	}
	options = append(options, mail.WithPort(port))
	if u.User != nil {
		password, _ := u.User.Password()
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(u.User.Username()), mail.WithPassword(password))
	}
	return u.Hostname(), options, nil
}

// Send hands a mail to the server, within 30 seconds.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	written, err := s.writer.Write(m)
	if err != nil {
		return err
	}
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(s.writer.from)
	if msg.To(written.To) != nil {
		return fmt.Errorf("%w: it has no valid address", ErrRefused)
	}
	msg.Subject(written.Subject)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no machine answers
	msg.SetBodyString(mail.TypeTextPlain, written.Text)
	msg.AddAlternativeString(mail.TypeTextHTML, written.HTML)
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	return discreet(s.client.DialAndSendWithContext(ctx, msg))
}

// discreet tells of an error what can be logged: servers like to repeat the recipient.
func discreet(err error) error {
	if err == nil {
		return nil
	}
	if sent := (*mail.SendError)(nil); errors.As(err, &sent) {
		if sent.Reason == mail.ErrSMTPRcptTo && sent.ErrorCode() >= 500 {
			return fmt.Errorf("%w: code %d", ErrRefused, sent.ErrorCode())
		}
		return fmt.Errorf("mail: %s: code %d", sent.Reason, sent.ErrorCode())
	}
	if network := (*net.OpError)(nil); errors.As(err, &network) {
		return fmt.Errorf("mail: %w", network)
	}
	if certificate := (*tls.CertificateVerificationError)(nil); errors.As(err, &certificate) {
		return fmt.Errorf("mail: %w", certificate)
	}
	return errors.New("mail: the server can not be reached, does not encrypt, or does not take the password")
}
