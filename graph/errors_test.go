package graph

import (
	"strings"
	"testing"

	"emporium/graph/exec"
)

// TestStackOfAPanic wants that of what panicked, where the executor has kept it, and not that of what reports it.
func TestStackOfAPanic(t *testing.T) {
	t.Parallel()
	if got := stackOf(&exec.Panic{Value: "x", Stack: []byte("goroutine 7: the resolver")}); got != "goroutine 7: the resolver" {
		t.Errorf("of a field: %s", got)
	}
	if got := stackOf("x"); !strings.Contains(got, "TestStackOfAPanic") {
		t.Errorf("of anything else: %s", got)
	}
}
