package cache

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// CheckEncoding writes entries and reads them again.
func CheckEncoding(t *testing.T) {
	t.Helper()
	e := &Entry{Body: []byte(`{"data":{}}`), Made: time.UnixMicro(1_700_000_000_000_000), Ends: time.UnixMicro(1_700_003_600_000_000),
		sources: []source{{0, mark{1<<64 - 1, 77}, []uint32{0, 5, slots - 1}}, {1, mark{3, 1 << 60}, []uint32{}}}}
	b := e.encode(followed)
	got, err := decodeEntry(bytes.Clone(b), followed, 2)
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Fatalf("got %+v, %v; want %+v", got, err, e)
	}
	if _, err := decodeEntry(b, followed, 1); err == nil {
		t.Error("an entry of another configuration is read")
	}
	for n := range len(b) - len(e.Body) {
		if _, err := decodeEntry(b[:n], followed, 2); err == nil {
			t.Errorf("%d bytes are read as an entry", n)
		}
	}
}

// CheckSnapshots asks snapshots for transactions around them, in the first epoch of transaction IDs and in later ones.
func CheckSnapshots(t *testing.T) {
	t.Helper()
	const epoch = 1 << 32
	for _, c := range []struct {
		next uint64
		xid  uint32
		want bool
	}{
		{1000, 999, true}, {1000, 998, false}, {1000, 3, true}, {1000, 1000, false}, {1000, 1007, false},
		{epoch + 1000, 999, true}, {epoch + 1000, 998, false}, {epoch + 1000, 3, true}, {epoch + 1000, 1<<32 - 5, true},
		{epoch + 1000, 1000, false}, {epoch + 1000, 1007, false}, // has not ended, and is later than all that have
		{5*epoch + 1000, 1007, false}, {5*epoch + 1000, 999, true},
		{epoch - 2, 1<<32 - 3, true}, {epoch - 2, 1<<32 - 1, false}, {epoch - 2, 3, false}, {3*epoch - 2, 3, false},
		{epoch + 3, 1<<32 - 1, true}, {epoch + 3, 4, false},
	} {
		s, err := parseSnapshot(fmt.Sprintf("%d:%d:%d", c.next-2, c.next, c.next-2))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.shows(c.xid); got != c.want {
			t.Errorf("next %d/%d, running the one before the last: %d is seen: %v", c.next/epoch, c.next%epoch, c.xid, got)
		}
	}
	for _, text := range []string{"", "1:2", "1:2:3:4", "1:x:", "1:2:x"} {
		if _, err := parseSnapshot(text); err == nil {
			t.Errorf("%q is taken for a snapshot", text)
		}
	}
}
