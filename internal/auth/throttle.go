package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

// Kinds of throttle. The key of an account, and of mails to one recipient, is the normalised e-mail address or its blind
// index, that of an address an IP
// address, with or without a port; IPv6 addresses count by their /64.
const (
	ThrottleAccount = "account"
	ThrottleAddress = "address"
	ThrottleMail    = "mail"

	ThrottleViewerPoints  = "viewer-points"  // of the cost of operations, by viewer
	ThrottleAddressPoints = "address-points" // and by address, of those who are not signed in
)

const (
	throttleBudget   = 25 * time.Millisecond // for Redis to answer
	throttleCooldown = time.Second           // without Redis after it did not
	throttleLocal    = 1 << 14               // buckets in process, about 4 MB
)

// Limit is a token bucket: Burst attempts at once, and another one each Every.
type Limit struct {
	Burst int
	Every time.Duration
}

// PerSecond is the limit of so many a second, twenty seconds' worth of them at once.
func PerSecond(n int) Limit { return Limit{Burst: 20 * n, Every: time.Second / time.Duration(n)} }

// DefaultLimits are 10 attempts and one each 30 s for an account, 30 and one each 2 s for an address, and
// 5 and one each 10 min for mails to a recipient.
func DefaultLimits() map[string]Limit {
	return map[string]Limit{
		ThrottleAccount: {Burst: 10, Every: 30 * time.Second},
		ThrottleAddress: {Burst: 30, Every: 2 * time.Second},
		ThrottleMail:    {Burst: 5, Every: 10 * time.Minute},
	}
}

// ThrottleConfig says where attempts are counted.
type ThrottleConfig struct {
	Redis  redis.UniversalClient // nil: in this process alone
	Secret []byte                // keys the HMAC of what is stored; the same in every process
	Limits map[string]Limit      // by kind; nil means DefaultLimits
	Log    *slog.Logger          // hears when Redis goes and comes; nil: nobody does
}

// Throttle bounds the attempts to sign in, and the mails that can be asked for. It counts in Redis, for all processes together, by the generic cell rate
// algorithm (ITU-T I.371) in one script on one key that expires with its bucket. While Redis is missing, failing or slower
// than 25 ms it counts in process, in a bounded number of buckets. Neither stores what is counted: keys are HMAC-SHA256.
// It is safe for concurrent use.
type Throttle struct {
	redis  redis.UniversalClient
	secret []byte
	limits map[string]Limit
	log    *slog.Logger
	local  *lru.Cache[string, *rate.Limiter]
	budget time.Duration

	born      time.Time
	downUntil atomic.Int64 // ns since born; Redis is left alone until then
	down      atomic.Bool  // for the log
}

