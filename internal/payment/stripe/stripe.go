// Package stripe lets Stripe move the money: a payment is a PaymentIntent that is captured by hand.
package stripe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	stripe "github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"emporium/internal/payment/provider"
)

// Config is an account at Stripe.
type Config struct {
	APIKey        string
	WebhookSecret string // of the endpoint that Stripe calls
	URL           string // of Stripe's API; empty is Stripe's own
}

// Provider is an account at Stripe. It retries nothing.
type Provider struct {
	client        *stripe.Client
	webhookSecret string
}

// New returns an account.
func New(c Config) *Provider {
	if c.URL == "" {
		c.URL = stripe.APIURL
	}
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL:               stripe.String(c.URL),
		HTTPClient:        &http.Client{Timeout: 30 * time.Second},
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   stripe.Bool(false),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull}, // errors are returned, and answers hold secrets
	})
	return &Provider{
		client:        stripe.NewClient(c.APIKey, stripe.WithBackends(&stripe.Backends{API: backend, Connect: backend, Uploads: backend, MeterEvents: backend})),
		webhookSecret: c.WebhookSecret,
	}
}

// Name implements provider.Provider.
func (p *Provider) Name() string { return "stripe" }

// Capabilities implements provider.Provider.
func (p *Provider) Capabilities() provider.Capabilities {
	return provider.Capabilities{PartialCapture: true, MultiCapture: true, PartialRefund: true}
}

// expand asks for all that a state is made of.
func expand(prefix string) []*string {
	return []*string{stripe.String(prefix + "latest_charge"), stripe.String(prefix + "latest_charge.refunds")}
}

// Authorize implements provider.Provider.
func (p *Provider) Authorize(ctx context.Context, r provider.AuthorizeRequest) (provider.State, error) {
	units, err := toStripe(r.Amount, r.Currency)
	if err != nil {
		return provider.State{}, err
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount: stripe.Int64(units), Currency: stripe.String(strings.ToLower(string(r.Currency))),
		CaptureMethod: stripe.String(string(stripe.PaymentIntentCaptureMethodManual)), Confirm: stripe.Bool(true),
		PaymentMethod: stripe.String(r.Method), PaymentMethodTypes: []*string{stripe.String("card")},
		PaymentMethodOptions: &stripe.PaymentIntentCreatePaymentMethodOptionsParams{
			Card: &stripe.PaymentIntentCreatePaymentMethodOptionsCardParams{
				RequestMulticapture: stripe.String(string(stripe.PaymentIntentPaymentMethodOptionsCardRequestMulticaptureIfAvailable)),
			},
		},
		Metadata: map[string]string{metaPayment: r.PaymentID.String(), metaOrder: r.OrderNumber},
		Expand:   expand(""),
	}
	if r.ReturnURL != "" {
		params.ReturnURL = stripe.String(r.ReturnURL)
	}
	if r.Description != "" {
		params.Description = stripe.String(r.Description)
	}
	params.SetIdempotencyKey(r.PaymentID.String())
	intent, err := p.client.V1PaymentIntents.Create(ctx, params)
	var refused *stripe.Error
	switch {
	case err == nil:
		return p.state(ctx, intent)
	case !errors.As(err, &refused):
	case refused.Type == stripe.ErrorTypeCard && refused.PaymentIntent != nil:
		return stateOf(refused.PaymentIntent, nil, answeredAt(refused.LastResponse, refused.PaymentIntent)), nil
	case refused.Type == stripe.ErrorTypeCard:
		return provider.State{PaymentID: r.PaymentID, Status: provider.Failed, Method: provider.Method{Kind: "card"}, Currency: r.Currency,
			Amount: r.Amount, Refunds: []provider.Refund{}, Failure: failureOf(refused), At: answeredAt(refused.LastResponse, nil)}, nil
	case refused.HTTPStatusCode >= 500 && replayed(refused.LastResponse):
		// Stripe keeps failures by key too, so that asking again brings nothing new.
		if s, found, err := p.Find(ctx, r.PaymentID, ""); found || err != nil {
			return s, err
		}
		return provider.State{}, &provider.Error{Code: provider.CodeUnavailable, Err: terse(refused)}
	}
	return provider.State{}, failed(err)
}

