package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"emporium/internal/fault"
)

// cheap keeps the tests quick.
var cheap = Params{Memory: 64, Passes: 1, Lanes: 1}

func hasher(t testing.TB, cfg HasherConfig) *Hasher {
	t.Helper()
	h, err := NewHasher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHasherDefaults(t *testing.T) {
	h := hasher(t, HasherConfig{})
	phc, err := h.Hash(t.Context(), "correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{phc, h.dummy} {
		if !strings.HasPrefix(s, "$argon2id$v=19$m=19456,t=2,p=1$") || len(s) != 97 {
			t.Errorf("PHC string %q", s)
		}
	}
	ok, rehash, err := h.Verify(t.Context(), "correct horse battery staple", phc)
	if !ok || rehash || err != nil {
		t.Errorf("Verify = %v, %v, %v", ok, rehash, err)
	}
	if h.queue != 64 || cap(h.slots) < 1 {
		t.Errorf("queue %d, slots %d", h.queue, cap(h.slots))
	}
}

func TestHashVerify(t *testing.T) {
	ctx := t.Context()
	h := hasher(t, HasherConfig{Params: cheap})
	const pw = "Gr\u00fc\u00dfe \ufb01x 2"
	phc := must(h.Hash(ctx, pw))
	if again := must(h.Hash(ctx, pw)); again == phc {
		t.Error("no salt")
	}
	for _, same := range []string{pw, "Gru\u0308\u00dfe fix 2", "Gr\u00fc\u00dfe \uff46ix 2"} {
		if ok, _, err := h.Verify(ctx, same, phc); !ok || err != nil {
			t.Errorf("%q: %v, %v", same, ok, err)
		}
	}
	for _, other := range []string{"", "gr\u00fc\u00dfe fix 2", pw + " ", " " + pw, "\xff", strings.Repeat("x", 1<<20), pw + "\x00"} {
		if ok, rehash, err := h.Verify(ctx, other, phc); ok || rehash || err != nil {
			t.Errorf("%.20q: %v, %v, %v", other, ok, rehash, err)
		}
		if err := h.VerifyDummy(ctx, other); err != nil {
			t.Errorf("%.20q: dummy: %v", other, err)
		}
	}
	for _, bad := range []string{"", "\xff", strings.Repeat("x", MaxPassword+1), strings.Repeat("\ufdfa", 100)} {
		if _, err := h.Hash(ctx, bad); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("Hash of %.20q: %v", bad, err)
		}
	}
	// 128 characters that need nine bytes each when they are taken apart are still a password.
	hangul := strings.Repeat("\u1112\u1161\u11ab", MaxPassword)
	if _, err := h.Hash(ctx, hangul); err != nil {
		t.Errorf("decomposed: %v", err)
	}

	dearer := hasher(t, HasherConfig{Params: Params{Memory: 128, Passes: 1, Lanes: 1}})
	if ok, rehash, err := dearer.Verify(ctx, pw, phc); !ok || !rehash || err != nil {
		t.Errorf("old parameters: %v, %v, %v", ok, rehash, err)
	}
	if ok, rehash, err := dearer.Verify(ctx, "wrong", phc); ok || rehash || err != nil {
		t.Errorf("wrong password with old parameters: %v, %v, %v", ok, rehash, err)
	}
}

func TestVerifyDummyDoesTheSameWork(t *testing.T) {
	h := hasher(t, HasherConfig{Params: cheap})
	stored, salt, sum, err := decodePHC(must(h.Hash(t.Context(), "password of somebody")))
	if err != nil {
		t.Fatal(err)
	}
	dummy, dsalt, dsum, err := decodePHC(h.dummy)
	if err != nil || dummy != stored || len(dsalt) != len(salt) || len(dsum) != len(sum) {
		t.Errorf("dummy %+v of %d and %d bytes, stored %+v of %d and %d; %v", dummy, len(dsalt), len(dsum), stored, len(salt), len(sum), err)
	}
}

