package testprovider

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"emporium/internal/payment/provider"
)

// signatureHeader holds "t=SECONDS,v1=HEX", the HMAC-SHA256 of "SECONDS.BODY".
const signatureHeader = "Test-Provider-Signature"

const (
	deliveries = 16 // at once
	firstRetry = 250 * time.Millisecond
	lastRetry  = 30 * time.Second
)

func mac(secret string, seconds int64, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(h, "%d.", seconds)
	_, _ = h.Write(body)
	return h.Sum(nil)
}

func sign(secret string, at time.Time, body []byte) string {
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac(secret, at.Unix(), body)))
}

// signed reports whether a header is the signature of a body, by now.
func signed(secret, header string, body []byte, now time.Time) bool {
	stamp, hexMAC, _ := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	given, hexErr := hex.DecodeString(hexMAC)
	return err == nil && hexErr == nil && hmac.Equal(given, mac(secret, seconds, body)) &&
		now.Sub(time.Unix(seconds, 0)).Abs() <= tolerance
}

// tolerance is how old a signature may be; the clocks may differ by as much the other way.
const tolerance = 5 * time.Minute

// WebhookSettings is how webhooks are delivered, and how many are not yet.
type WebhookSettings struct {
	Webhooks
	Queued int `json:"queued"` // deliveries, and refunds that are pending
}

func (s *server) getWebhooks(*http.Request) (any, error) {
	var out WebhookSettings
	err := s.books.read(func(l *ledger) error {
		out.Queued = l.Bucket(queue).Stats().KeyN
		_, err := l.get(settings, []byte("webhooks"), &out.Webhooks)
		return err
	})
	return out, err
}

func (s *server) putWebhooks(r *http.Request) (any, error) {
	var to Webhooks
	if err := readJSON(r, &to); err != nil {
		return nil, err
	}
	if to.Duplicates < 0 || to.Duplicates > 10 || to.Delay < 0 || to.Shuffle < 0 {
		return nil, refuse(400, provider.CodeBadRequest, "duplicates are 0 to 10, times not negative")
	}
	if err := s.setWebhooks(func(w *Webhooks) { *w = to }); err != nil {
		return nil, err
	}
	return s.getWebhooks(r)
}

func (s *server) setWebhooks(edit func(*Webhooks)) error {
	return s.books.write(func(l *ledger) error {
		var w Webhooks
		if _, err := l.get(settings, []byte("webhooks"), &w); err != nil {
			return err
		}
		edit(&w)
		return l.put(settings, []byte("webhooks"), w)
	})
}

// queued wakes deliver.
func (s *server) queued() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// deliver does what is queued when its time has come, until ctx is done. A task is struck when it is done: a process that
// is killed in between does it again.
func (s *server) deliver(ctx context.Context) error {
	for ctx.Err() == nil {
		var tasks []queued
		var wait time.Duration
		var how Webhooks
		err := s.books.read(func(l *ledger) (err error) {
			if tasks, wait, err = l.due(deliveries); err == nil {
				_, err = l.get(settings, []byte("webhooks"), &how)
			}
			return err
		})
		if err != nil {
			return err
		}
		if len(tasks) == 0 {
			timer := time.NewTimer(wait)
			if wait < 0 {
				timer.Stop()
			}
			select {
			case <-timer.C:
			case <-s.wake:
			case <-ctx.Done():
			}
			timer.Stop()
			continue
		}
		sent := make([]bool, len(tasks))
		var posts sync.WaitGroup
		for i, t := range tasks {
			if t.Event != nil {
				posts.Go(func() { sent[i] = s.post(ctx, how.URL, t.Event) })
			}
		}
		posts.Wait()
		if ctx.Err() != nil {
			break // what was cut off is not known to have come
		}
		err = s.books.write(func(l *ledger) error {
			for i, t := range tasks {
				if err := l.Bucket(queue).Delete(t.key); err != nil {
					return err
				}
				switch {
				case t.Event == nil:
					if err := l.settle(t.Reference, t.Refund); err != nil {
						return err
					}
				case !sent[i]:
					again := t.task
					again.Attempts++
					pause := min(firstRetry<<min(again.Attempts-1, 20), lastRetry)
					if err := l.later(l.now.Add(pause+upTo(pause/4)), again); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// post reports whether an event was taken.
func (s *server) post(ctx context.Context, url string, e *event) bool {
	body, err := json.Marshal(e)
	if err != nil {
		s.Log.ErrorContext(ctx, "test provider: webhook", "error", err)
		return false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		s.Log.ErrorContext(ctx, "test provider: webhook", "error", err)
		return false
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(signatureHeader, sign(s.WebhookSecret, time.Now(), body))
	response, err := s.client.Do(r)
	if err != nil {
		s.Log.DebugContext(ctx, "test provider: webhook", "error", err)
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	return response.StatusCode/100 == 2
}
