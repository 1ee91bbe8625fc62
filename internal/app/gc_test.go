package app

import "testing"

func TestGarbageDoesNotGrowWithWhatIsKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kept int64
		want int
	}{{0, 1000}, {1 << 20, 952}, {64 << 20, 238}, {180 << 20, 100}, {1 << 40, 100}} {
		if got := gcPercentFor(test.kept); got != test.want {
			t.Errorf("with %d bytes: %d %%, not %d %%", test.kept, got, test.want)
		}
	}
}