func TestVerifyRefusesHashes(t *testing.T) {
	h := hasher(t, HasherConfig{Params: cheap})
	good := must(h.Hash(t.Context(), "x"))
	part := strings.Split(good, "$")
	salt, sum := part[4], part[5]
	for name, phc := range map[string]string{
		"empty":           "",
		"bcrypt":          "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"argon2i":         strings.Replace(good, "argon2id", "argon2i", 1),
		"version":         strings.Replace(good, "v=19", "v=16", 1),
		"no version":      strings.Replace(good, "$v=19", "", 1),
		"order":           strings.Replace(good, "m=64,t=1,p=1", "t=1,m=64,p=1", 1),
		"signed":          strings.Replace(good, "m=64", "m=+64", 1),
		"zeros":           strings.Replace(good, "m=64", "m=064", 1),
		"trailing params": strings.Replace(good, "p=1", "p=1,x=1", 1),
		"no passes":       strings.Replace(good, "t=1", "t=0", 1),
		"no lanes":        strings.Replace(good, "p=1", "p=0", 1),
		"huge memory":     strings.Replace(good, "m=64", "m=4294967295", 1),
		"huge passes":     strings.Replace(good, "t=1", "t=4294967295", 1),
		"many lanes":      strings.Replace(good, "m=64,t=1,p=1", "m=4096,t=1,p=255", 1),
		"padded":          strings.Replace(good, salt, salt+"==", 1),
		"short salt":      strings.Replace(good, salt, "AAAA", 1),
		"short hash":      strings.Replace(good, sum, "AAAA", 1),
		"no hash":         strings.TrimSuffix(good, sum),
		"more":            good + "$",
		"newline":         good + "\n",
		"long":            good + strings.Repeat("A", 1000),
	} {
		ok, _, err := h.Verify(t.Context(), "x", phc)
		if ok || !fault.Is(err, fault.Internal) {
			t.Errorf("%s: %v, %v", name, ok, err)
		} else if strings.Contains(err.Error(), sum) {
			t.Errorf("%s: the error quotes the hash", name)
		}
	}
	for _, p := range []Params{{Memory: 64, Passes: 1}, {Memory: 7, Passes: 1, Lanes: 1}, {Memory: 64, Lanes: 1}, {Memory: 1 << 21, Passes: 1, Lanes: 1}} {
		if _, err := NewHasher(HasherConfig{Params: p}); err == nil {
			t.Errorf("%+v: accepted", p)
		}
	}
}

func TestHasherBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hasher(t, HasherConfig{Params: cheap, Concurrency: 2, Queue: 3})
		for range 2 {
			h.slots <- struct{}{} // two hashes are being made
		}
		ctx, cancel := context.WithCancel(t.Context())
		timeout, cancelTimeout := context.WithTimeout(t.Context(), time.Second)
		defer cancelTimeout()
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i, ctx := range []context.Context{ctx, timeout, t.Context()} {
			wg.Go(func() { _, errs[i] = h.Hash(ctx, "password") })
		}
		synctest.Wait()
		for name, err := range map[string]error{
			"hash":   func() error { _, err := h.Hash(t.Context(), "password"); return err }(),
			"verify": func() error { _, _, err := h.Verify(t.Context(), "password", h.dummy); return err }(),
			"dummy":  h.VerifyDummy(t.Context(), "password"),
		} {
			if !fault.Is(err, fault.RateLimited) {
				t.Errorf("%s beyond the queue: %v", name, err)
			}
		}
		cancel()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := h.waiting.Load(); n != 1 {
			t.Errorf("%d wait, want 1", n)
		}
		<-h.slots
		wg.Wait()
		if !fault.Is(errs[0], fault.Timeout) || !errors.Is(errs[0], context.Canceled) {
			t.Errorf("cancelled: %v", errs[0])
		}
		if !fault.Is(errs[1], fault.Timeout) || !errors.Is(errs[1], context.DeadlineExceeded) {
			t.Errorf("timed out: %v", errs[1])
		}
		if errs[2] != nil {
			t.Errorf("the one that waited: %v", errs[2])
		}
		if h.waiting.Load() != 0 || len(h.slots) != 1 {
			t.Errorf("left over: %d wait, %d slots taken", h.waiting.Load(), len(h.slots))
		}
	})
}

