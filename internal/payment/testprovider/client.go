package testprovider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"emporium/internal/payment/provider"
)

// Client is the test provider as the shop sees it. It implements provider.Provider.
type Client struct {
	url, apiKey, webhookSecret string
	http                       *http.Client
}

// NewClient returns a client of the test provider at an URL like "http://127.0.0.1:8099".
func NewClient(url, apiKey, webhookSecret string) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.MaxIdleConnsPerHost = nil, 64
	return &Client{url: url, apiKey: apiKey, webhookSecret: webhookSecret, http: &http.Client{Transport: transport}}
}

// Close closes the connections that are idle, for which the process would wait when it ends. The client can be used on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Name implements provider.Provider.
func (c *Client) Name() string { return "test" }

// Capabilities implements provider.Provider.
func (c *Client) Capabilities() provider.Capabilities {
	return provider.Capabilities{PartialCapture: true, MultiCapture: true, PartialRefund: true}
}

// Authorize implements provider.Provider.
func (c *Client) Authorize(ctx context.Context, r provider.AuthorizeRequest) (s provider.State, err error) {
	return s, c.call(ctx, http.MethodPost, "/v1/payments", r, &s)
}

// Capture implements provider.Provider.
func (c *Client) Capture(ctx context.Context, r provider.CaptureRequest) (s provider.State, err error) {
	return s, c.call(ctx, http.MethodPost, payment(r.Reference)+"/captures", r, &s)
}

// Void implements provider.Provider.
func (c *Client) Void(ctx context.Context, r provider.VoidRequest) (s provider.State, err error) {
	return s, c.call(ctx, http.MethodPost, payment(r.Reference)+"/void", r, &s)
}

// Refund implements provider.Provider.
func (c *Client) Refund(ctx context.Context, r provider.RefundRequest) (s provider.State, err error) {
	return s, c.call(ctx, http.MethodPost, payment(r.Reference)+"/refunds", r, &s)
}

// Find implements provider.Provider.
func (c *Client) Find(ctx context.Context, paymentID uuid.UUID, reference string) (provider.State, bool, error) {
	if reference == "" {
		var found listed
		err := c.call(ctx, http.MethodGet, "/v1/payments?payment_id="+paymentID.String(), nil, &found)
		if err != nil || len(found.Data) == 0 {
			return provider.State{}, false, err
		}
		return found.Data[0], true, nil
	}
	var s provider.State
	err := c.call(ctx, http.MethodGet, payment(reference), nil, &s)
	if err != nil {
		if provider.CodeOf(err) == provider.CodeNotFound {
			err = nil
		}
		return provider.State{}, false, err
	}
	return s, true, nil
}

// Since implements provider.Provider.
func (c *Client) Since(ctx context.Context, from time.Time, cursor string) ([]provider.State, string, error) {
	var page listed
	query := url.Values{"from": {from.UTC().Format(time.RFC3339Nano)}, "cursor": {cursor}}
	err := c.call(ctx, http.MethodGet, "/v1/payments?"+query.Encode(), nil, &page)
	return page.Data, page.Next, err
}

// ParseWebhook implements provider.Provider.
func (c *Client) ParseWebhook(header http.Header, body []byte, now time.Time) (provider.Event, error) {
	if !signed(c.webhookSecret, header.Get(signatureHeader), body, now) {
		return provider.Event{}, provider.ErrSignature
	}
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		return provider.Event{}, fmt.Errorf("test provider: webhook: %w", err)
	}
	return provider.Event{ID: e.ID, Type: e.Type, At: e.Created, Relevant: true, State: e.Data}, nil
}

// Books returns all that was booked.
func (c *Client) Books(ctx context.Context) (b Books, err error) {
	return b, c.call(ctx, http.MethodGet, "/v1/books", nil, &b)
}

// Webhooks returns how events are delivered.
func (c *Client) Webhooks(ctx context.Context) (w WebhookSettings, err error) {
	return w, c.call(ctx, http.MethodGet, "/v1/webhooks", nil, &w)
}

// SetWebhooks changes how events that come after are delivered; the URL is used for those before too.
func (c *Client) SetWebhooks(ctx context.Context, w Webhooks) error {
	return c.call(ctx, http.MethodPut, "/v1/webhooks", w, new(WebhookSettings))
}

func payment(reference string) string { return "/v1/payments/" + url.PathEscape(reference) }

// call reads the answer into out. Its error is a *provider.Error.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return &provider.Error{Code: provider.CodeBadRequest, Err: err}
		}
		body = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return &provider.Error{Code: provider.CodeBadRequest, Err: err}
	}
	r.Header.Set("Authorization", "Bearer "+c.apiKey)
	r.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(r)
	if err != nil {
		return provider.Lost(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return provider.Lost(err)
	}
	if response.StatusCode == http.StatusOK {
		if err := json.Unmarshal(raw, out); err != nil {
			return &provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true, Err: err}
		}
		return nil
	}
	e := provider.Refused(response.StatusCode, fmt.Errorf("status %d", response.StatusCode))
	var refused refusal
	if json.Unmarshal(raw, &refused) == nil && refused.Code != "" {
		e.Code, e.Err = refused.Code, &refused
	}
	return e
}
