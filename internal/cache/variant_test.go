package cache_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"emporium/internal/cache"
)

// TestVariantsAreMadeOnce also where compressing does not pay.
func TestVariantsAreMadeOnce(t *testing.T) {
	noise := make([]byte, 4<<10)
	_, _ = rand.Read(noise)
	for name, body := range map[string][]byte{"text": []byte(strings.Repeat("an answer, ", 400)), "noise": noise, "short": []byte("short")} {
		for _, coding := range []string{"gzip", "br", "zstd", "gzip, br, zstd"} {
			e := &cache.Entry{Body: body}
			first, by := e.Variant(coding)
			if packed := name == "text"; packed != (by != "") || packed != (len(first) < len(body)/2) {
				t.Errorf("%s, %s: %d of %d bytes in %q", name, coding, len(first), len(body), by)
			}
			if n := testing.AllocsPerRun(10, func() { e.Variant(coding) }); n != 0 {
				t.Errorf("%s, %s: %v allocations for what is made already", name, coding, n)
			}
		}
	}
}
