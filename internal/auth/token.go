package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"emporium/internal/fault"
)

const (
	// MaxTokenBytes bounds an access token; a longer one is refused unread.
	MaxTokenBytes = 8 << 10
	// DefaultLeeway is how far clocks may differ.
	DefaultLeeway = 30 * time.Second

	accessTokenType = "at+jwt" // RFC 9068 section 2.1
	invalidToken    = "invalid or expired token"
)

// knownAlgs are all algorithms that any issuer may be allowed. A token with another one, "none" and HMAC among them, is
// refused while it is parsed.
var knownAlgs = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256}

// Claims is what a verified access token says.
type Claims struct {
	Actor    Actor
	Issuer   string
	Subject  string // as the issuer names the user; of our own tokens, the text of Actor.ID
	TokenID  string // jti; may be empty in an external token
	IssuedAt time.Time
	Expires  time.Time
}

// accessClaims are the claims of our own tokens (RFC 9068 section 2.2).
type accessClaims struct {
	jwt.Claims
	Session uuid.UUID `json:"sid"`
	Roles   []Role    `json:"roles"`
}

// Issuer signs access tokens with the active key of the Keyring that its pointer holds at the time. It is safe for
// concurrent use.
type Issuer struct {
	name, audience string
	keys           *atomic.Pointer[Keyring]
}

// NewIssuer returns an Issuer of tokens with these "iss" and "aud".
func NewIssuer(name, audience string, keys *atomic.Pointer[Keyring]) *Issuer {
	return &Issuer{name: name, audience: audience, keys: keys}
}

// Issue returns a signed access token (a JWT as of RFC 9068) for the actor, valid from now for ttl, to the second. It
// refuses actors that are anonymous, external or without a session.
func (i *Issuer) Issue(actor Actor, ttl time.Duration) (string, error) {
	if !actor.SignedIn() || actor.External || actor.Session == uuid.Nil || ttl < time.Second {
		return "", errors.New("auth: a token needs an actor of our own with a session, and a lifetime")
	}
	now := time.Now()
	payload, err := json.Marshal(accessClaims{
		Claims: jwt.Claims{
			Issuer:    i.name,
			Subject:   actor.ID.String(),
			Audience:  jwt.Audience{i.audience},
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now),
			Expiry:    jwt.NewNumericDate(now.Add(ttl)),
			ID:        uuid.NewString(),
		},
		Session: actor.Session,
		Roles:   actor.Roles.List(),
	})
	if err != nil {
		return "", fmt.Errorf("auth: sign token: %w", err)
	}
	jws, err := i.keys.Load().signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("auth: sign token: %w", err)
	}
	return jws.CompactSerialize()
}

// VerifierConfig says whose tokens are accepted.
type VerifierConfig struct {
	Issuer   string        // of our own tokens
	Audience string        // of our own tokens
	Leeway   time.Duration // for exp, nbf and iat; 0 means DefaultLeeway, a negative one none
	External []External    // further issuers
	// Transport carries what is fetched from external issuers; nil means a clone of http.DefaultTransport.
	Transport http.RoundTripper
}

// Verifier checks access tokens, our own with the Keyring that its pointer holds at the time, and those of external
// issuers with the keys that these publish. It is safe for concurrent use.
type Verifier struct {
	issuer, audience string
	leeway           time.Duration
	keys             *atomic.Pointer[Keyring]
	external         map[string]*externalIssuer
	known            *lru.Cache[[sha256.Size]byte, known]
}

// known is one of our own tokens that was found to be good. A client sends the same token with each of its requests, and
// the check of a signature costs as much as a small answer.
type known struct {
	claims Claims
	keys   *Keyring // by which it was; another one checks again
}

// knownTokens bounds what is remembered, about 4 MB.
const knownTokens = 1 << 14

// NewVerifier checks the configuration; it does no I/O.
func NewVerifier(cfg VerifierConfig, keys *atomic.Pointer[Keyring]) (*Verifier, error) {
	if cfg.Issuer == "" || cfg.Audience == "" {
		return nil, errors.New("auth: our own issuer and audience must be named")
	}
	v := &Verifier{
		issuer: cfg.Issuer, audience: cfg.Audience, leeway: cfg.Leeway,
		keys: keys, external: make(map[string]*externalIssuer),
	}
	if v.leeway == 0 {
		v.leeway = DefaultLeeway
	}
	v.leeway = max(v.leeway, 0)
	var err error
	if v.known, err = lru.New[[sha256.Size]byte, known](knownTokens); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	for _, x := range cfg.External {
		if x.Issuer == cfg.Issuer || v.external[x.Issuer] != nil {
			return nil, fmt.Errorf("auth: external issuer %q is our own or stands twice", x.Issuer)
		}
		ext, err := newExternalIssuer(x, v.leeway, cfg.Transport)
		if err != nil {
			return nil, err
		}
		v.external[x.Issuer] = ext
	}
	return v, nil
}

