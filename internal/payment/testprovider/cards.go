package testprovider

import "emporium/internal/payment/provider"

// card is what a token stands for. The zero card does all that it is asked for, at once.
type card struct {
	brand, lastFour string
	decline         provider.FailureCode // of authorisations
	declineCode     string               // as a provider of its own would call it
	authorize       manner
	action          provider.FailureCode // after the customer approved; only with askCustomer
	capture         manner
	refund          manner
}

// manner is how a call goes.
type manner int

const (
	well        manner = iota
	silently           // booked, and never answered; the same call again is
	late               // booked and answered after Config.Late, whether the caller waits or not
	failOnce           // nothing is booked, 500; the same call again goes well
	askCustomer        // the customer has to approve
	fail               // captures are refused, refunds fail
	pending            // refunds succeed after Config.RefundDelay
)

// cards are the tokens. docs/payments-providers.md has the table.
var cards = map[string]card{
	"card_ok":                 {brand: "visa", lastFour: "4242"},
	"card_declined":           {brand: "visa", lastFour: "0002", decline: provider.Declined, declineCode: "do_not_honor"},
	"card_insufficient_funds": {brand: "visa", lastFour: "9995", decline: provider.InsufficientFunds, declineCode: "insufficient_funds"},
	"card_expired":            {brand: "visa", lastFour: "0069", decline: provider.ExpiredCard, declineCode: "expired_card"},
	"card_action":             {brand: "mastercard", lastFour: "3220", authorize: askCustomer},
	"card_action_fails":       {brand: "mastercard", lastFour: "3063", authorize: askCustomer, action: provider.AuthenticationFailed},
	"card_timeout":            {brand: "visa", lastFour: "0408", authorize: silently},
	"card_late":               {brand: "visa", lastFour: "0425", authorize: late},
	"card_unavailable_once":   {brand: "visa", lastFour: "0500", authorize: failOnce},
	"card_capture_fails":      {brand: "amex", lastFour: "0341", capture: fail},
	"card_capture_timeout":    {brand: "amex", lastFour: "0409", capture: silently},
	"card_refund_pending":     {brand: "amex", lastFour: "7726", refund: pending},
	"card_refund_fails":       {brand: "amex", lastFour: "5126", refund: fail},
	"card_refund_timeout":     {brand: "amex", lastFour: "0410", refund: silently},
}
