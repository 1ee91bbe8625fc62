package logical

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"emporium/internal/postgres/pgtest"
)

var update = flag.Bool("update", false, "record testdata/traffic.bin anew")

const traffic = "testdata/traffic.bin"

// TestTraffic records what a server says, if asked to, and decodes what was recorded: the bodies of its CopyData, each
// after its length in four bytes.
func TestTraffic(t *testing.T) {
	t.Parallel()
	if *update {
		record(t)
	}
	sink, d := newRecorder(), decoder{wants: wants}
	kinds := map[string]int{}
	for _, message := range recorded(t) {
		if message[0] == 'w' {
			kinds[string(message[25])]++
		} else {
			kinds[string(message[0])]++
		}
		if _, err := d.message(message, sink); err != nil {
			t.Fatalf("%q: %v", message, err)
		}
	}
	for _, kind := range []string{"k", "B", "C", "R", "Y", "I", "U", "D", "T"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s was recorded", kind)
		}
	}
	long := "notes.body=0123456789… 3000 bytes"
	want := []string{
		"begin", "changed items", "items.id=" + digits(1), "items.slug=lamp", "changed items", "items.id=" + digits(2), "commit",
		"begin", "changed notes", "notes.item=" + digits(1), long, "commit",
		"begin", "changed notes", "notes.item=" + digits(1), long, "commit", // the value is not sent again
		"begin", "changed items", "items.id=" + digits(1), "items.slug=lamp", "items.slug=", "commit",
		"begin", "schema items", "changed items", "items.id=" + digits(2), "commit",
		"begin", "truncate items", "truncate notes", "commit",
	}
	if !slices.Equal(sink.events, want) {
		t.Errorf("told:\n\t%s", strings.Join(sink.events, "\n\t"))
	}
}

