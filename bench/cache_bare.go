package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"emporium/internal/httpserver"
	"emporium/internal/redisclient"
)

// The commands by which this program starts itself as what Emporium's hits are measured against.
const (
	serveBare  = "serve-bare"
	serveRedis = "serve-redis"
)

// redisConns are those of Emporium's cache, and so of the bare handler too.
const redisConns = 32

// fixed is an answer that is known before it is asked for.
type fixed struct {
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// fixedFile names the file of fixed answers, by path, in the environment.
const fixedFile = "BENCH_ANSWERS"

// bare serves fixed answers over the http.Server of production without anything around it: no access log, no metrics, no
// request IDs, no limits, no tokens. With a Redis the bodies come from there, by one GET each.
func bare(ctx context.Context, fromRedis bool) error {
	text, err := os.ReadFile(os.Getenv(fixedFile))
	if err != nil {
		return err
	}
	answers := map[string]*fixed{}
	if err := json.Unmarshal(text, &answers); err != nil {
		return err
	}
	send := func(w http.ResponseWriter, a *fixed, body []byte) {
		h := w.Header()
		for name, values := range a.Header {
			h[name] = values
		}
		_, _ = w.Write(body)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if a := answers[r.URL.Path]; a != nil {
			send(w, a, a.Body)
		} else if r.URL.Path != "/healthz" {
			http.NotFound(w, r)
		}
	}
	if fromRedis {
		client, err := redisclient.Open(os.Getenv("REDIS_URL"), redisConns)
		if err != nil {
			return err
		}
		defer client.Close()
		static := handler
		handler = func(w http.ResponseWriter, r *http.Request) {
			a := answers[r.URL.Path]
			if a == nil {
				static(w, r)
				return
			}
			body, err := client.Get(r.Context(), redisKey(r.URL.Path)).Bytes()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			send(w, a, body)
		}
	}
	l, err := net.Listen("tcp", os.Getenv("HTTP_ADDR"))
	if err != nil {
		return err
	}
	err = httpserver.Serve(ctx, l, http.HandlerFunc(handler), time.Second, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func redisKey(path string) string { return "emporium:bench:" + path }

// fill puts the bodies where the bare handler gets them from.
func (s *stand) fill(ctx context.Context, answers map[string]*fixed) error {
	client, err := redisclient.Open(s.redisURL, redisConns)
	if err != nil {
		return err
	}
	defer client.Close()
	for path, a := range answers {
		if err := client.Set(ctx, redisKey(path), a.Body, time.Hour).Err(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
	}
	return nil
}
