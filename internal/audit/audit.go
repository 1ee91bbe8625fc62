// Package audit makes entries of the audit log: who has done what to what. A domain adds its entries to its own queue of jobs,
// in the transaction of the change ([emporium/internal/jobs.Queue.Audit]); a job hands them to whoever keeps the log, which
// knows by their IDs those that it has already. So there is an entry exactly if there was a change, and one of it.
package audit

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/money"
)

// Action is what was done.
type Action string

// What is done to the catalogue, to orders, terms and payments, and to jobs. Those of accounts are where accounts are.
const (
	ProductCreated           Action = "PRODUCT_CREATED"
	ProductUpdated           Action = "PRODUCT_UPDATED"
	ProductPublished         Action = "PRODUCT_PUBLISHED"
	ProductUnpublished       Action = "PRODUCT_UNPUBLISHED"
	ProductArchived          Action = "PRODUCT_ARCHIVED"
	ProductRestored          Action = "PRODUCT_RESTORED"
	ProductScheduled         Action = "PRODUCT_SCHEDULED"
	ProductOptionsSet        Action = "PRODUCT_OPTIONS_SET"
	ProductMediaReordered    Action = "PRODUCT_MEDIA_REORDERED"
	ProductVariantsReordered Action = "PRODUCT_VARIANTS_REORDERED"
	MediaAdded               Action = "MEDIA_ADDED"
	MediaUpdated             Action = "MEDIA_UPDATED"
	MediaRemoved             Action = "MEDIA_REMOVED"
	VariantCreated           Action = "VARIANT_CREATED"
	VariantUpdated           Action = "VARIANT_UPDATED"
	VariantDeleted           Action = "VARIANT_DELETED"
	StockAdjusted            Action = "STOCK_ADJUSTED"
	StockSet                 Action = "STOCK_SET"

	CategoryCreated             Action = "CATEGORY_CREATED"
	CategoryUpdated             Action = "CATEGORY_UPDATED"
	CategoryMoved               Action = "CATEGORY_MOVED"
	CategoryDeleted             Action = "CATEGORY_DELETED"
	CategoriesReordered         Action = "CATEGORIES_REORDERED"
	CollectionCreated           Action = "COLLECTION_CREATED"
	CollectionUpdated           Action = "COLLECTION_UPDATED"
	CollectionDeleted           Action = "COLLECTION_DELETED"
	CollectionProductsAdded     Action = "COLLECTION_PRODUCTS_ADDED"
	CollectionProductsRemoved   Action = "COLLECTION_PRODUCTS_REMOVED"
	CollectionProductsReordered Action = "COLLECTION_PRODUCTS_REORDERED"

	OrderDraftCreated    Action = "ORDER_DRAFT_CREATED"
	OrderDraftUpdated    Action = "ORDER_DRAFT_UPDATED"
	OrderDraftPlaced     Action = "ORDER_DRAFT_PLACED"
	OrderPaymentStarted  Action = "ORDER_PAYMENT_STARTED"
	OrderConfirmed       Action = "ORDER_CONFIRMED"
	OrderCanceled        Action = "ORDER_CANCELED"
	OrderFulfilled       Action = "ORDER_FULFILLED"
	OrderReturned        Action = "ORDER_RETURNED"
	OrderEdited          Action = "ORDER_EDITED"
	OrderNoteAdded       Action = "ORDER_NOTE_ADDED"
	FulfillmentShipped   Action = "FULFILLMENT_SHIPPED"
	FulfillmentDelivered Action = "FULFILLMENT_DELIVERED"
	FulfillmentCanceled  Action = "FULFILLMENT_CANCELED"

	DiscountCreated           Action = "DISCOUNT_CREATED"
	DiscountUpdated           Action = "DISCOUNT_UPDATED"
	DiscountDeactivated       Action = "DISCOUNT_DEACTIVATED"
	ShippingMethodCreated     Action = "SHIPPING_METHOD_CREATED"
	ShippingMethodUpdated     Action = "SHIPPING_METHOD_UPDATED"
	ShippingMethodDeactivated Action = "SHIPPING_METHOD_DEACTIVATED"
	TaxRateSet                Action = "TAX_RATE_SET"

	PaymentCaptureRequested Action = "PAYMENT_CAPTURE_REQUESTED"
	PaymentVoidRequested    Action = "PAYMENT_VOID_REQUESTED"
	PaymentRefundRequested  Action = "PAYMENT_REFUND_REQUESTED"

	JobRetried Action = "JOB_RETRIED"
)