// Capture implements provider.Provider.
func (p *Provider) Capture(ctx context.Context, r provider.CaptureRequest) (provider.State, error) {
	units, err := toStripe(r.Amount, r.Currency)
	if err != nil {
		return provider.State{}, err
	}
	params := &stripe.PaymentIntentCaptureParams{AmountToCapture: stripe.Int64(units), Expand: expand("")}
	if !r.Final { // it is refused where there cannot be another capture, and true where nothing is said
		params.FinalCapture = stripe.Bool(false)
	}
	params.SetIdempotencyKey(r.CommandID.String())
	intent, err := p.client.V1PaymentIntents.Capture(ctx, r.Reference, params)
	if err != nil {
		return provider.State{}, failed(err, refusal{provider.CodeNotCapturable, []stripe.ErrorCode{stripe.ErrorCodePaymentIntentUnexpectedState,
			stripe.ErrorCodeAmountTooLarge, stripe.ErrorCodeChargeAlreadyCaptured, stripe.ErrorCodeChargeAlreadyRefunded,
			stripe.ErrorCodeChargeExpiredForCapture}, "amount_to_capture"})
	}
	return p.state(ctx, intent)
}

// Void implements provider.Provider.
func (p *Provider) Void(ctx context.Context, r provider.VoidRequest) (provider.State, error) {
	params := &stripe.PaymentIntentCancelParams{Expand: expand("")}
	params.SetIdempotencyKey(r.CommandID.String())
	intent, err := p.client.V1PaymentIntents.Cancel(ctx, r.Reference, params)
	if err == nil {
		return p.state(ctx, intent)
	}
	err = failed(err, refusal{code: provider.CodeNotVoidable, codes: []stripe.ErrorCode{stripe.ErrorCodePaymentIntentUnexpectedState}})
	if provider.CodeOf(err) != provider.CodeNotVoidable {
		return provider.State{}, err
	}
	s, found, findErr := p.Find(ctx, uuid.Nil, r.Reference)
	if findErr != nil {
		return provider.State{}, findErr
	}
	if !found || s.Status == provider.Processing || s.Status == provider.ActionRequired || s.Capturable() > 0 {
		return provider.State{}, err
	}
	return s, nil // there is nothing left to void
}

// reasons are Stripe's own names; by FRAUD it learns which cards not to trust.
var reasons = map[string]stripe.RefundReason{
	provider.ReasonCustomerRequest: stripe.RefundReasonRequestedByCustomer,
	provider.ReasonDuplicate:       stripe.RefundReasonDuplicate,
	provider.ReasonFraud:           stripe.RefundReasonFraudulent,
}

// Refund implements provider.Provider.
func (p *Provider) Refund(ctx context.Context, r provider.RefundRequest) (provider.State, error) {
	units, err := toStripe(r.Amount, r.Currency)
	if err != nil {
		return provider.State{}, err
	}
	params := &stripe.RefundCreateParams{PaymentIntent: stripe.String(r.Reference), Amount: stripe.Int64(units),
		Metadata: map[string]string{metaCommand: r.CommandID.String()}}
	if reason, known := reasons[r.Reason]; known {
		params.Reason = stripe.String(string(reason))
	}
	if r.Reason != "" {
		params.Metadata[metaReason] = truncate(r.Reason, 500)
	}
	params.SetIdempotencyKey(r.CommandID.String())
	if _, err := p.client.V1Refunds.Create(ctx, params); err != nil {
		return provider.State{}, failed(err, refusal{provider.CodeNotRefundable, []stripe.ErrorCode{stripe.ErrorCodeChargeAlreadyRefunded,
			stripe.ErrorCodeChargeDisputed, stripe.ErrorCodeAmountTooLarge, stripe.ErrorCodePaymentIntentUnexpectedState}, "amount"})
	}
	s, found, err := p.Find(ctx, uuid.Nil, r.Reference)
	if err == nil && !found {
		err = errors.New("stripe: the payment that was refunded is gone")
	}
	if err != nil { // the refund is made; the same call again tells the rest
		return provider.State{}, &provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true, Err: err}
	}
	return s, nil
}

// truncate keeps up to max bytes, which is less than the metadata's limit of 500 characters for other scripts.
func truncate(text string, max int) string {
	if len(text) <= max {
		return text
	}
	return strings.ToValidUTF8(text[:max], "")
}

// Find implements provider.Provider.
func (p *Provider) Find(ctx context.Context, paymentID uuid.UUID, reference string) (provider.State, bool, error) {
	if reference == "" {
		var err error
		if reference, err = p.referenceOf(ctx, paymentID); err != nil || reference == "" {
			return provider.State{}, false, err
		}
	}
	intent, err := p.client.V1PaymentIntents.Retrieve(ctx, reference, &stripe.PaymentIntentRetrieveParams{Expand: expand("")})
	if err != nil {
		if err := failed(err); provider.CodeOf(err) != provider.CodeNotFound {
			return provider.State{}, false, err
		}
		return provider.State{}, false, nil
	}
	s, err := p.state(ctx, intent)
	return s, err == nil, err
}

