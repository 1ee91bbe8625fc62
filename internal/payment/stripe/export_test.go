package stripe

// What is tested without Stripe.
var (
	StateOf    = stateOf
	ToStripe   = toStripe
	FromStripe = fromStripe
)