func TestHasherConcurrency(t *testing.T) {
	h := hasher(t, HasherConfig{Params: Params{Memory: 1024, Passes: 1, Lanes: 1}, Concurrency: 2, Queue: 100})
	stop := make(chan struct{})
	var most atomic.Int64
	var watch, work sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				most.Store(max(most.Load(), int64(len(h.slots))))
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
	for i := range 40 {
		work.Go(func() {
			pw := fmt.Sprint("password ", i)
			phc, err := h.Hash(context.Background(), pw)
			if err != nil {
				t.Error(err)
				return
			}
			if ok, _, err := h.Verify(context.Background(), pw, phc); !ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
		})
	}
	work.Wait()
	close(stop)
	watch.Wait()
	if n := most.Load(); n < 1 || n > 2 {
		t.Errorf("%d at a time", n)
	}
	if h.waiting.Load() != 0 || len(h.slots) != 0 {
		t.Errorf("left over: %d wait, %d slots taken", h.waiting.Load(), len(h.slots))
	}
}

func TestCheckPassword(t *testing.T) {
	about := []string{"Kim.Lee+shop@example.com", "Kimberley Lee", ""}
	for _, pw := range []string{
		"correct horse battery staple", "xK3#vb9!", "        x", "\u65e5\u672c\u8a9e\u306e\u30d1\u30b9\u30ef\u30fc\u30c9", "kim.lee+shop@example.co",
		strings.Repeat("ab1x7", 25), strings.Repeat("d\u00e9j\u00e0 vu ", 16), "\U0001f600\U0001f60a\U0001f643\U0001f970\U0001f618\U0001f924\U0001f62d\U0001f621",
		"thunderbolts and lightning", "dragon fruit", "qwmnzpal",
	} {
		if err := CheckPassword(pw, about...); err != nil {
			t.Errorf("%q (%d): %v", pw, utf8.RuneCountInString(pw), err)
		}
	}
	for _, pw := range []string{
		"", "xK3#vb9", "\u00fc\u00fc\u00fc\u00fc", "u\u0308u\u0308u\u0308u\u0308u\u0308", strings.Repeat("x7", 65), "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", strings.Repeat("\ufdfa", 10),
		"password", "PASSWORD", "Password1", "password123", "P@ssw0rd", "p4$$w0rd!", "Passw0rd2024", "\uff50assword1",
		"12345678", "1234567890", "87654321", "abcdefgh", "ABCDEFGHIJ", "zyxwvuts", "aaaaaaaa", "abababab", "abc1abc1", "12341234",
		"qwerty123", "1q2w3e4r", "iloveyou", "letmein!", "Welcome1!", "summer2024", "admin123", "test1234", "emporium", "Emporium1",
		"kim.lee+shop@example.com", "KIM.LEE+SHOP@EXAMPLE.COM", "kim.lee+shop", "kimberley lee",
	} {
		if err := CheckPassword(pw, about...); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("%q: %v", pw, err)
		} else if len(pw) > 8 && strings.Contains(err.Error(), pw) {
			t.Errorf("%q stands in the error", pw)
		}
	}
	for word := range commonPasswords() {
		if word != strings.ToLower(word) || len(word) < 4 {
			t.Errorf("the list holds %q", word)
		}
		if len(word) >= MinPassword && CheckPassword(word) == nil {
			t.Errorf("%q: accepted", word)
		}
	}
}

func BenchmarkArgon2id(b *testing.B) {
	for _, p := range []Params{DefaultParams(), {Memory: 47104, Passes: 1, Lanes: 1}, {Memory: 65536, Passes: 3, Lanes: 4}} {
		b.Run(fmt.Sprintf("m=%d,t=%d,p=%d", p.Memory, p.Passes, p.Lanes), func(b *testing.B) {
			h := hasher(b, HasherConfig{Params: p})
			b.ReportAllocs()
			for b.Loop() {
				if err := h.VerifyDummy(context.Background(), "correct horse battery staple"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
