package seed

import (
	"time"

	"emporium/internal/order"
	"emporium/internal/payment"
)

// story is an order of the demo shop: who began it when, and what became of it.
type story struct {
	daysAgo int
	who     string // the first name
	happens func(*tale)
}

// stories returns the orders of the demo shop, the oldest first.
func stories() []story {
	return []story{
		{178, "Ada", completed},
		{174, "Jonas", completed},
		{171, "Grace", completedByBank},
		{168, "Chloé", completed},
		{165, "Mei-Lin", completed},
		{161, "Tomás", paymentFailed},
		{161, "Tomás", completed},
		{158, "Ada", completedInTwoParcels},
		{155, "Aoife", completed},
		{151, "Samuel", sentBack},
		{149, "Luca", completed},
		{146, "Hanna", completedAfterRetry},
		{142, "Jonas", completedByBank},
		{139, "Grace", partlyRefunded},
		{136, "Mei-Lin", completed},
		{133, "Chloé", canceledBeforeCapture},
		{130, "Ada", sentBack},
		{126, "Aoife", completedInTwoParcels},
		{123, "Luca", expired},
		{120, "Tomás", completed},
		{116, "Hanna", completed},
		{113, "Samuel", canceledAfterCapture},
		{110, "Jonas", completed},
		{106, "Ada", completed},
		{104, "Mei-Lin", partlyRefunded},
		{101, "Grace", completed},
		{98, "Chloé", completedByBank},
		{95, "Luca", completed},
		{92, "Aoife", completed},
		{88, "Hanna", halfSentBack},
		{85, "Ada", canceledBeforeCapture},
		{82, "Jonas", completedInTwoParcels},
		{79, "Tomás", completed},
		{75, "Grace", expiredUnanswered},
		{75, "Grace", completed},
		{71, "Mei-Lin", sentBack},
		{68, "Chloé", completed},
		{64, "Luca", completed},
		{60, "Noor", completed},
		{57, "Ada", completedAfterRetry},
		{53, "Aoife", completedByBank},
		{50, "Hanna", completed},
		{46, "Jonas", partlyRefunded},
		{43, "Grace", completed},
		{39, "Tomás", canceledAfterCapture},
		{36, "Ada", partlyRefunded},
		{33, "Mei-Lin", completed},
		{29, "Chloé", completed},
		{26, "Luca", completedInTwoParcels},
		{23, "Noor", completed},
		{20, "Aoife", delivered},
		{18, "Ada", delivered},
		{15, "Grace", delivered},
		{12, "Hanna", partShipped},
		{10, "Jonas", parcelCanceled},
		{8, "Ada", partShipped},
		{7, "Tomás", shipped},
		{5, "Mei-Lin", shipped},
		{4, "Ada", shipped},
		{3, "Chloé", packing},
		{2, "Grace", packing},
		{2, "Luca", awaitingTransfer},
		{1, "Aoife", placed},
		{1, "Ada", placed},
		{0, "Jonas", confirmationAsked},
		{0, "Ada", pending},
	}
}

func completed(t *tale) {
	t.buy()
	t.confirm()
	t.pack(true)
	t.report(payment.EventCaptured, t.total())
	t.send()
	t.arrive()
	t.complete()
}

func completedByBank(t *tale) {
	t.buyByBank()
	t.confirm()
	t.pack(true)
	t.send()
	t.arrive()
	t.complete()
}

func completedInTwoParcels(t *tale) {
	t.buy()
	t.confirm()
	t.pack(false)
	part := t.draft.Lines[0].TotalMinor
	t.report(payment.EventCaptured, part)
	t.send()
	t.arrive()
	t.pack(true)
	t.report(payment.EventCaptured, t.total()-part)
	t.send()
	t.arrive()
	t.complete()
}

func completedAfterRetry(t *tale) {
	t.pay()
	t.report(payment.EventFailed, t.total())
	completed(t)
}