// Verify returns the claims of an access token. Whatever is wrong with it, the error is one and the same
// fault.Unauthenticated outside; its cause, which is for the log, is wrapped and quotes nothing of the token's signature.
// Our own tokens need no I/O. One of an external issuer whose keys are not at hand waits for them, at most 5 s.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	c, err := v.verify(ctx, token)
	if err != nil {
		return Claims{}, fault.Wrap(fault.Unauthenticated, err, invalidToken)
	}
	return c, nil
}

// Until returns when a token stops to hold, with what clocks may differ.
func (v *Verifier) Until(c Claims) time.Time { return c.Expires.Add(v.leeway) }

func (v *Verifier) verify(ctx context.Context, token string) (Claims, error) {
	if len(token) > MaxTokenBytes {
		return Claims{}, fmt.Errorf("token of %d bytes", len(token))
	}
	// The whole token is hashed, with its signature: whoever has another one finds nothing, and no token is kept.
	hash, keys := sha256.Sum256([]byte(token)), v.keys.Load()
	if k, ok := v.known.Get(hash); ok && k.keys == keys {
		if time.Now().Add(-v.leeway).After(k.claims.Expires) {
			return Claims{}, jwt.ErrExpired
		}
		return k.claims, nil
	}
	parsed, err := jwt.ParseSigned(token, knownAlgs)
	if err != nil {
		return Claims{}, fmt.Errorf("parse token: %w", err)
	}
	// The issuer, unverified as yet, selects the verifier, which checks it again under the signature.
	var unverified struct {
		Issuer string `json:"iss"`
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return Claims{}, fmt.Errorf("parse claims: %w", err)
	}
	if unverified.Issuer == v.issuer {
		c, err := v.own(parsed, keys)
		if err == nil {
			v.known.Add(hash, known{c, keys})
		}
		return c, err
	}
	ext, ok := v.external[unverified.Issuer]
	if !ok {
		return Claims{}, fmt.Errorf("unknown issuer %.100q", unverified.Issuer)
	}
	c, err := ext.verify(ctx, token)
	if err != nil {
		return Claims{}, fmt.Errorf("issuer %s: %w", ext.cfg.Issuer, err)
	}
	return c, nil
}

// own verifies a token of ours, by the rules of RFC 9068 section 4 and RFC 8725.
func (v *Verifier) own(token *jwt.JSONWebToken, keys *Keyring) (Claims, error) {
	head := token.Headers[0]
	if head.Algorithm != string(jose.EdDSA) {
		return Claims{}, fmt.Errorf("algorithm %s", head.Algorithm)
	}
	if typ, _ := head.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(typ, accessTokenType) {
		return Claims{}, fmt.Errorf("type %.40q", typ)
	}
	key, ok := keys.public(head.KeyID)
	if !ok {
		return Claims{}, fmt.Errorf("unknown key %.100q", head.KeyID)
	}
	var c accessClaims
	if err := token.Claims(key, &c); err != nil {
		return Claims{}, fmt.Errorf("verify: %w", err)
	}
	if c.Expiry == nil || c.NotBefore == nil || c.IssuedAt == nil || c.ID == "" {
		return Claims{}, errors.New("a claim is missing")
	}
	expected := jwt.Expected{Issuer: v.issuer, AnyAudience: jwt.Audience{v.audience}, Time: time.Now()}
	if err := c.ValidateWithLeeway(expected, v.leeway); err != nil {
		return Claims{}, err
	}
	id, err := uuid.Parse(c.Subject)
	if err != nil || id == uuid.Nil || c.Session == uuid.Nil {
		return Claims{}, errors.New("sub or sid is not the UUID it should be")
	}
	return Claims{
		// A role that this process does not know yet gives nothing.
		Actor:  Actor{ID: id, Session: c.Session, Roles: Roles(c.Roles...)},
		Issuer: c.Issuer, Subject: c.Subject, TokenID: c.ID,
		IssuedAt: c.IssuedAt.Time(), Expires: c.Expiry.Time(),
	}, nil
}
