package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/fault"
)

func TestRefreshToken(t *testing.T) {
	owner, session := uuid.New(), uuid.New()
	seen := make(map[string]bool)
	for range 100 {
		token, hash := NewRefreshToken(owner, session)
		o, s, h, err := ParseRefreshToken(token)
		if err != nil || o != owner || s != session || h != hash {
			t.Fatalf("%q: %v %v %x, %v", token, o, s, h, err)
		}
		if len(token) != 90 || !strings.HasPrefix(token, "ert_") || seen[token] {
			t.Fatalf("token %q", token)
		}
		b := must(base64.RawURLEncoding.DecodeString(token[4:]))
		if sha256.Sum256(b[32:]) != hash {
			t.Fatal("the hash is not that of the secret")
		}
		seen[token] = true
	}
}

func TestParseRefreshTokenRefuses(t *testing.T) {
	good, _ := NewRefreshToken(uuid.New(), uuid.New())
	noOwner, _ := NewRefreshToken(uuid.Nil, uuid.New())
	noSession, _ := NewRefreshToken(uuid.New(), uuid.Nil)
	last := good[len(good)-1]
	i := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", last)
	sameBits := good[:len(good)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[i^1])
	for name, token := range map[string]string{
		"empty": "", "prefix": "ert_", "no prefix": good[4:], "another prefix": "erx_" + good[4:], "capitals": "ERT_" + good[4:],
		"short": good[:len(good)-1], "long": good + "A", "padded": good + "==", "blank": " " + good, "newline": good + "\n",
		"newline inside": good[:50] + "\n" + good[51:], "standard alphabet": "ert_" + strings.Repeat("+/", 43),
		"another spelling": sameBits, "no owner": noOwner, "no session": noSession, "huge": "ert_" + strings.Repeat("A", 1<<20),
		"not ASCII": "ert_" + strings.Repeat("é", 43),
	} {
		o, s, h, err := ParseRefreshToken(token)
		if !fault.Is(err, fault.Unauthenticated) || o != uuid.Nil || s != uuid.Nil || h != [32]byte{} {
			t.Errorf("%s: %v %v, %v", name, o, s, err)
		} else if len(err.Error()) > 100 {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

func FuzzParseRefreshToken(f *testing.F) {
	good, _ := NewRefreshToken(uuid.New(), uuid.New())
	for _, s := range []string{good, good[4:], "ert_", good + "\n", good[:89] + "_"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		owner, session, hash, err := ParseRefreshToken(token)
		if err != nil {
			return
		}
		b := must(base64.RawURLEncoding.DecodeString(token[4:]))
		again := append(append(owner[:], session[:]...), b[32:]...)
		if "ert_"+base64.RawURLEncoding.EncodeToString(again) != token || sha256.Sum256(b[32:]) != hash {
			t.Errorf("%q does not come back", token)
		}
	})
}
