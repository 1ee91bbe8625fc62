package app

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent lets the heap grow to eleven times of what is live before it is collected: requests live for milliseconds and
	// leave much garbage behind. Measured in docs/adr/0011-what-did-not-pay.md.
	gcPercent = 1000
	// liveBytes is about what is live of a server that keeps no answers.
	liveBytes = 20 << 20
)

// gcPercentFor leaves as much garbage lying when so many bytes of answers are kept as without them, rather than ten times
// those, too.
func gcPercentFor(kept int64) int {
	return int(max(gcPercent*liveBytes/(liveBytes+kept), 100))
}

// tuneGC trades memory for speed where there is memory: it holds only up to half of what the cgroup or the machine has,
// beyond which the collector works as hard as it must. Kept is how many bytes the answers may take that are kept. GOGC and
// GOMEMLIMIT in the environment go before it.
func tuneGC(log *slog.Logger, kept int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercentFor(kept))
	}
	limit, err := memlimit.Set(memlimit.WithRatio(0.5),
		memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
	if err != nil {
		log.Warn("the memory limit can not be found out; the garbage collector keeps its default", "error", err)
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(100)
		}
		return
	}
	log.Debug("memory limit", "bytes", limit)
}