// NewThrottle checks the configuration; it does no I/O.
func NewThrottle(cfg ThrottleConfig) (*Throttle, error) {
	if cfg.Limits == nil {
		cfg.Limits = DefaultLimits()
	}
	for kind, l := range cfg.Limits {
		if l.Burst < 1 || l.Every < time.Microsecond {
			return nil, fmt.Errorf("auth: throttle %q: needs a burst of 1 and a refill of 1 µs, at least", kind)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	local, err := lru.New[string, *rate.Limiter](throttleLocal)
	if err != nil {
		return nil, fmt.Errorf("auth: throttle: %w", err)
	}
	return &Throttle{
		redis: cfg.Redis, secret: append([]byte(nil), cfg.Secret...), limits: maps.Clone(cfg.Limits),
		log: cfg.Log, local: local, budget: throttleBudget, born: time.Now(),
	}, nil
}

// takeScript keeps the time, in µs of Redis's clock, at which the bucket will be full again. It takes as much as is wanted and
// there, and returns that; or nothing if it is less than what is needed, and returns how long to wait, in µs, below 0.
var takeScript = redis.NewScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local every, burst, need, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = full - now + need * every - burst * every
if wait > 0 then return -wait end
local take = math.min(want, math.floor((burst * every - (full - now)) / every))
full = full + take * every
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return take`)

// Allow takes an attempt from the bucket of kind and key. If there is none left, it takes nothing, and returns how long it
// is until there is one. A kind without a limit is never allowed. It takes 25 ms at most, whatever ctx says.
func (t *Throttle) Allow(ctx context.Context, kind, key string) (ok bool, retryAfter time.Duration) {
	taken, wait := t.Take(ctx, kind, key, 1, 1)
	return taken > 0, wait
}

// Take is Allow for several at once: it takes as many as are wanted and there, or none if there are fewer than needed.
func (t *Throttle) Take(ctx context.Context, kind, key string, need, want int) (taken int, retryAfter time.Duration) {
	limit, known := t.limits[kind]
	if !known || need > limit.Burst {
		return 0, time.Minute
	}
	name := t.name(kind, key)
	if n, ok := t.remote(ctx, func(ctx context.Context) (int64, error) {
		return takeScript.Run(ctx, t.redis, []string{name}, limit.Every.Microseconds(), limit.Burst, need, want).Int64()
	}); ok {
		if n < 0 {
			return 0, time.Duration(-n) * time.Microsecond
		}
		return int(n), 0
	}
	bucket, found := t.local.Get(name)
	if !found {
		bucket = rate.NewLimiter(rate.Every(limit.Every), limit.Burst)
		if prev, found, _ := t.local.PeekOrAdd(name, bucket); found {
			bucket = prev
		}
	}
	now := time.Now()
	r := bucket.ReserveN(now, need)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return 0, wait
	}
	return need, 0
}

// returnScript is the opposite of takeScript.
var returnScript = redis.NewScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full = tonumber(redis.call('GET', KEYS[1]) or 0) - tonumber(ARGV[1]) * tonumber(ARGV[2])
if full <= now then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return 0`)

// Return puts back what was taken and not needed. It takes 25 ms at most.
func (t *Throttle) Return(ctx context.Context, kind, key string, n int) {
	limit, name := t.limits[kind], t.name(kind, key)
	if _, ok := t.remote(ctx, func(ctx context.Context) (int64, error) {
		return returnScript.Run(ctx, t.redis, []string{name}, limit.Every.Microseconds(), n).Int64()
	}); ok {
		return
	}
	if bucket, found := t.local.Get(name); found {
		bucket.AllowN(time.Now(), -n)
	}
}

// Reset fills the bucket again, for an account after it has signed in. It takes 25 ms at most.
func (t *Throttle) Reset(ctx context.Context, kind, key string) {
	name := t.name(kind, key)
	t.local.Remove(name)
	t.remote(ctx, func(ctx context.Context) (int64, error) { return t.redis.Del(ctx, name).Result() })
}

// remote asks Redis within the budget. The caller's cancellation does not count: it must neither save an attempt nor look
// like an outage. The call runs beside, since a client may not heed deadlines; the cooldown bounds how many of them hang.
func (t *Throttle) remote(ctx context.Context, call func(context.Context) (int64, error)) (int64, bool) {
	if t.redis == nil || int64(time.Since(t.born)) < t.downUntil.Load() {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.budget)
	defer cancel()
	type result struct {
		n   int64
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := call(ctx)
		done <- result{n, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		r.err = errors.New("no answer in time")
	}
	if r.err != nil {
		t.downUntil.Store(int64(time.Since(t.born) + throttleCooldown))
		if !t.down.Swap(true) {
			t.log.Warn("sign-in throttle counts in process: Redis does not answer", "error", r.err)
		}
		return 0, false
	}
	if t.down.Swap(false) {
		t.log.Info("sign-in throttle counts in Redis again")
	}
	return r.n, true
}

// name is what stands in Redis for a key.
func (t *Throttle) name(kind, key string) string {
	if kind == ThrottleAddress || kind == ThrottleAddressPoints {
		key = Network(key)
	}
	mac := hmac.New(sha256.New, t.secret)
	mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(kind))))
	mac.Write([]byte(kind))
	mac.Write([]byte(key))
	return "emporium:throttle:" + kind + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Network returns what an address counts by: an IPv4 address, the /64 of an IPv6 one, or the text if it is neither.
func Network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return address
		}
		ip = ap.Addr()
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
