// Package webhook lets providers tell over HTTP what has happened to payments. Anybody can send anything here: it is
// bounded, verified before it is read, stored, and answered with nothing of what was sent.
package webhook

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"emporium/internal/fault"
)

const (
	// Pattern is where the handler belongs.
	Pattern = "POST /webhooks/{provider}"

	maxBody  = 256 << 10
	deadline = 5 * time.Second // of storing; providers send again
)

// Receiver stores what a provider has sent; the service of payments is it. Of its errors the code counts: NotFound,
// Unauthenticated and BadUserInput are answered as such.
type Receiver interface {
	Receive(ctx context.Context, provider string, header http.Header, body []byte) error
}

// Handler answers 200 once a message is stored, or was before.
func Handler(receiver Receiver, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := receive(receiver, log, w, r)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, http.StatusText(status)+"\n")
	})
}

func receive(receiver Receiver, log *slog.Logger, w http.ResponseWriter, r *http.Request) int {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return http.StatusRequestEntityTooLarge
	case err != nil:
		return http.StatusBadRequest
	}
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	defer cancel()
	err = receiver.Receive(ctx, r.PathValue("provider"), r.Header, body)
	switch {
	case err == nil:
		return http.StatusOK
	case fault.Is(err, fault.NotFound):
		return http.StatusNotFound
	case fault.Is(err, fault.Unauthenticated):
		return http.StatusUnauthorized
	case fault.Is(err, fault.BadUserInput):
		log.WarnContext(ctx, "a webhook can not be read", "error", err)
		return http.StatusBadRequest
	default:
		log.ErrorContext(ctx, "a webhook was not stored", "error", err)
		return http.StatusInternalServerError
	}
}