// Details are what an entry tells besides: names of fields, IDs, statuses, amounts. No personal data and no secrets: staff
// reads them, and nothing ever deletes them. Nil says that nothing was changed, so that there is nothing to be recorded.
type Details map[string]any

// Entry is a line of the audit log, as it travels to it.
type Entry struct {
	ID      uuid.UUID  `json:"id"` // a UUIDv7 that is made with the change: its instant is the entry's
	Actor   *uuid.UUID `json:"actor"`
	Action  Action     `json:"action"`
	Object  string     `json:"object,omitempty"` // a global ID; "" for what is about no object: it is put down to the actor
	Details Details    `json:"details"`
}

// Entries are the arguments of the job that writes entries.
type Entries struct {
	Entries []Entry `json:"entries"`
}

// Kind names the job.
func (Entries) Kind() string { return "audit.write" }

// By returns the entry of what an actor has done just now; the zero ID is about no object. Actor is nil for nobody of the graph.
func By(actor *uuid.UUID, action Action, object id.ID, d Details) Entry {
	e := Entry{ID: id.New(), Actor: actor, Action: action, Details: d}
	if object != (id.ID{}) {
		e.Object = object.String()
	}
	return e
}

// Of returns the entry of what the actor of the context has done just now, or none where nothing was changed.
func Of(ctx context.Context, action Action, object id.ID, d Details) []Entry {
	if d == nil {
		return nil
	}
	var actor *uuid.UUID
	if a := auth.Peek(ctx); a.SignedIn() {
		actor = &a.ID
	}
	return []Entry{By(actor, action, object, d)}
}

// Concerns reports whether what the actor of the context does to something of an owner's is to be recorded: staff and machines
// always, others when it is not theirs.
func Concerns(ctx context.Context, owner uuid.UUID) bool {
	a := auth.Peek(ctx)
	return a.Has(auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService) || !a.Is(owner)
}

// told are fields whose values are no secret, beside those that are statuses and amounts.
var told = []string{"Active", "BasisPoints", "CancelReason"}

// Changes says which exported fields of a struct have become others, except for those that are named; nil if none has. Of
// statuses and amounts, which are fields like PriceMinor of a struct with a Currency, it says from what to what.
func Changes[T any](before, after T, except ...string) Details {
	b, a := reflect.ValueOf(before), reflect.ValueOf(after)
	var fields []string
	d := Details{}
	for i := range b.NumField() {
		name := b.Type().Field(i).Name
		was, is := b.Field(i), a.Field(i)
		if !b.Type().Field(i).IsExported() || slices.Contains(except, name) || alike(was, is) {
			continue
		}
		field := fieldName(strings.TrimSuffix(name, "Minor"))
		fields = append(fields, field)
		switch {
		case strings.HasSuffix(name, "Minor"):
			d[field] = FromTo(amount(was, b), amount(is, a))
		case strings.HasSuffix(name, "Status"), slices.Contains(told, name):
			d[field] = FromTo(was.Interface(), is.Interface())
		}
	}
	if fields == nil {
		return nil
	}
	d["fields"] = fields
	return d
}

// FromTo says what something was before and is now.
func FromTo(from, to any) map[string]any { return map[string]any{"from": from, "to": to} }

// alike tells whether two values are equal; no elements are as good as no list.
func alike(a, b reflect.Value) bool {
	if k := a.Kind(); (k == reflect.Slice || k == reflect.Map) && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// amount is an amount of minor units in the currency of its struct; nil if there is none.
func amount(v, of reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	currency, _ := of.FieldByName("Currency").Interface().(money.Currency)
	return money.New(v.Int(), currency).String()
}

// fieldName is the name of a Go field as the graph has it: SEOTitle is seoTitle, and ImageID imageId.
func fieldName(name string) string {
	runes := []rune(name)
	for i := range runes {
		inside := i > 0 && unicode.IsUpper([]rune(name)[i-1])
		ends := i+1 < len(runes) && unicode.IsLower([]rune(name)[i+1])
		if i == 0 || inside && !ends {
			runes[i] = unicode.ToLower(runes[i])
		}
	}
	return string(runes)
}
