package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"emporium/internal/fault"
)

// Lengths of a password in characters (Unicode code points) after normalisation.
const (
	MinPassword = 8
	MaxPassword = 128

	maxPasswordBytes = 16 * MaxPassword // before normalisation, to bound its work; a decomposed character may take 9
)

const (
	saltBytes = 16
	sumBytes  = 32
)

// Params are the costs of argon2id (RFC 9106).
type Params struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8
}

// DefaultParams are 19 MiB, 2 passes and 1 lane, as OWASP's password storage recommendations have it.
func DefaultParams() Params { return Params{Memory: 19456, Passes: 2, Lanes: 1} }

// maxParams bounds what a stored hash may ask for, 1 GiB among others.
var maxParams = Params{Memory: 1 << 20, Passes: 64, Lanes: 64}

func (p Params) check() error {
	if p.Passes < 1 || p.Lanes < 1 || p.Memory < 8*uint32(p.Lanes) ||
		p.Memory > maxParams.Memory || p.Passes > maxParams.Passes || p.Lanes > maxParams.Lanes {
		return fmt.Errorf("argon2id parameters m=%d,t=%d,p=%d are out of bounds", p.Memory, p.Passes, p.Lanes)
	}
	return nil
}

// HasherConfig says how dear a hash is and how many may be made at a time.
type HasherConfig struct {
	Params      Params // zero means DefaultParams
	Concurrency int    // hashes at a time, each with its Params.Memory; 0 means GOMAXPROCS
	Queue       int    // callers that may wait for their turn; 0 means 64, a negative number none
}

// Hasher hashes and checks passwords by argon2id. It is safe for concurrent use.
type Hasher struct {
	params  Params
	dummy   string
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
}

// NewHasher checks the configuration.
func NewHasher(cfg HasherConfig) (*Hasher, error) {
	if cfg.Params == (Params{}) {
		cfg.Params = DefaultParams()
	}
	if err := cfg.Params.check(); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = runtime.GOMAXPROCS(0)
	}
	if cfg.Queue == 0 {
		cfg.Queue = 64
	}
	h := &Hasher{params: cfg.Params, slots: make(chan struct{}, cfg.Concurrency), queue: int64(max(cfg.Queue, 0))}
	// Random bytes in place of a hash: no password is known that gives them.
	random := make([]byte, saltBytes+sumBytes)
	rand.Read(random)
	h.dummy = encodePHC(h.params, random[:saltBytes], random[saltBytes:])
	return h, nil
}

// Hash returns the PHC string of a password, such as $argon2id$v=19$m=19456,t=2,p=1$salt$hash. The password is normalised
// like [CheckPassword] does, which is to be asked first: this refuses only what is empty, too long or not UTF-8
// (fault.BadUserInput). When too many callers wait it is fault.RateLimited, when ctx ends before its turn fault.Timeout.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	pw, ok := normalizePassword(password)
	if !ok || pw == "" {
		return "", fault.New(fault.BadUserInput, passwordLength)
	}
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	sum, err := h.sum(ctx, h.params, pw, salt, sumBytes)
	if err != nil {
		return "", err
	}
	return encodePHC(h.params, salt, sum), nil
}

// Verify reports whether the password is the one of the PHC string, comparing in constant time, and if so whether it
// should be hashed anew because the parameters have changed. A string that is not of argon2id, or whose parameters are
// out of bounds, is an internal error; for others see [Hasher.Hash].
func (h *Hasher) Verify(ctx context.Context, password, phc string) (ok, needsRehash bool, err error) {
	params, salt, want, err := decodePHC(phc)
	if err != nil {
		return false, false, fault.Wrap(fault.Internal, err, "stored password hash")
	}
	pw, valid := normalizePassword(password)
	if !valid {
		return false, false, nil // no such password can have been set
	}
	got, err := h.sum(ctx, params, pw, salt, uint32(len(want)))
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(got, want) == 1
	return ok, ok && (params != h.params || len(salt) != saltBytes || len(want) != sumBytes), nil
}

// VerifyDummy does the work of Verify for nobody, so that an e-mail address without an account takes as long as one with
// an account whose hash has the current parameters. Its errors are those of Verify.
func (h *Hasher) VerifyDummy(ctx context.Context, password string) error {
	_, _, err := h.Verify(ctx, password, h.dummy)
	return err
}

// sum runs argon2id when its turn has come.
func (h *Hasher) sum(ctx context.Context, p Params, password string, salt []byte, n uint32) ([]byte, error) {
	if err := h.acquire(ctx); err != nil {
		return nil, err
	}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(password), salt, p.Passes, p.Memory, p.Lanes, n), nil
}