// searchLag is how far Stripe's search can be behind, as its documents say.
const searchLag = time.Hour

// referenceOf searches, which misses what is new, and then lists what was new when the payment's ID was made. It is empty
// when there is no such payment.
func (p *Provider) referenceOf(ctx context.Context, paymentID uuid.UUID) (string, error) {
	params := &stripe.PaymentIntentSearchParams{SearchParams: stripe.SearchParams{
		Query: fmt.Sprintf("metadata['%s']:'%s'", metaPayment, paymentID), Limit: stripe.Int64(1)}}
	for intent, err := range p.client.V1PaymentIntents.Search(ctx, params).All(ctx) {
		if err := failed(err); err != nil {
			if provider.CodeOf(err) == provider.CodeBadRequest {
				break // there is no search in some countries
			}
			return "", err
		}
		if metadataID(intent.Metadata, metaPayment) == paymentID {
			return intent.ID, nil
		}
		break
	}
	if paymentID.Version() != 7 {
		return "", nil
	}
	seconds, nanos := paymentID.Time().UnixTime()
	made := time.Unix(seconds, nanos)
	list := &stripe.PaymentIntentListParams{ListParams: stripe.ListParams{Limit: stripe.Int64(100)}, CreatedRange: &stripe.RangeQueryParams{
		GreaterThanOrEqual: made.Add(-5 * time.Minute).Unix(), LesserThanOrEqual: made.Add(searchLag).Unix()}}
	for intent, err := range p.client.V1PaymentIntents.List(ctx, list).All(ctx) {
		if err := failed(err); err != nil {
			return "", err
		}
		if metadataID(intent.Metadata, metaPayment) == paymentID {
			return intent.ID, nil
		}
	}
	return "", nil
}

// Since implements provider.Provider. Payments of the account that are not ours are left out, so a page can be empty.
func (p *Provider) Since(ctx context.Context, from time.Time, cursor string) ([]provider.State, string, error) {
	params := &stripe.PaymentIntentListParams{ListParams: stripe.ListParams{Limit: stripe.Int64(100)},
		CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: from.Unix()}, Expand: expand("data.")}
	if cursor != "" {
		params.StartingAfter = stripe.String(cursor)
	}
	page := p.client.V1PaymentIntents.List(ctx, params)
	if err := failed(page.Err()); err != nil {
		return nil, "", err
	}
	var states []provider.State
	next := ""
	for _, intent := range page.Data() {
		next = intent.ID
		if metadataID(intent.Metadata, metaPayment) == uuid.Nil {
			continue
		}
		intent.SetLastResponse(page.LastResponse())
		s, err := p.state(ctx, intent)
		if err != nil {
			return nil, "", err
		}
		states = append(states, s)
	}
	if !page.Meta().HasMore {
		next = ""
	}
	return states, next, nil
}

// state maps an intent that was asked for with expand, and fetches the refunds that did not fit in.
func (p *Provider) state(ctx context.Context, intent *stripe.PaymentIntent) (provider.State, error) {
	var refunds []*stripe.Refund
	if c := intent.LatestCharge; c != nil && c.Refunds != nil {
		refunds = c.Refunds.Data
		if c.Refunds.HasMore {
			refunds = nil
			params := &stripe.RefundListParams{ListParams: stripe.ListParams{Limit: stripe.Int64(100)}, Charge: stripe.String(c.ID)}
			for r, err := range p.client.V1Refunds.List(ctx, params).All(ctx) {
				if err := failed(err); err != nil {
					return provider.State{}, unknown(err)
				}
				refunds = append(refunds, r)
			}
		}
	}
	slices.SortStableFunc(refunds, func(a, b *stripe.Refund) int { return int(a.Created - b.Created) }) // Stripe has the newest first
	return stateOf(intent, refunds, answeredAt(intent.LastResponse, intent)), nil
}

// answeredAt is Stripe's clock. What is kept by key and told again is older: as old as the intent, at most.
func answeredAt(r *stripe.APIResponse, intent *stripe.PaymentIntent) time.Time {
	if intent != nil && (r == nil || replayed(r)) {
		return time.Unix(intent.Created, 0).UTC()
	}
	if r != nil {
		if at, err := http.ParseTime(r.Header.Get("Date")); err == nil {
			return at.UTC()
		}
	}
	return time.Now().UTC()
}

func replayed(r *stripe.APIResponse) bool {
	return r != nil && r.Header.Get("Idempotent-Replayed") == "true"
}

// refusal says what a refused request means to the caller, by Stripe's code or by the parameter that was wrong.
type refusal struct {
	code  provider.ErrorCode
	codes []stripe.ErrorCode
	param string
}

