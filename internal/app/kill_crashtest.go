//go:build crashtest

package app

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// In a build with the tag crashtest EMPORIUM_KILL_AT=POINT#N kills the process (SIGKILL) when it comes to a point for the
// N-th time.
func init() {
	point, count, ok := strings.Cut(os.Getenv("EMPORIUM_KILL_AT"), "#")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil {
		return
	}
	var seen atomic.Int64
	killAt = func(at string) {
		if at == point && seen.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it has come
		}
	}
}
