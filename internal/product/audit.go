package product

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"emporium/internal/audit"
	"emporium/internal/id"
)

// told are the entries of the audit log about what an edit of a product has changed: of its variants or media, if that is what
// the action is about, otherwise of the product as a whole. There are none if nothing has changed.
func (e edited) told(ctx context.Context, action audit.Action) (entries []audit.Entry) {
	switch action {
	case audit.VariantCreated, audit.VariantUpdated, audit.VariantDeleted:
		// Where they stand, and what options are called, is the product's.
		return toldOf(ctx, action, e, id.Variant, e.was.Variants, e.is.Variants, func(v VariantDraft) (uuid.UUID, Variant) { return v.ID, v.Variant },
			"Position", "OptionNames")
	case audit.MediaAdded, audit.MediaUpdated, audit.MediaRemoved:
		return toldOf(ctx, action, e, id.Media, e.was.Media, e.is.Media, func(m Media) (uuid.UUID, Media) { return m.ID, m }, "Position")
	case audit.ProductCreated:
		return audit.Of(ctx, action, e.is.GlobalID(), audit.Details{"status": e.is.Status})
	}
	// Times and prices follow from other things.
	d := audit.Changes(e.was.Product, e.is.Product, "Description", "CreatedAt", "UpdatedAt", "PublishedAt", "Currency", "PriceMin", "PriceMax")
	parts := audit.Changes(e.was.parts(), e.is.parts())
	switch {
	case d == nil:
		d = parts
	case parts != nil:
		d["fields"] = append(d["fields"].([]string), parts["fields"].([]string)...)
	}
	return audit.Of(ctx, action, e.is.GlobalID(), d)
}

// parts is what belongs to a product and is told of together.
type parts struct {
	Options     []Option
	Media       []Media
	Variants    []Variant
	Collections []uuid.UUID
}

func (d *Draft) parts() parts {
	p := parts{Options: d.Options, Media: slices.Clone(d.Media), Collections: d.Collections}
	for i := range p.Media {
		p.Media[i].Position = i
	}
	for i, v := range d.Variants {
		v.Position, v.OptionNames = i, nil
		p.Variants = append(p.Variants, v.Variant)
	}
	return p
}

// toldOf are the entries about the parts of a product that came, went, or have changed in other than the named fields.
func toldOf[P, T any](
	ctx context.Context, action audit.Action, e edited, kind id.Kind, before, after []P, of func(P) (uuid.UUID, T), except ...string,
) (entries []audit.Entry) {
	product := e.is.GlobalID().String()
	tell := func(key uuid.UUID, d audit.Details) {
		if d != nil {
			d["product"] = product
		}
		entries = append(entries, audit.Of(ctx, action, id.Of(kind, key), d)...)
	}
	old := map[uuid.UUID]T{}
	for _, p := range before {
		key, part := of(p)
		old[key] = part
	}
	for _, p := range after {
		key, part := of(p)
		if was, ok := old[key]; ok {
			tell(key, audit.Changes(was, part, except...))
		} else {
			tell(key, audit.Details{})
		}
		delete(old, key)
	}
	for _, p := range before {
		if key, _ := of(p); hasKey(old, key) {
			tell(key, audit.Details{})
		}
	}
	return entries
}

func hasKey[K comparable, V any](of map[K]V, key K) bool {
	_, ok := of[key]
	return ok
}
