package cache

import (
	"bytes"
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