func record(t *testing.T) {
	o := shop(t)
	pgtest.CommonCluster(t).Exec(t, o.URL, `ALTER TABLE notes ALTER body SET STORAGE EXTERNAL; CREATE TYPE color AS ENUM ('red');
		ALTER TABLE items ADD color color, ADD grant_of aclitem`)
	p := newProxy(t, o.URL)
	url := o.URL
	o.URL = p.url
	stream, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	f := run(t, stream, newRecorder(), url)
	for _, sql := range []string{
		"INSERT INTO items VALUES ('" + key(1) + "', 'lamp', 1.5, '" + key(9) + "', 'red', 'postgres=r/postgres'), ('" + key(2) + "', NULL, NULL, NULL, NULL, NULL)",
		"INSERT INTO notes VALUES (1, '" + key(1) + "', repeat('0123456789', 300))",
		"UPDATE notes SET id = 2",
		"UPDATE items SET slug = '' WHERE slug = 'lamp'",
		"ALTER TABLE items DROP price",
		"DELETE FROM items WHERE slug IS NULL",
		"TRUNCATE items, notes",
	} {
		f.exec(t, sql)
		f.caughtUp(t)
	}
	f.cancel()
	f.end(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []byte
	authenticated := strings.Index(string(p.said), "R\x00\x00\x00\x08") // what is before belongs to the negotiation
	for said := p.said[authenticated:]; len(said) >= 5; {
		size := int(binary.BigEndian.Uint32(said[1:]))
		if len(said) < 1+size {
			break
		}
		if said[0] == 'd' {
			all = append(binary.BigEndian.AppendUint32(all, uint32(size-4)), said[5:1+size]...)
		}
		said = said[1+size:]
	}
	if err := os.MkdirAll(filepath.Dir(traffic), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(traffic, all, 0o644); err != nil {
		t.Fatal(err)
	}
}

func recorded(t testing.TB) [][]byte {
	t.Helper()
	all, err := os.ReadFile(traffic)
	if err != nil {
		t.Fatal(err)
	}
	return split(all)
}

// split takes messages apart; a length that is too large means all that is left.
func split(all []byte) (messages [][]byte) {
	for len(all) >= 4 {
		size := min(uint64(binary.BigEndian.Uint32(all)), uint64(len(all)-4))
		messages = append(messages, all[4:4+size:4+size])
		all = all[4+size:]
	}
	return messages
}

// strict is a sink that wants calls to be in order.
type strict struct {
	inside bool
	last   LSN
	faults []string
}

func (s *strict) Begin(uint32, LSN) { s.hold(!s.inside, "begin"); s.inside = true }
func (s *strict) Changed(r *Relation) {
	s.hold(s.inside && r != nil, "changed")
}
func (s *strict) Row(r *Relation, column int, value []byte) {
	s.hold(s.inside && column < len(r.Columns) && value != nil, "row")
}
func (s *strict) Truncate(r *Relation)    { s.hold(s.inside && r != nil, "truncate") }
func (s *strict) Schema(r *Relation)      { s.hold(r.Tag == nil, "schema") }
func (s *strict) Commit(uint32, LSN, LSN) { s.hold(s.inside, "commit"); s.inside = false }
func (s *strict) Position(end LSN)        { s.hold(end >= s.last, "position"); s.last = end }
func (s *strict) hold(ok bool, what string) {
	if !ok {
		s.faults = append(s.faults, what)
	}
}

func FuzzDecode(f *testing.F) {
	all, err := os.ReadFile(traffic)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(all)
	var relations []byte
	for _, message := range split(all) {
		sized := append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
		if message[0] == 'w' && (message[25] == 'R' || message[25] == 'B') && len(relations) < 1000 {
			relations = append(relations, sized...)
		}
		f.Add(append(slices.Clone(relations), sized...))
	}
	f.Fuzz(func(t *testing.T, all []byte) {
		sink, d := &strict{}, decoder{wants: wants}
		for _, message := range split(all) {
			if _, err := d.message(message, sink); err != nil {
				break // as Run does
			}
		}
		if len(sink.faults) > 0 {
			t.Errorf("told out of order: %v", sink.faults)
		}
	})
}

// TestTruncatedMessages cuts every message short at each byte, and adds one.
func TestTruncatedMessages(t *testing.T) {
	t.Parallel()
	messages := recorded(t)
	for i, message := range messages {
		if kind := message[min(25, len(message)-1)]; message[0] == 'w' && kind == 'Y' {
			continue // is not looked at
		}
		step := max(1, len(message)/200)
		for size := 0; size <= len(message)+1; size += step {
			if size == len(message) {
				continue
			}
			d := decoder{wants: wants}
			for _, before := range messages[:i] {
				if _, err := d.message(before, &strict{}); err != nil {
					t.Fatal(err)
				}
			}
			bad := append(slices.Clone(message), 0)[:size]
			if _, err := d.message(bad, &strict{}); err == nil {
				t.Errorf("message %d (%q) of %d bytes is read with %d", i, message[:1], len(message), size)
			}
		}
	}
}

func TestMessagesOutOfPlace(t *testing.T) {
	t.Parallel()
	messages := recorded(t)
	find := func(kind byte) []byte {
		i := slices.IndexFunc(messages, func(m []byte) bool { return m[0] == 'w' && m[25] == kind })
		return messages[i]
	}
	partly := slices.Clone(find('U')) // with a key instead of the whole old row
	partly[30] = 'K'
	key := slices.Clone(find('R'))
	key[slices.Index(key, 'f')] = 'd'
	for name, c := range map[string]struct {
		messages [][]byte
		says     string
	}{
		"a row of nothing":      {[][]byte{find('B'), find('I')}, "has not been described"},
		"a row outside":         {[][]byte{find('R'), find('I')}, "outside of a transaction"},
		"two begins":            {[][]byte{find('B'), find('B')}, "within another"},
		"a commit alone":        {[][]byte{find('C')}, "has not begun"},
		"an unknown message":    {[][]byte{append(slices.Clone(find('B')[:25]), '?')}, "unknown message"},
		"an unknown envelope":   {[][]byte{[]byte("x")}, "unknown message"},
		"nothing":               {[][]byte{{}}, "unknown message"},
		"part of the old row":   {append(upTo(messages, 'U'), partly), "REPLICA IDENTITY FULL"},
		"another replica ident": {[][]byte{key}, "REPLICA IDENTITY FULL"},
	} {
		d := decoder{wants: wants}
		var err error
		for _, message := range c.messages {
			if _, err = d.message(message, &strict{}); err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func upTo(messages [][]byte, kind byte) [][]byte {
	return slices.Clone(messages[:slices.IndexFunc(messages, func(m []byte) bool { return m[0] == 'w' && m[25] == kind })])
}

// rows is a decoder within a transaction and a message of a kind for it.
func rows(t testing.TB, kind byte) (d *decoder, message []byte) {
	messages := recorded(t)
	before := upTo(messages, kind)
	d = &decoder{wants: wants}
	for _, m := range before {
		if _, err := d.message(m, &strict{}); err != nil {
			t.Fatal(err)
		}
	}
	return d, messages[len(before)]
}

// deaf is a sink that does nothing.
type deaf struct{ rows int }

func (*deaf) Begin(uint32, LSN)          {}
func (s *deaf) Changed(*Relation)        { s.rows++ }
func (*deaf) Row(*Relation, int, []byte) {}
func (*deaf) Truncate(*Relation)         {}
func (*deaf) Schema(*Relation)           {}
func (*deaf) Commit(uint32, LSN, LSN)    {}
func (*deaf) Position(LSN)               {}

func TestRowsAllocateNothing(t *testing.T) {
	for _, kind := range []byte("IUD") {
		d, message := rows(t, kind)
		sink := &deaf{}
		if n := testing.AllocsPerRun(100, func() {
			if _, err := d.message(message, sink); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%c: %v allocations", kind, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, kind := range []byte("IUD") {
		b.Run(string(kind), func(b *testing.B) {
			d, message := rows(b, kind)
			sink := &deaf{}
			b.ReportAllocs()
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				if _, err := d.message(message, sink); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// committed is a deaf sink that tells of commits.
type committed struct {
	deaf
	done chan int
}

func (s *committed) Commit(uint32, LSN, LSN) { s.done <- s.rows; s.rows = 0 }

// BenchmarkFollow measures from a commit on the server to its being told.
func BenchmarkFollow(b *testing.B) {
	for _, size := range []int{1, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			o := shop(b)
			stream, err := Open(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			sink, ended := &committed{done: make(chan int, 1)}, make(chan error, 1)
			go func() { ended <- stream.Run(ctx, sink) }()
			pool := pgtest.CommonCluster(b).Pool(b, o.URL)
			write := func() {
				tx, err := pool.Begin(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := tx.Exec(b.Context(), "INSERT INTO items SELECT gen_random_uuid(), 'item-' || n, n FROM generate_series(1, $1) n", size); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := tx.Commit(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			b.StopTimer()
			for range b.N {
				write()
				if n := <-sink.done; n != size {
					b.Fatalf("%d rows were told", n)
				}
				b.StopTimer()
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "rows/s")
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				b.Error(err)
			}
		})
	}
}
