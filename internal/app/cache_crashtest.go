//go:build crashtest

package app

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"emporium/internal/cache"
)

// In a build with the tag crashtest EMPORIUM_CACHE_NAIVE=1 has the cache hear of nothing but this process's own mutations, and
// EMPORIUM_CACHE_DELAYS=SEED has it take pauses, mostly short, at the steps at which something else can come first.
func init() {
	naive := os.Getenv("EMPORIUM_CACHE_NAIVE") == "1"
	seed, err := strconv.ParseUint(os.Getenv("EMPORIUM_CACHE_DELAYS"), 10, 64)
	delays := err == nil
	if !naive && !delays {
		return
	}
	changeCache = func(o *cache.Options) {
		o.Naive = naive
		if !delays {
			return
		}
		var mu sync.Mutex
		r := rand.New(rand.NewPCG(seed, uint64(os.Getpid())))
		o.Delay = func(string) {
			mu.Lock()
			kind, pause := r.IntN(4000), time.Duration(r.IntN(3000))*time.Microsecond
			mu.Unlock()
			switch {
			case kind == 0:
				pause *= 250
			case kind < 40:
				pause *= 20
			case kind > 500:
				return
			}
			time.Sleep(pause)
		}
	}
}
