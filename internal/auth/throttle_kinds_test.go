//go:build unix

package auth

import (
	"testing"

	"emporium/internal/redisclient"
	"emporium/internal/redisclient/redistest"
)

// TestThrottleKinds counts in a cluster, whose keys are in different places, and in what Sentinels watch.
func TestThrottleKinds(t *testing.T) {
	for kind, url := range map[string]string{
		"cluster": redistest.NewCluster(t).URL(), "Sentinel": redistest.NewWatched(t).URL(), "single": redistest.New(t).URL(),
	} {
		client, err := redisclient.Open(url, 8)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		cfg := ThrottleConfig{Redis: client, Secret: []byte("secret")}
		a, b := throttle(t, cfg), throttle(t, cfg)
		for _, account := range []string{"kim", "lee", "max", "ada", "eve", "bob"} {
			n := 0
			for ; n < 20; n++ {
				if ok, _ := []*Throttle{a, b}[n%2].Allow(t.Context(), ThrottleAccount, account); !ok {
					break
				}
			}
			if n != 10 || a.down.Load() || b.down.Load() {
				t.Errorf("%s: %s has %d attempts; left Redis alone: %t, %t", kind, account, n, a.down.Load(), b.down.Load())
			}
			a.Reset(t.Context(), ThrottleAccount, account)
			if ok, _ := b.Allow(t.Context(), ThrottleAccount, account); !ok {
				t.Errorf("%s: %s is refused after a reset", kind, account)
			}
		}
	}
}
