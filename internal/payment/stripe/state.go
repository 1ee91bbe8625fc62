package stripe

import (
	"strings"
	"time"

	"github.com/google/uuid"
	stripe "github.com/stripe/stripe-go/v85"

	"emporium/internal/money"
	"emporium/internal/payment/provider"
)

// What we write on Stripe's objects.
const (
	metaPayment = "emporium_payment"
	metaOrder   = "emporium_order"
	metaCommand = "emporium_command"
	metaReason  = "emporium_reason"
)

func metadataID(metadata map[string]string, key string) uuid.UUID {
	id, err := uuid.Parse(metadata[key])
	if err != nil {
		return uuid.Nil
	}
	return id
}

// stateOf maps an intent whose charge is expanded, if there is one, with all refunds of that charge.
func stateOf(intent *stripe.PaymentIntent, refunds []*stripe.Refund, at time.Time) provider.State {
	currency := money.Currency(strings.ToUpper(string(intent.Currency)))
	amount := func(units int64) int64 { return fromStripe(units, currency) }
	s := provider.State{Reference: intent.ID, PaymentID: metadataID(intent.Metadata, metaPayment), Currency: currency,
		Amount: amount(intent.Amount), Captured: amount(intent.AmountReceived), Method: methodOf(intent), At: at.UTC(),
		Refunds: []provider.Refund{}}
	charge := intent.LatestCharge
	if charge != nil && charge.Status == stripe.ChargeStatusSucceeded {
		s.Authorized = amount(charge.Amount)
		s.Captured = max(s.Captured, amount(charge.AmountCaptured))
		if d := charge.PaymentMethodDetails; d != nil && d.Card != nil && d.Card.Multicapture != nil {
			s.MultiCapture = d.Card.Multicapture.Status == stripe.ChargePaymentMethodDetailsCardMulticaptureStatusAvailable
		}
	}
	s.Authorized = max(s.Authorized, s.Captured+amount(intent.AmountCapturable))
	switch intent.Status {
	case stripe.PaymentIntentStatusRequiresAction:
		s.Status, s.Action = provider.ActionRequired, &provider.Action{ClientSecret: intent.ClientSecret}
		if next := intent.NextAction; next != nil && next.RedirectToURL != nil {
			s.Action.URL = next.RedirectToURL.URL
		}
	case stripe.PaymentIntentStatusRequiresPaymentMethod:
		s.Status, s.Failure = provider.Failed, failureOf(intent.LastPaymentError)
	case stripe.PaymentIntentStatusRequiresCapture:
		s.Status = provider.Authorized
	case stripe.PaymentIntentStatusSucceeded, stripe.PaymentIntentStatusCanceled:
		s.Status, s.Voided = provider.Authorized, s.Authorized-s.Captured // what is not captured by now is released
		if s.Captured == 0 {
			s.Status = provider.Voided
		}
	default:
		s.Status = provider.Processing
	}
	for _, r := range refunds {
		refund := provider.Refund{ID: r.ID, CommandID: metadataID(r.Metadata, metaCommand), Amount: amount(r.Amount),
			Status: refundStatus(r.Status), Reason: r.Metadata[metaReason], At: time.Unix(r.Created, 0).UTC()}
		if refund.Reason == "" {
			refund.Reason = string(r.Reason)
		}
		// Stripe also writes a refund when it releases what is authorised and not captured. No money moves by that, and it is
		// in Voided already.
		if refund.CommandID == uuid.Nil && refund.Status == provider.RefundSucceeded && r.BalanceTransaction == nil {
			continue
		}
		s.Refunds = append(s.Refunds, refund)
		if refund.Status == provider.RefundSucceeded {
			s.Refunded += refund.Amount
		}
	}
	return s
}

func refundStatus(s stripe.RefundStatus) provider.RefundStatus {
	switch s {
	case stripe.RefundStatusSucceeded:
		return provider.RefundSucceeded
	case stripe.RefundStatusFailed, stripe.RefundStatusCanceled:
		return provider.RefundFailed
	default:
		return provider.RefundPending
	}
}

// methodOf reads from the charge, or from the payment method where there is none.
func methodOf(intent *stripe.PaymentIntent) provider.Method {
	var m provider.Method
	card := func(brand, lastFour string) {
		if brand != "" {
			m.Brand = &brand
		}
		if lastFour != "" {
			m.LastFour = &lastFour
		}
	}
	method := intent.PaymentMethod
	if e := intent.LastPaymentError; e != nil && e.PaymentMethod != nil {
		method = e.PaymentMethod
	}
	if c := intent.LatestCharge; c != nil && c.PaymentMethodDetails != nil {
		m.Kind = string(c.PaymentMethodDetails.Type)
		if d := c.PaymentMethodDetails.Card; d != nil {
			card(string(d.Brand), d.Last4)
		}
	} else if method != nil {
		m.Kind = string(method.Type)
		if method.Card != nil {
			card(string(method.Card.Brand), method.Card.Last4)
		}
	}
	return m
}

// failureOf maps why a card was declined. That it is lost, stolen or taken for fraud stays with staff.
func failureOf(e *stripe.Error) *provider.Failure {
	if e == nil {
		return &provider.Failure{Code: provider.ProcessingError, Message: provider.ProcessingError.Message()}
	}
	f := &provider.Failure{Code: provider.Declined, ProviderCode: string(e.Code)}
	if e.DeclineCode != "" {
		f.ProviderCode = string(e.DeclineCode)
	}
	switch f.ProviderCode {
	case "insufficient_funds", "withdrawal_count_limit_exceeded", "card_velocity_exceeded":
		f.Code = provider.InsufficientFunds
	case "expired_card", "invalid_expiry_month", "invalid_expiry_year":
		f.Code = provider.ExpiredCard
	case "incorrect_number", "invalid_number", "incorrect_cvc", "invalid_cvc", "incorrect_zip", "incorrect_pin", "invalid_pin", "incorrect_address":
		f.Code = provider.IncorrectDetails
	case "authentication_required", "payment_intent_authentication_failure", "authentication_not_handled":
		f.Code = provider.AuthenticationFailed
	case "card_not_supported", "currency_not_supported", "not_permitted", "transaction_not_allowed", "service_not_allowed":
		f.Code = provider.NotSupported
	case "processing_error", "issuer_not_available", "try_again_later", "reenter_transaction":
		f.Code = provider.ProcessingError
	}
	f.Message = f.Code.Message()
	return f
}
