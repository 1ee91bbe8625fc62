//go:build unix

package race

import (
	"fmt"
	"os"
	"testing"
	"time"

	"emporium/e2e/shop"
)

// TestMeasure tells how long mutations take without the cache, and with it in one process and in two; see make race-cache.
func TestMeasure(t *testing.T) {
	if os.Getenv("EMPORIUM_RACE_MEASURE") == "" {
		t.Skip("it measures for minutes: EMPORIUM_RACE_MEASURE=1 make race-cache runs it")
	}
	for _, with := range []struct {
		servers int
		cache   string
	}{{1, "off"}, {1, "on"}, {2, "on"}} {
		t.Run(fmt.Sprintf("%d servers, cache %s", with.servers, with.cache), func(t *testing.T) {
			s := shop.Open(t, with.servers, "CACHE="+with.cache)
			_, catalogue := s.Settle(0)
			var took []time.Duration
			warm := time.Now().Add(2 * time.Second) // connections that are new have everybody wait for a moment
			for n := 0; len(took) < 500; n++ {
				began := time.Now()
				s.Must(s.Manager, `mutation($in: ProductUpdateInput!) { productUpdate(input: $in) { userErrors { message } } }`,
					map[string]any{"in": map[string]any{"productId": catalogue[0].Text("id"), "title": fmt.Sprintf("Thing v%d", n)}})
				if began.After(warm) {
					took = append(took, time.Since(began))
				}
			}
			t.Logf("a mutation takes %s", quantiles(took))
		})
	}
}