// acquire takes a slot, or a place in the queue for one.
func (h *Hasher) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > h.queue {
		return fault.New(fault.RateLimited, "too many sign-ins at the moment; try again shortly")
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Timeout, context.Cause(ctx), "timed out")
	}
}

// encodePHC writes the PHC string format of argon2id.
func encodePHC(p Params, salt, sum []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.Memory, p.Passes, p.Lanes, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// decodePHC reads what encodePHC writes and nothing else. Its errors do not quote the string.
func decodePHC(phc string) (p Params, salt, sum []byte, err error) {
	part := strings.Split(phc, "$")
	if len(phc) > 512 || len(part) != 6 || part[1] != "argon2id" {
		return p, nil, nil, errors.New("not a PHC string of argon2id")
	}
	if _, err = fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Passes, &p.Lanes); err != nil {
		return p, nil, nil, errors.New("PHC string: parameters")
	}
	if err = p.check(); err != nil {
		return p, nil, nil, err
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(part[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(part[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(sum) < 16 || encodePHC(p, salt, sum) != phc {
		return p, nil, nil, errors.New("PHC string: version, salt or hash")
	}
	return p, salt, sum, nil
}

// normalizePassword brings a password into Unicode normalisation form KC, so that it is the same from every keyboard. It
// is false for what is not UTF-8 or too long.
func normalizePassword(password string) (string, bool) {
	if len(password) > maxPasswordBytes || !utf8.ValidString(password) {
		return "", false
	}
	password = norm.NFKC.String(password)
	return password, utf8.RuneCountInString(password) <= MaxPassword
}

var passwordLength = fmt.Sprintf("the password must have %d to %d characters", MinPassword, MaxPassword)

// CheckPassword applies the policy for new passwords, which follows NIST SP 800-63B section 5.1.1.2 (revision 3): 8 to 128
// characters, each Unicode code point after NFKC normalisation being one, all of them allowed, spaces too; no rules of
// composition; but none of the commonest passwords, also with a few digits or signs behind or in place of letters, no
// repetition of up to four characters, no run of neighbours (abcdefgh), and not one of the context strings (the e-mail
// address or what stands before its @, the name), in any case. A refusal is a fault.BadUserInput whose message can be
// shown.
func CheckPassword(password string, context ...string) error {
	pw, ok := normalizePassword(password)
	if !ok || utf8.RuneCountInString(pw) < MinPassword {
		return fault.New(fault.BadUserInput, passwordLength)
	}
	folded := strings.ToLower(pw)
	for _, c := range context {
		c = strings.ToLower(norm.NFKC.String(strings.TrimSpace(c)))
		user, _, _ := strings.Cut(c, "@")
		if folded == c || folded == user {
			return fault.New(fault.BadUserInput, "the password must not be your name or e-mail address")
		}
	}
	if tooCommon(folded) {
		return fault.New(fault.BadUserInput, "the password is too common or too simple")
	}
	return nil
}

//go:embed common_passwords.txt
var commonPasswordsText string

// commonPasswords are in lower case, those shorter than MinPassword as stems of longer ones.
var commonPasswords = sync.OnceValue(func() map[string]bool {
	set := make(map[string]bool)
	for word := range strings.FieldsSeq(commonPasswordsText) {
		set[word] = true
	}
	return set
})

// leet undoes the usual signs for letters.
var leet = strings.NewReplacer("@", "a", "4", "a", "3", "e", "1", "i", "!", "i", "0", "o", "$", "s", "5", "s", "7", "t")

func tooCommon(folded string) bool {
	runes := []rune(folded)
	if repeats(runes) || runs(runes) {
		return true
	}
	// The whole, and what is left without up to four digits or signs at its end, as it is and with letters for signs.
	stem := folded
	for i := 0; ; i++ {
		if common := commonPasswords(); common[stem] || common[leet.Replace(stem)] {
			return true
		}
		last, size := utf8.DecodeLastRuneInString(stem)
		if i == 4 || size == 0 || last >= 'a' && last <= 'z' || last > 0x7f {
			return false
		}
		stem = stem[:len(stem)-size]
	}
}

// repeats reports whether the text is one piece of up to four characters over and over.
func repeats(text []rune) bool {
	for n := 1; n <= 4; n++ {
		same := true
		for i := n; i < len(text) && same; i++ {
			same = text[i] == text[i-n]
		}
		if same {
			return true
		}
	}
	return false
}

// runs reports whether each character is the next, or the one before, of its neighbour.
func runs(text []rune) bool {
	up, down := true, true
	for i := 1; i < len(text); i++ {
		up = up && text[i] == text[i-1]+1
		down = down && text[i] == text[i-1]-1
	}
	return up || down
}