// failed maps an error, nil to nil.
func failed(err error, by ...refusal) error {
	if err == nil {
		return nil
	}
	var refused *stripe.Error
	var sent *url.Error
	switch {
	case errors.As(err, &refused) && refused.HTTPStatusCode != 0:
	case errors.As(err, &sent):
		return provider.Lost(err)
	default: // an answer that is not Stripe's, of a proxy for example, or half of one
		return &provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true, Err: err}
	}
	e := provider.Refused(refused.HTTPStatusCode, terse(refused))
	switch {
	case refused.HTTPStatusCode >= 500 && replayed(refused.LastResponse):
		e.Temporary = false // Stripe keeps failures by key: asking again brings nothing new
	case refused.Type == stripe.ErrorTypeIdempotency && refused.HTTPStatusCode == http.StatusBadRequest:
		e.Code = provider.CodeKeyReused
	case refused.Code == stripe.ErrorCodeResourceMissing:
		e.Code = provider.CodeNotFound
	}
	for _, r := range by {
		if e.Code == provider.CodeBadRequest && (refused.Type == stripe.ErrorTypeCard || slices.Contains(r.codes, refused.Code) ||
			r.param != "" && refused.Param == r.param) {
			e.Code = r.code
		}
	}
	return e
}

// unknown marks an error that came after something was done.
func unknown(err error) error {
	var e *provider.Error
	if errors.As(err, &e) {
		e.Unknown = true
	}
	return err
}

// terse is an error without the objects that Stripe packs into it, which hold secrets.
func terse(e *stripe.Error) error {
	return fmt.Errorf("stripe: status %d, %s %s %s: %s (request %s)", e.HTTPStatusCode, e.Type, e.Code, e.Param, e.Msg, e.RequestID)
}

// tolerance is how old a signature may be; the clocks may differ by as much the other way.
const tolerance = 5 * time.Minute

// ParseWebhook implements provider.Provider. Stripe's messages do not hold a payment's charge, so only those of payments
// that have none yet are complete.
func (p *Provider) ParseWebhook(header http.Header, body []byte, now time.Time) (provider.Event, error) {
	signature := header.Get("Stripe-Signature")
	if webhook.ValidatePayloadIgnoringTolerance(body, signature, p.webhookSecret) != nil || now.Sub(signedAt(signature)).Abs() > tolerance {
		return provider.Event{}, provider.ErrSignature
	}
	var e stripe.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return provider.Event{}, fmt.Errorf("stripe: webhook: %w", err)
	}
	if e.ID == "" || e.Data == nil {
		return provider.Event{}, errors.New("stripe: the webhook is no event")
	}
	event := provider.Event{ID: e.ID, Type: string(e.Type), At: time.Unix(e.Created, 0).UTC()}
	kind, _, _ := strings.Cut(event.Type, ".")
	switch {
	case kind == "payment_intent":
		var intent stripe.PaymentIntent
		if err := json.Unmarshal(e.Data.Raw, &intent); err != nil {
			return provider.Event{}, fmt.Errorf("stripe: webhook %s: %w", e.ID, err)
		}
		event.State = stateOf(&intent, nil, event.At)
		event.Relevant = event.State.PaymentID != uuid.Nil
		event.Incomplete = intent.LatestCharge != nil || intent.AmountCapturable > 0 || intent.AmountReceived > 0 ||
			!strings.HasSuffix(e.APIVersion, "."+stripe.APIMajorVersion) // its fields may mean something else
	case event.Type == "charge.captured", event.Type == "charge.expired", event.Type == "charge.refunded",
		strings.HasPrefix(event.Type, "charge.refund."), kind == "refund":
		var of struct {
			Intent *stripe.PaymentIntent `json:"payment_intent"`
		}
		if err := json.Unmarshal(e.Data.Raw, &of); err != nil {
			return provider.Event{}, fmt.Errorf("stripe: webhook %s: %w", e.ID, err)
		}
		if of.Intent != nil {
			event.Relevant, event.Incomplete, event.State.Reference = true, true, of.Intent.ID
		}
	}
	switch {
	case !event.Relevant:
		event.State = provider.State{}
	case event.Incomplete:
		event.State = provider.State{Reference: event.State.Reference, PaymentID: event.State.PaymentID}
	}
	return event, nil
}

// signedAt is the time in a header whose signature was verified; the last one, which is what the verification takes.
func signedAt(signature string) (at time.Time) {
	for part := range strings.SplitSeq(signature, ",") {
		if stamp, found := strings.CutPrefix(part, "t="); found {
			if seconds, err := strconv.ParseInt(stamp, 10, 64); err == nil {
				at = time.Unix(seconds, 0)
			}
		}
	}
	return at
}
