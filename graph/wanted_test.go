package graph

import (
	"reflect"
	"testing"

	"emporium/internal/postgres"
)

// TestValuesMadeOfLoadedRows asks for what is made of a row beside some of the row itself: what it is made of is read
// though nobody asks for it by name.
func TestValuesMadeOfLoadedRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	variant := w.ids["Variant"]
	if _, err := postgres.Exec(t.Context(), w.dbs.Products, postgres.Stmt{Name: "test.hold",
		SQL: "UPDATE products.stock SET held = 17 WHERE variant_id = $1"}, variant.Key); err != nil {
		t.Fatal(err)
	}
	availability := map[string]any{"inStock": true, "quantity": 3.}
	for inventory, want := range map[string]map[string]any{
		"onHand":                {"onHand": 20.},
		"held":                  {"held": 17.},
		"available":             {"available": 3.},
		"__typename":            {"__typename": "Inventory"},
		"onHand held available": {"onHand": 20., "held": 17., "available": 3.},
	} {
		got := w.data("support", `query($id: ID!) { variant(id: $id) { availability { inStock quantity } inventory { `+inventory+` } } }`,
			map[string]any{"id": variant.String()})
		if all := map[string]any{"variant": map[string]any{"availability": availability, "inventory": want}}; !reflect.DeepEqual(got, all) {
			t.Errorf("inventory { %s }: %v, want %v", inventory, got, all)
		}
	}
}