func paymentFailed(t *tale) {
	t.pay()
	t.report(payment.EventFailed, t.total())
	t.draft.Order.Status = order.StatusPaymentFailed
}

func expired(t *tale) {
	t.pay()
	t.report(payment.EventAuthorized, t.total())
	t.wait(30*time.Minute, 31*time.Minute)
	t.draft.Order.Status = order.StatusExpired
	t.tell(order.EventExpired, "The goods were sold before the order could be finished.")
	t.report(payment.EventVoided, t.total())
}

func expiredUnanswered(t *tale) {
	t.pay()
	t.report(payment.EventActionRequired, t.total())
	t.wait(30*time.Minute, 31*time.Minute)
	t.report(payment.EventFailed, t.total())
	t.draft.Order.Status = order.StatusExpired
	t.tell(order.EventExpired, "The payment was not confirmed in time.")
}

func canceledBeforeCapture(t *tale) {
	t.buy()
	t.cancel("The customer has changed their mind.")
	t.report(payment.EventVoided, t.total())
}

func canceledAfterCapture(t *tale) {
	t.buyByBank()
	t.cancel("The shop could not deliver.")
	t.report(payment.EventRefunded, t.total())
}

func sentBack(t *tale) {
	t.buy()
	t.confirm()
	t.pack(true)
	t.report(payment.EventCaptured, t.total())
	t.send()
	t.arrive()
	t.sendBack()
	t.report(payment.EventRefunded, t.total())
	t.complete()
}

// halfSentBack keeps the first parcel.
func halfSentBack(t *tale) {
	t.buy()
	t.confirm()
	t.report(payment.EventCaptured, t.total())
	t.pack(false)
	t.send()
	t.arrive()
	t.pack(true)
	t.send()
	t.arrive()
	t.sendBack()
	t.report(payment.EventRefunded, t.draft.Lines[len(t.draft.Lines)-1].TotalMinor)
	t.complete()
}

func partlyRefunded(t *tale) {
	t.buy()
	t.confirm()
	t.pack(true)
	t.report(payment.EventCaptured, t.total())
	t.send()
	t.arrive()
	t.tell(order.EventNote, "A piece arrived with a scratch; a fifth of its price was promised back.")
	t.report(payment.EventRefunded, t.draft.Lines[0].TotalMinor/5)
	t.complete()
}

func delivered(t *tale) {
	t.buy()
	t.confirm()
	t.pack(true)
	t.report(payment.EventCaptured, t.total())
	t.send()
	t.arrive()
}

func partShipped(t *tale) {
	t.buy()
	t.confirm()
	t.pack(false)
	t.report(payment.EventCaptured, t.draft.Lines[0].TotalMinor)
	t.send()
	t.arrive()
	t.pack(true)
	t.tell(order.EventNote, "The rest waits for a delivery of ours.")
}

// parcelCanceled has a parcel that was packed and taken apart again before the right one was sent.
func parcelCanceled(t *tale) {
	t.buy()
	t.confirm()
	t.pack(true)
	t.parcel().Status = order.ParcelCanceled
	clear(t.packed)
	t.tell(order.EventNote, "The box was too small; packed again.")
	t.pack(true)
	t.report(payment.EventCaptured, t.total())
	t.send()
}

func shipped(t *tale) {
	t.buy()
	t.confirm()
	t.pack(true)
	t.report(payment.EventCaptured, t.total())
	t.send()
}

func packing(t *tale) {
	t.buy()
	t.confirm()
	t.pack(true)
}

func placed(t *tale) { t.buy() }

// awaitingTransfer was placed; the money is not there yet.
func awaitingTransfer(t *tale) {
	t.payByBank()
	t.place()
}

// confirmationAsked waits for the customer.
func confirmationAsked(t *tale) {
	t.pay()
	t.report(payment.EventActionRequired, t.total())
}

// pending waits for the provider.
func pending(t *tale) { t.pay() }
