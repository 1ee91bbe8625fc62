package app

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// gcPercent lets the heap grow to eleven times of what is live before it is collected: requests live for milliseconds and
// leave much garbage behind. Measured in docs/adr/0011-what-did-not-pay.md.
const gcPercent = 1000

// tuneGC trades memory for speed where there is memory: it holds only up to half of what the cgroup or the machine has,
// beyond which the collector works as hard as it must. GOGC and GOMEMLIMIT in the environment go before it.
func tuneGC(log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
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
